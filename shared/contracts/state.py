"""The states of a job, and its last record."""

from __future__ import annotations

from enum import StrEnum

from shared.contracts.base import Contract, Version


class State(StrEnum):
    QUEUED = "Queued"
    PLANNING = "Planning"
    SCORING = "Scoring"
    CUTTING = "Cutting"
    COMPLETED = "Completed"
    COMPLETED_WITH_GAPS = "CompletedWithGaps"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def ended(self) -> bool:
        return self in _ENDED


_ENDED = frozenset({State.COMPLETED, State.COMPLETED_WITH_GAPS, State.FAILED, State.CANCELLED})


class ErrorBody(Contract):
    code: str
    message: str
    action: str
    retryable: bool


class EndRecord(Contract):
    """end.json: the job's last word."""

    schema_version: Version = 1
    job: str
    state: State
    files: tuple[str, ...] = ()
    error: ErrorBody | None = None
    total: int = 0
    media_s: float = 0.0
    wall_s: float = 0.0
