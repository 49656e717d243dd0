"""What callers do with jobs: accept, retry, cancel, hand out files (floor 4)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

from pydantic import ValidationError

from shared import fan_out, names, quotas, retention
from shared.callbacks import validate_callback
from shared.contracts import (
    EndRecord,
    ErrorBody,
    JobRequest,
    Plan,
    Priority,
    RetryRequest,
    State,
    StoredRequest,
)
from shared.errors import (
    FileNotReady,
    IdempotencyConflict,
    InvalidRequest,
    JobNotFound,
    MatchcutError,
    NothingToRetry,
    RecordUnreadable,
    StorageUnavailable,
    UnknownField,
    VideoChanged,
    VideoTooLarge,
)
from shared.models import Catalogue, choose
from shared.settings import Settings
from shared.steps import close_job, settle
from shared.storage import (
    NO_SECRETS,
    BlobStore,
    Secrets,
    _keep,
    _latest,
    find_callback_secret,
    find_end,
    find_look,
    find_request,
    find_secret,
    forget_callback_secret,
    ledger,
    load_request,
    paths,
    records,
    split_secret,
)
from shared.timelines import FORMATS
from shared.video import look_up, open_source, parse_source

MAX_BODY_BYTES = 64 * 1024
MOST_ATTEMPTS = 5
"""A run that is lost is started anew by itself up to this attempt at its job."""


class InvalidFields(InvalidRequest):
    """Which fields are wrong, for the problem's `errors`."""

    def __init__(self, message: str, fields: tuple[dict[str, str], ...]) -> None:
        super().__init__(message)
        self.fields = fields


class UnknownFields(InvalidFields, UnknownField):
    code = UnknownField.code
    action = UnknownField.action


def parse_request(body: bytes) -> JobRequest:
    """Raises InvalidRequest, or UnknownField; no message repeats a value, which may hold a SAS."""
    _check_length(body)
    try:
        return JobRequest.model_validate_json(body)
    except ValidationError as bad:
        fields = tuple(field_errors(bad))
        kinds = [error["type"] for error in bad.errors(include_url=False, include_input=False)]
    unknown = [field["field"] for field, kind in zip(fields, kinds, strict=True) if kind == "extra_forbidden"]
    if unknown:
        raise UnknownFields(f"Unknown field: {', '.join(unknown)}.", fields)
    first = fields[0]
    raise InvalidFields(f"{first['field']}: {first['message']}.", fields)


def field_errors(bad: ValidationError, before: str = "") -> Iterator[dict[str, str]]:
    """{"field", "message"} of each fault, without the value. before: what the fields' names begin with."""
    for error in bad.errors(include_url=False, include_input=False, include_context=False):
        where = ".".join(str(part) for part in error["loc"]) or "body"
        yield {"field": before + where, "message": error["msg"]}


def _check_length(body: bytes) -> None:
    if len(body) > MAX_BODY_BYTES:
        raise InvalidRequest(f"The body is longer than {MAX_BODY_BYTES} bytes.")


def accept(
    settings: Settings,
    store: BlobStore,
    body: bytes,
    idempotency_key: str | None,
    caller: str | None = None,
) -> StoredRequest:
    """Validate a request, look its video up, and store it; the caller then sees that it is started.

    The same video (address and ETag) and options give the same job, and so does the same
    idempotency key with the same body. A job that failed or was cancelled is opened again.

    Raises what the checks find: InvalidRequest and its kin, BadUrl, HostNotAllowed, UnknownModel,
    BlobNotFound, BlobAccessDenied, VideoTooLarge, IdempotencyConflict, StorageUnavailable,
    SourceTooSlow; and QueueFull or TooManyJobs where it would be a new run.
    """
    return take(settings, store, parse_request(body), idempotency_key, caller=caller)


def take(
    settings: Settings,
    store: BlobStore,
    request: JobRequest,
    idempotency_key: str | None = None,
    priority: Priority = "interactive",
    caller: str | None = None,
) -> StoredRequest:
    """`accept` of a request that is well formed; its video's URL may hold a SAS.

    There was room for those of a batch when the batch was accepted.
    """
    secrets = Secrets.of(request)
    source = parse_source(request.video, settings)
    callback = validate_callback(settings, request.callback).url if request.callback else None
    profile = choose(Catalogue.of(settings, patient=False), request).profile
    if unknown := sorted(set(request.cut.thresholds) - {rule.label for rule in profile.rules}):
        message = f"the profile {profile.name} has no label {', '.join(unknown)}"
        raise InvalidFields(f"cut.thresholds: {message}.", ({"field": "cut.thresholds", "message": message},))
    client = open_source(source, secrets.sas, settings, patient=False)
    facts = look_up(client, settings.source_look_up_s)
    if facts.length_bytes > settings.max_video_bytes:
        raise VideoTooLarge(
            f"The video has {facts.length_bytes} bytes; the limit is {settings.max_video_bytes}."
        )

    request = request.model_copy(update={"video": source.url, "callback": callback})
    canonical = json.dumps(request.model_dump(mode="json"), sort_keys=True)
    if idempotency_key:
        job = names.digest_id("key", idempotency_key)
    else:
        job = names.digest_id("request", facts.etag, canonical)
    stored = StoredRequest(
        job=job,
        request=request,
        fingerprint=hashlib.sha256(canonical.encode()).hexdigest(),
        etag=facts.etag,
        length_bytes=facts.length_bytes,
        created=now(),
        priority=priority,
        caller=caller,
    )
    there = _latest(store, job)
    end = find_end(store, there.run) if there else None
    if end and not retention.keep_job(store, job):
        there = end = None  # it is being removed
    if priority == "interactive" and (there is None or (end and end.state in _AGAIN)):
        quotas.check_room(settings, store, caller)
    if there is None:
        there = _enter(store, stored, secrets)
        if there is None:
            return stored
        end = find_end(store, there.run)
    if there.fingerprint != stored.fingerprint:
        store.delete(paths.secret_path(stored.run, stored.fingerprint))
        forget_callback_secret(store, stored)
        raise IdempotencyConflict("This Idempotency-Key was used with another request.")
    if end is None:
        _keep(store, there, secrets)
        # Whoever waits for an answer does not wait for a batch; and a process may have died before this.
        ledger.reopen(store, there.model_copy(update={"priority": priority}))
        return there
    if end.state in _AGAIN:
        return again(store, there, secrets, stored)
    return there


_AGAIN = (State.FAILED, State.CANCELLED)


def _enter(store: BlobStore, stored: StoredRequest, secrets: Secrets) -> StoredRequest | None:
    """Store a job's first request; the one that is there, where another caller was faster."""
    for _ in range(2):
        # The secret first: once the request is there, another caller may start the job.
        _keep(store, stored, secrets)
        if store.put_new(paths.request_path(stored.job), stored.model_dump_json().encode()):
            ledger.enter(store, stored)
            return None
        if there := _latest(store, stored.job):
            return there
        retention.finish_removal(store, stored.job)  # begun, and not ended yet
    raise StorageUnavailable("The job's old records are being removed.")


def again(
    store: BlobStore, last: StoredRequest, secrets: Secrets = NO_SECRETS, request: StoredRequest | None = None
) -> StoredRequest:
    """A new attempt after `last`, which ended: a run of its own, with records of its own, so that what
    is left of the old one cannot touch it. Scores stay, so only what is missing is scored.

    request: what to attempt, where that is not the same once more. Of two callers one wins.
    """
    new = (request or last).model_copy(update={"attempt": last.attempt + 1, "created": now()})
    _keep(store, new, secrets.or_else(find_secret(store, last), find_callback_secret(store, last)))
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
    _check_length(body)
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


def status_url(settings: Settings, job: str) -> str:
    return f"{settings.public_base_url.rstrip('/')}/api/jobs/{job}"


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


def result_file(store: BlobStore, job: str, name: str) -> tuple[bytes, str]:
    """(content, media type) of a file that the job's links name. Raises JobNotFound, FileNotReady."""
    run = find_request(store, job).run
    end = find_end(store, run)
    if end is None or name not in end.files:
        raise FileNotReady(f"The job has no file of this name{'' if end else ' yet'}.")
    media_type = next(form.media_type for form in FORMATS.values() if form.file_name == name)
    return store.get(paths.file_path(run, name)), media_type
