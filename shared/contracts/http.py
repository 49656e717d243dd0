"""Bodies of HTTP answers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.contracts.base import Contract, Probability
from shared.contracts.callback import CallbackStatus
from shared.contracts.model import ModelRef
from shared.contracts.result import Event
from shared.contracts.state import ErrorBody, State


class Progress(Contract):
    """Units of work, and what can be said of the time."""

    done: int
    total: int
    fraction: Probability
    eta_s: float | None
    realtime_factor: float | None
    """Seconds of video scored per second of time since scoring began."""


class JobAccepted(Contract):
    id: str
    state: State
    status_url: str


class JobStatus(Contract):
    id: str
    name: str | None
    state: State
    progress: Progress
    links: dict[str, str]
    """Name of a result file -> its URL; empty until the job has ended."""
    error: ErrorBody | None
    callback: CallbackStatus | None = None
    """Whether the callback that the request asked for was delivered; it never changes the state."""


class JobSummary(Contract):
    """A job in a list. Between Queued and its end a job stands as Scoring."""

    id: str
    name: str | None
    created: str
    state: State
    code: str | None
    message: str | None
    status_url: str


class JobList(Contract):
    """Newest first. A page may hold fewer jobs than asked for, even none, and go on all the same."""

    jobs: tuple[JobSummary, ...]
    continuation: str | None
    """The query parameter `continuation` of the next page; null at the end."""


class JobEvents(Contract):
    id: str
    provisional: bool
    """True while the job runs: each of these events may still change or vanish."""
    revision: int
    """Send it as `after`, and the next answer has events only if they have changed since."""
    changed: bool
    """False: the events have not changed since `after`, so `events` is empty."""
    events: tuple[Event, ...]
    """Those of the highest confidence first."""


class Problem(BaseModel):
    """application/problem+json (RFC 9457)."""

    model_config = ConfigDict(frozen=True)

    type: str
    title: str
    status: int
    detail: str
    code: str
    action: str
    errors: tuple[dict[str, str], ...] = ()
    """For an invalid request, one {"field", "message"} per fault."""


class Health(Contract):
    status: Literal["ok", "degraded"]
    version: str
    models: tuple[ModelRef, ...]
    profiles: tuple[str, ...]
    faults: dict[str, str] = Field(default_factory=dict)
    """Name of a model, a profile or their container -> what is wrong with it; it counts as absent."""
    storage: Literal["ok", "unavailable"]
    hub: Literal["ok", "unavailable"]
    """Whether the host's durable client answers; the service needs it to start, query and end runs."""
