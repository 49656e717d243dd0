"""The states of a job, and the record that ends a run."""

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
        """Whether a job in this state has ended, with or without a result."""
        return self in _ENDED


_ENDED = frozenset({State.COMPLETED, State.COMPLETED_WITH_GAPS, State.FAILED, State.CANCELLED})


class ErrorBody(Contract):
    code: str
    message: str
    action: str
    retryable: bool


class EndRecord(Contract):
    """end.json: how a run ended. It is written once and never changes."""

    schema_version: Version = 1
    job: str
    state: State
    files: tuple[str, ...] = ()
    """Names of the result files."""
    error: ErrorBody | None = None
    total: int = 0
    """Units of both fan-outs; 0 without a plan."""
    media_s: float = 0.0
    """Length of the video as the plan has it; 0 without a plan."""
    wall_s: float = 0.0
    """From the acceptance of the run to its end."""
