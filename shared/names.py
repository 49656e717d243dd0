"""Names that must agree across processes: of functions, of jobs and of runs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

# ---------------------------------------------------------------- functions

# Orchestrators and activities, as they are registered with the Durable Functions host.
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


# ---------------------------------------------------------------- ids

JOB_ID_PATTERN = r"^[a-z0-9-]{1,80}$"


def is_job_id(text: str) -> bool:
    return re.fullmatch(JOB_ID_PATTERN, text) is not None


def is_digest_id(text: str) -> bool:
    """Whether digest_id could have made this id. No such id is a prefix of another, as all have one
    length."""
    return re.fullmatch(r"[a-z]-[0-9a-f]{24}", text) is not None


def digest_id(*parts: str, prefix: str = "m") -> str:
    """The id of a job ("m-...") or, with another prefix, of a batch: the same parts always give the same
    id."""
    return f"{prefix}-" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def callback_id(run: str) -> str:
    """Instance id of the orchestration that delivers the run's callback."""
    return f"{run}-callback"


def score_key(identity: Iterable[str]) -> str:
    """The key of a score file: sha256 of everything that the scores depend on."""
    return hashlib.sha256("|".join(identity).encode()).hexdigest()


def run_id(job: str, attempt: int) -> str:
    """The id of one attempt at a job: the job's own for the first, then `<job id>-2` and so on.

    It is the id of the attempt's durable instance and the name of its folder of records.
    """
    return job if attempt == 1 else f"{job}-{attempt}"


def job_of(run: str) -> str:
    """The id of the job of a run."""
    return "-".join(run.split("-")[:2])


def attempt_of(job: str, run: str) -> int | None:
    """The number of a run's attempt at the job, from 1; None for a run of another job."""
    if run == job:
        return 1
    number = run.removeprefix(f"{job}-")
    return int(number) if number != run and number.isdigit() else None


def caller_mark(caller: str | None) -> str:
    """The caller's mark in the names of open runs and batches: 16 digits of caller_id, "0" without a
    caller."""
    return caller[:16] if caller else "0"
