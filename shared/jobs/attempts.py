"""Attempts at a job: reopen, retry, cancel; and the runs that may start next."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

from pydantic import ValidationError

from shared import fan_out
from shared.contracts import EndRecord, ErrorBody, RetryRequest, State, StoredRequest
from shared.errors import (
    InvalidRequest,
    JobNotFound,
    MatchcutError,
    NothingToRetry,
    RecordUnreadable,
    VideoChanged,
)
from shared.jobs import quotas, retention
from shared.jobs.requests import check_length
from shared.settings import Settings
from shared.steps import close_run
from shared.storage import (
    BlobStore,
    Records,
    Secrets,
    find_secrets,
    forget_sas,
    keep_secrets,
    ledger,
    paths,
    split_secret,
)
from shared.video import look_up, open_source, parse_source

MOST_ATTEMPTS = 5
"""The service itself reopens a job whose run was lost, up to this attempt."""
REOPENABLE = (State.FAILED, State.CANCELLED)


def reopen_job(
    store: BlobStore,
    last: StoredRequest,
    secrets: Secrets | None = None,
    request: StoredRequest | None = None,
) -> StoredRequest:
    """Enter a new attempt after `last`, which has ended; returns its request.

    The attempt is a run of its own with records of its own, so nothing that is left of `last` can touch it.
    Scores stay, so only the missing ones are made. secrets: fresh ones; a URL without a fresh one keeps the
    secret of `last`. request: what to attempt; None: the same as `last`. Of two concurrent callers one wins,
    and both get its request.
    """
    new = (request or last).model_copy(update={"attempt": last.attempt + 1, "created": utc_now()})
    keep_secrets(store, new, (secrets or Secrets()).or_else(find_secrets(store, last)))
    first = Records(store, new.run).write_request(new)
    if first is new:
        ledger.add_run(store, new)
        ledger.forget_run(store, last)
    forget_sas(store, last)  # which a lost run has left
    return first


def reopen_lost(store: BlobStore, stored: StoredRequest) -> StoredRequest | None:
    """Reopen a job whose orchestration is over without an end record; returns the new attempt's request.

    After MOST_ATTEMPTS another attempt would hardly help: the job ends as failed, and the result is None.
    """
    if stored.attempt < MOST_ATTEMPTS:
        return reopen_job(store, stored)
    lost = MatchcutError("The orchestration ended without a result.")
    close_run(Records(store, stored.run), State.FAILED, ErrorBody(**lost.record()))
    return None


def retry(
    settings: Settings, store: BlobStore, stored: StoredRequest, body: bytes, caller: str | None = None
) -> StoredRequest:
    """Start a new attempt at a job that ended with gaps, failed or was cancelled; it scores only what is
    missing. A job that still runs is returned unchanged. The body may bring a fresh SAS:
    {"video": "<the same URL>?<SAS>"}.

    Raises NothingToRetry, InvalidRequest, QueueFull, TooManyJobs, JobNotFound, VideoChanged where the video
    was replaced, and the other errors of looking it up.
    """
    sas = ""
    check_length(body)
    if body.strip():
        try:
            fresh = RetryRequest.model_validate_json(body)
        except ValidationError as bad:
            raise InvalidRequest(f"The body is not a retry: {bad.errors()[0]['msg']}.") from None
        _, sas = split_secret(fresh.video)
        if parse_source(fresh.video, settings).url != stored.request.video:
            raise InvalidRequest("video: this is not the job's video; only its query string may differ.")
    end = Records(store, stored.run).find_end()
    if end is None:
        return stored
    if end.state is State.COMPLETED:
        raise NothingToRetry("The job is complete; nothing is missing.")
    source = parse_source(stored.request.video, settings)
    client = open_source(source, sas, settings, patient=False)
    if look_up(client, settings.source_look_up_s).etag != stored.etag:
        raise VideoChanged("The video was replaced since the job was accepted.")
    quotas.check_room(settings, store, caller)
    if not retention.keep_job(store, stored.job):
        raise JobNotFound("The job's time is over, and it is being removed.")
    return reopen_job(store, stored, Secrets(sas), stored.model_copy(update={"caller": caller}))


def utc_now() -> str:
    """The current time, ISO 8601 with milliseconds, in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def instances(store: BlobStore, run: str) -> list[str]:
    """Ids of the durable instances that a run may have: its own, and those of its blocks of units."""
    ids = [run]
    with suppress(RecordUnreadable):  # without a readable plan no blocks were started
        records = Records(store, run)
        if plan := records.find_plan():
            first = len(plan.units)
            look = records.find_look()
            spans = [(0, first)] + ([(first, first + len(look.units))] if look else [])
            ids += [fan_out.block_id(run, block) for span in spans for block in fan_out.blocks(*span)]
    return ids


def cancel(store: BlobStore, stored: StoredRequest) -> tuple[EndRecord, bool]:
    """Cancel a run: (its end record, whether this call ended it). Running activities notice the marker."""
    records = Records(store, stored.run)
    if end := records.find_end():
        return end, False
    store.put(paths.cancel_path(stored.run), b"")
    return close_run(records, State.CANCELLED), True
