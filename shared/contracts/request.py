"""Requests of callers, and the record that keeps one."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.contracts.base import Contract, Name, Probability, Seconds, Version
from shared.names import run_id

FormatName = Literal["original-edl", "json"]
"""The one list of the timeline formats' names. shared.timelines must have a writer for each, or its import
fails."""


class CutOptions(Contract):
    """How events become edits. What is left out comes from the profile."""

    title: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    pre_roll_s: Seconds | None = None
    post_roll_s: Seconds | None = None
    merge_gap_s: Seconds | None = None
    thresholds: dict[str, Probability] = Field(default_factory=dict)
    formats: tuple[FormatName, ...] = ("original-edl",)
    """Timelines to write besides result.json, which is always written."""


Priority = Literal["interactive", "batch"]
"""interactive: the run starts at once. batch: it waits until fewer than settings.batch_jobs of batches run,
and then has few units scored at a time (shared/fan_out.py)."""


class JobOptions(Contract):
    """What can be asked for besides the video itself."""

    profile: Name = "soccer"
    models: tuple[Name, ...] | None = None
    """Models to run instead of the profile's; None: the profile's."""
    extra_models: tuple[Name, ...] = ()
    """Models to run besides those, such as models that run only on request."""
    exhaustive: bool = False
    """Score the whole video with every model, instead of the profile's cascade."""
    segment_s: Annotated[int, Field(ge=2, le=3600)] | None = None
    strict: bool = False
    """A job with a gap fails. Its scores are kept and its result is written all the same."""
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
    """request.json: the request without its secrets, and what the service noted when it accepted it."""

    schema_version: Version = 1
    job: str
    request: JobRequest
    """`video` and `callback` have no query string here."""
    fingerprint: str
    """sha256 of the request as the caller sent it, without the SAS; two bodies with one Idempotency-Key
    differ in it."""
    etag: str
    length_bytes: int
    created: str
    attempt: int = 1
    priority: Priority = "interactive"
    caller: str | None = None
    """sha256 of the caller's key or principal (shared.jobs.quotas.caller_id); None where neither was sent."""

    @property
    def run(self) -> str:
        """Id of this attempt: the id of its durable instance and the name of its folder of records."""
        return run_id(self.job, self.attempt)

    @property
    def video_identity(self) -> tuple[str, str, str]:
        """(URL without query, ETag, length in bytes): the identity under which scores of the video are kept.

        The address is part of it because a host reports ETag and length itself, and could report those of a
        video on another host. So a caller only ever gets scores of a video that the caller could look up.
        """
        return (self.request.video, self.etag, str(self.length_bytes))
