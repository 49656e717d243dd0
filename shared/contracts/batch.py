"""Many jobs in one request."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from shared.contracts.base import Contract, Version
from shared.contracts.request import JobOptions, JobRequest
from shared.contracts.state import ErrorBody, State
from shared.fan_out import MAX_BATCH

Url = Annotated[str, Field(min_length=8, max_length=4096)]


class BatchVideo(Contract):
    video: Url
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None


def _of_url(video: Any) -> Any:
    return {"video": video} if isinstance(video, str) else video


VideoOrUrl = Annotated[BatchVideo, BeforeValidator(_of_url, json_schema_input_type=Url | BatchVideo)]


class BatchRequest(Contract):
    """The body of POST /api/batches: one options object for all. JSON Lines have a JobRequest per line."""

    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    videos: Annotated[tuple[VideoOrUrl, ...], Field(min_length=1, max_length=MAX_BATCH)]
    """A video may be its URL alone."""
    options: JobOptions = JobOptions()

    def requests(self) -> tuple[JobRequest, ...]:
        options = self.options.model_dump(exclude_unset=True)
        return tuple(JobRequest(**options, video=one.video, name=one.name) for one in self.videos)


class Batch(Contract):
    """batch.json."""

    schema_version: Version = 1
    id: str
    name: str | None
    created: str
    fingerprint: str
    """sha256 of what the caller asked for, less every SAS."""
    requests: tuple[JobRequest, ...]
    """Without query strings."""
    caller: str | None = None
    """sha256 of who asked for it; its jobs are counted as this caller's."""


class BatchItem(Contract):
    """What became of one request of a batch."""

    index: int
    job: str | None = None
    run: str | None = None
    created: str | None = None
    """When the run was accepted, which may have been before the batch."""
    state: State | None = None
    """Where the job had ended before the batch asked for it: how."""
    error: ErrorBody | None = None
    """Why it was not accepted."""


class BatchItems(Contract):
    """items/<first>.json, and all of them in items.json."""

    items: tuple[BatchItem, ...]


class BatchFailure(Contract):
    index: int
    video: str
    job: str | None
    code: str
    message: str


class BatchStatus(Contract):
    id: str
    name: str | None
    created: str
    state: Literal["Accepting", "Running", "Ended"]
    """Accepting: not all of its videos have been looked up yet."""
    total: int
    counts: dict[str, int]
    """Jobs by state; Refused: videos that became no job; Accepting: those not looked up yet; Gone: jobs
    that were removed after their time."""
    eta_s: float | None
    failures: tuple[BatchFailure, ...]
    """The first hundred; the CSV has all."""
    links: dict[str, str]
