"""Attempts at a job: reopen, retry, cancel, and which may run next."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

from pydantic import ValidationError

from shared import fan_out
from shared.contracts import (
    EndRecord,
    ErrorBody,
    Plan,
    Priority,
    RetryRequest,
    State,
    StoredRequest,
)
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
from shared.steps import close_job, settle
from shared.storage import (
    NO_SECRETS,
    BlobStore,
    Secrets,
    find_callback_secret,
    find_end,
    find_look,
    find_secret,
    keep_secrets,
    ledger,
    load_request,
    paths,
    records,
    split_secret,
)
from shared.video import look_up, open_source, parse_source

MOST_ATTEMPTS = 5
"""A run that is lost is started anew by itself up to this attempt at its job."""


REOPENABLE = (State.FAILED, State.CANCELLED)


def again(
    store: BlobStore, last: StoredRequest, secrets: Secrets = NO_SECRETS, request: StoredRequest | None = None
) -> StoredRequest:
    """A new attempt after `last`, which ended: a run of its own, with records of its own, so that what
    is left of the old one cannot touch it. Scores stay, so only what is missing is scored.

    request: what to attempt, where that is not the same once more. Of two callers one wins.
    """
    new = (request or last).model_copy(update={"attempt": last.attempt + 1, "created": now()})
    keep_secrets(store, new, secrets.or_else(find_secret(store, last), find_callback_secret(store, last)))
    if store.put_new(paths.request_path(new.run), new.model_dump_json().encode()):
        ledger.enter(store, new)
        ledger.forget(store, last)
    else:
        new = load_request(store, new.run)
    store.delete(paths.secret_path(last.run, last.fingerprint))  # still there where it was lost
    return new


def after_loss(store: BlobStore, stored: StoredRequest) -> StoredRequest | None:
    """What follows for a run whose orchestration is over without a last word: another attempt; or, where
    so many were made already that another one will hardly help, the job's end, and None."""
    if stored.attempt < MOST_ATTEMPTS:
        return again(store, stored)
    lost = MatchcutError("The orchestration ended without a result.")
    close_job(store, stored.run, State.FAILED, ErrorBody(**lost.record()))
    return None


def turn(settings: Settings, store: BlobStore) -> list[StoredRequest]:
    """Runs that may run now, in their order: every interactive one, and the first few of batches.

    One that has ended and still stands among the open ones is settled on the way; one whose records cannot
    be read is parked.
    """
    found: list[StoredRequest] = []
    most: dict[Priority, int | None] = {"interactive": None, "batch": settings.batch_jobs}
    for priority, limit in most.items():
        counted = 0
        for entry in ledger.open_entries(store, priority):
            if limit is not None and counted >= limit:
                break
            run = ledger.run_of(entry)
            try:
                stored = records.find(store, StoredRequest, paths.request_path(run))
                end = find_end(store, run)
            except RecordUnreadable as why:
                ledger.park(store, entry, why)
                continue
            if stored is None:
                continue
            if end:
                settle(store, stored, end)
                continue
            found.append(stored)
            counted += 1
    return found


def retry(
    settings: Settings, store: BlobStore, stored: StoredRequest, body: bytes, caller: str | None = None
) -> StoredRequest:
    """Run again what is missing of a job that ended with gaps, failed or was cancelled; a job that still
    runs is given back. The body may bring a fresh SAS: {"video": "<the same URL>?<SAS>"}.

    Raises NothingToRetry, InvalidRequest, QueueFull, TooManyJobs, and what looking the video up finds:
    VideoChanged where it was replaced.
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
    end = find_end(store, stored.run)
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
    return again(store, stored, Secrets(sas), stored.model_copy(update={"caller": caller}))


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def instances(store: BlobStore, run: str) -> list[str]:
    """Ids of the durable instances that a run may have: its own, and those of its blocks."""
    ids = [run]
    with suppress(RecordUnreadable):  # then it has no blocks: they could not be planned either
        if plan := records.find(store, Plan, paths.plan_path(run)):
            first = len(plan.units)
            look = find_look(store, run)
            spans = [(0, first)] + ([(first, first + len(look.units))] if look else [])
            ids += [fan_out.block_id(run, block) for span in spans for block in fan_out.blocks(*span)]
    return ids


def cancel(store: BlobStore, stored: StoredRequest) -> tuple[EndRecord, bool]:
    """(how the job ended, whether this call ended it). Running activities see the marker."""
    if end := find_end(store, stored.run):
        return end, False
    store.put(paths.cancel_path(stored.run), b"")
    return close_job(store, stored.run, State.CANCELLED), True
