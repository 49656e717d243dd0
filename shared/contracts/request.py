"""What a caller asks for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.contracts.base import Contract, Name, Probability, Seconds, Version
from shared.names import run_id

FormatName = Literal["original-edl", "json"]
"""The timeline formats: the one list of their names. shared.timelines writes each, or does not start."""


class CutOptions(Contract):
    """How events become edits. What is left out comes from the profile."""

    title: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    pre_roll_s: Seconds | None = None
    post_roll_s: Seconds | None = None
    merge_gap_s: Seconds | None = None
    thresholds: dict[str, Probability] = Field(default_factory=dict)
    formats: tuple[FormatName, ...] = ("original-edl",)
    """Timelines to write beside result.json, which is always written."""


Priority = Literal["interactive", "batch"]
"""interactive: runs at once. batch: runs when few others of its kind do, a few units at a time."""


class JobOptions(Contract):
    """What can be asked for besides the video itself."""

    profile: Name = "soccer"
    models: tuple[Name, ...] | None = None
    """Instead of the profile's."""
    extra_models: tuple[Name, ...] = ()
    """Besides those: models that run on request."""
    exhaustive: bool = False
    """Every model on everything, instead of the profile's cascade."""
    segment_s: Annotated[int, Field(ge=2, le=3600)] | None = None
    strict: bool = False
    """A job with a gap fails; what was scored is kept, and written all the same."""
    cut: CutOptions = CutOptions()
    callback: Annotated[str, Field(min_length=8, max_length=2048)] | None = None
    """URL to which the service POSTs the final state (docs/api.md, "Callback")."""


class JobRequest(JobOptions):
    """The body of POST /api/jobs."""

    video: Annotated[str, Field(min_length=8, max_length=4096)]
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class RetryRequest(Contract):
    """The body of POST /api/jobs/{id}/retry, where it has one."""

    video: Annotated[str, Field(min_length=8, max_length=4096)]
    """The job's own video, with a SAS that grants read now."""


class StoredRequest(Contract):
    """request.json: the request without its secret, and what the start looked up."""

    schema_version: Version = 1
    job: str
    request: JobRequest
    """`video` and `callback` have no query string here."""
    fingerprint: str
    """sha256 of the request as the caller sent it, less the SAS: tells one body from another."""
    etag: str
    length_bytes: int
    created: str
    attempt: int = 1
    priority: Priority = "interactive"
    caller: str | None = None
    """sha256 of the caller's key or principal (shared.jobs.quotas.caller_id); None where there is neither."""

    @property
    def run(self) -> str:
        """Id of this attempt: of its durable instance, and of the folder of its records."""
        return run_id(self.job, self.attempt)

    @property
    def video_identity(self) -> tuple[str, str, str]:
        """(address, ETag, length): what the video's scores are kept by.

        A host says ETag and length itself, and could say those of another's video; what it serves under its
        own address is all it speaks for. So nobody gets the scores of a video that they could not look up.
        """
        return (self.request.video, self.etag, str(self.length_bytes))
