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
    """Each is an object, or its URL alone."""
    options: JobOptions = JobOptions()

    def requests(self) -> tuple[JobRequest, ...]:
        """One job's request for each video, in order, with the batch's options."""
        options = self.options.model_dump(exclude_unset=True)
        return tuple(JobRequest(**options, video=entry.video, name=entry.name) for entry in self.videos)


class Batch(Contract):
    """batch.json."""

    schema_version: Version = 1
    id: str
    name: str | None
    created: str
    fingerprint: str
    """sha256 of what the caller asked for, without any SAS."""
    requests: tuple[JobRequest, ...]
    """Without query strings."""
    caller: str | None = None
    """As StoredRequest.caller; the batch's jobs count as this caller's."""


class BatchItem(Contract):
    """What became of one request of a batch."""

    index: int
    job: str | None = None
    run: str | None = None
    created: str | None = None
    """When the run was accepted: maybe before the batch, where an earlier request asked for the same job."""
    state: State | None = None
    """How the job ended, where it had ended before the batch asked for it."""
    error: ErrorBody | None = None
    """Why the request was refused; None where it was accepted."""


class BatchItems(Contract):
    """items/<first>.json has the items of one block, items.json those of the whole batch."""

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
    """Accepting: the service has not looked up all of its videos yet."""
    total: int
    counts: dict[str, int]
    """How many jobs are in each state, and besides: Refused, videos that became no job; Accepting, videos
    that are not looked up yet; Gone, jobs that retention has removed."""
    eta_s: float | None
    failures: tuple[BatchFailure, ...]
    """The first hundred; the CSV lists all."""
    links: dict[str, str]
