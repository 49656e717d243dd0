"""Names that must agree across processes: functions, blob paths, ids."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

JOB = "job"
SCORE_BLOCK = "score_block"
PLAN_JOB = "plan_job"
PLAN_LOOK = "plan_look"
SCORE_SEGMENT = "score_segment"
WRITE_CUT = "write_cut"
CLOSE_JOB = "close_job"
START_NEXT = "start_next"
BATCH = "batch"
EXPAND_BATCH = "expand_batch"
CALLBACK = "callback"
CALL_BACK = "call_back"

JOB_ID_PATTERN = r"^[a-z0-9-]{1,80}$"


def is_job_id(text: str) -> bool:
    return re.fullmatch(JOB_ID_PATTERN, text) is not None


def is_digest_id(text: str) -> bool:
    """Whether digest_id could have made it: no such id begins another one."""
    return re.fullmatch(r"[a-z]-[0-9a-f]{24}", text) is not None


def digest_id(*parts: str, prefix: str = "m") -> str:
    """The id of a job (or another thing) from what identifies it: the same parts give the same id."""
    return f"{prefix}-" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def callback_id(run: str) -> str:
    """Instance id of what delivers the run's callback."""
    return f"{run}-callback"


def score_key(identity: Iterable[str]) -> str:
    return hashlib.sha256("|".join(identity).encode()).hexdigest()


def run_id(job: str, attempt: int) -> str:
    """Instance id, and home of the records, of one attempt at a job: the job id itself for the first."""
    return job if attempt == 1 else f"{job}-{attempt}"


def job_of(run: str) -> str:
    """The job whose attempt a run is."""
    return "-".join(run.split("-")[:2])


def attempt_of(job: str, run: str) -> int | None:
    """Which attempt at the job a run is; None where it is another job's."""
    if run == job:
        return 1
    number = run.removeprefix(f"{job}-")
    return int(number) if number != run and number.isdigit() else None


def caller_mark(caller: str | None) -> str:
    """As the names of open runs and batches tell who asked for them; 0: nobody is known."""
    return caller[:16] if caller else "0"
