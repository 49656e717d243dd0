"""Names that must agree across processes: functions, blob paths, ids (floor 0)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

JOB = "job"
SCORE_BLOCK = "score_block"
PLAN_JOB = "plan_job"
SCORE_SEGMENT = "score_segment"
WRITE_CUT = "write_cut"
CLOSE_JOB = "close_job"

JOB_ID_PATTERN = r"^[a-z0-9-]{1,80}$"
MAX_FAN_OUT = 100
"""Actions one orchestrator may schedule: replay work grows with the square of them."""
BLOCK = 50
"""Segments per sub-orchestration, once a job has more than MAX_FAN_OUT."""

SCORES = "scores"
JOBS = "jobs"


def is_job_id(text: str) -> bool:
    return re.fullmatch(JOB_ID_PATTERN, text) is not None


def digest_id(*parts: str) -> str:
    """A job id from what identifies the job: the same parts give the same id."""
    return "m-" + hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def request_path(job: str) -> str:
    return f"{JOBS}/{job}/request.json"


def plan_path(job: str) -> str:
    return f"{JOBS}/{job}/plan.json"


def cancel_path(job: str) -> str:
    return f"{JOBS}/{job}/cancel"


def end_path(job: str) -> str:
    """Written once, when the job has ended, with its final state; there before links are given."""
    return f"{JOBS}/{job}/end.json"


def summaries_path(job: str) -> str:
    return f"{JOBS}/{job}/segments/"


def summary_path(job: str, unit: int) -> str:
    return f"{summaries_path(job)}{unit:05d}.json"


def file_path(job: str, name: str) -> str:
    return f"{JOBS}/{job}/out/{name}"


def secret_path(job: str) -> str:
    """Holds the SAS of the source while the job runs; never served, removed at the end."""
    return f"secrets/{job}"


def score_key(identity: Iterable[str]) -> str:
    return hashlib.sha256("|".join(identity).encode()).hexdigest()


def score_path(key: str) -> str:
    return f"{SCORES}/{key[:2]}/{key}.npz"


def block_id(job: str, attempt: int, block: int) -> str:
    """Instance id of one sub-orchestration; an attempt of its own, since ids are not used twice."""
    return f"{job}-{attempt}-{block}"


def block_ids(job: str, attempt: int, units: int) -> list[str]:
    """The sub-orchestrations of a job of so many units; none up to MAX_FAN_OUT."""
    blocks = -(-units // BLOCK) if units > MAX_FAN_OUT else 0
    return [block_id(job, attempt, block) for block in range(blocks)]


def facts_path(key: str) -> str:
    """What decoding found in a span (contracts.SpanFacts)."""
    return f"{SCORES}/{key[:2]}/{key}.json"
