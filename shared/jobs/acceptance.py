"""Accept a job: check the request, look its video up, store the request once."""

from __future__ import annotations

import hashlib
import json
from enum import Enum

from shared import names
from shared.callbacks import validate_callback
from shared.contracts import JobRequest, Priority, StoredRequest
from shared.errors import IdempotencyConflict, StorageUnavailable, VideoTooLarge
from shared.jobs import quotas, retention
from shared.jobs.attempts import REOPENABLE, reopen_job, utc_now
from shared.jobs.requests import InvalidFields, parse_request
from shared.models import Catalogue, choose_models
from shared.settings import Settings
from shared.storage import (
    BlobStore,
    Records,
    Secrets,
    find_latest,
    forget_secrets,
    keep_secrets,
    ledger,
    paths,
)
from shared.video import look_up, open_source, parse_source


def accept(
    settings: Settings,
    store: BlobStore,
    body: bytes,
    idempotency_key: str | None,
    caller: str | None = None,
) -> StoredRequest:
    """Validate a request's body, look its video up, and store the request. The caller then starts the run.

    The same video (address and ETag) with the same options is the same job, and so is the same idempotency
    key with the same body. A job that failed or was cancelled is reopened. `caller`: the caller's digest, see
    quotas.caller_id.

    Raises InvalidRequest and its subclasses, BadUrl, HostNotAllowed, UnknownModel, ModelRefused, BadCallback,
    CallbackNotAllowed, BlobNotFound, BlobAccessDenied, VideoTooLarge, IdempotencyConflict,
    StorageUnavailable, SourceTooSlow; and QueueFull or TooManyJobs where it would be a new run.
    """
    return take_request(settings, store, parse_request(body), idempotency_key, caller=caller)


class _Stand(Enum):
    """How a job stands when a caller asks for it."""

    MISSING = "no records, or records that are being removed"
    RUNNING = "a run that has not ended"
    REOPENABLE = "a run that failed or was cancelled"
    DONE = "a run with a result"


def take_request(
    settings: Settings,
    store: BlobStore,
    request: JobRequest,
    idempotency_key: str | None = None,
    priority: Priority = "interactive",
    caller: str | None = None,
) -> StoredRequest:
    """Accept a well-formed request; its video's URL may hold a SAS.

    Quotas are checked for interactive requests only: a batch was checked when it was accepted.
    """
    secrets = Secrets.of(request)
    stored = _check(settings, request, secrets, idempotency_key, priority, caller)
    existing, stand = _find(store, stored.job)
    if priority == "interactive" and stand in (_Stand.MISSING, _Stand.REOPENABLE):
        quotas.check_room(settings, store, caller)
    if existing is None:
        existing = _enter(store, stored, secrets)
        if existing is stored:
            return stored
        stand = _stand_of(store, existing)
    if existing.fingerprint != stored.fingerprint:
        forget_secrets(store, stored)
        raise IdempotencyConflict("This Idempotency-Key was used with another request.")
    match stand:
        case _Stand.RUNNING:
            keep_secrets(store, existing, secrets)
            # An interactive request does not wait behind a batch. This also mends the ledger where a process
            # died before it entered the run.
            ledger.reopen_run(store, existing.model_copy(update={"priority": priority}))
        case _Stand.REOPENABLE:
            return reopen_job(store, existing, secrets, stored)
    return existing


def _check(
    settings: Settings,
    request: JobRequest,
    secrets: Secrets,
    idempotency_key: str | None,
    priority: Priority,
    caller: str | None,
) -> StoredRequest:
    """Check a request and look its video up; returns the request as it would be stored. Writes nothing."""
    source = parse_source(request.video, settings)
    callback = validate_callback(settings, request.callback).url if request.callback else None
    profile = choose_models(Catalogue.of(settings, patient=False), request).profile
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
    return StoredRequest(
        job=job,
        request=request,
        fingerprint=hashlib.sha256(canonical.encode()).hexdigest(),
        etag=facts.etag,
        length_bytes=facts.length_bytes,
        created=utc_now(),
        priority=priority,
        caller=caller,
    )


def _find(store: BlobStore, job: str) -> tuple[StoredRequest | None, _Stand]:
    """The request of the job's last attempt, None where there is none; and how the job stands."""
    last = find_latest(store, job)
    if last is None:
        return None, _Stand.MISSING
    stand = _stand_of(store, last)
    if stand is not _Stand.RUNNING and not retention.keep_job(store, job):
        return None, _Stand.MISSING
    return last, stand


def _stand_of(store: BlobStore, last: StoredRequest) -> _Stand:
    end = Records(store, last.run).find_end()
    if end is None:
        return _Stand.RUNNING
    return _Stand.REOPENABLE if end.state in REOPENABLE else _Stand.DONE


def _enter(store: BlobStore, stored: StoredRequest, secrets: Secrets) -> StoredRequest:
    """Store a job's first request, and return it; where another caller was faster, return that caller's."""
    for _ in range(2):
        # The secrets first: once the request is stored, another caller may start the job.
        keep_secrets(store, stored, secrets)
        if store.put_new(paths.request_path(stored.job), stored.model_dump_json().encode()):
            ledger.add_run(store, stored)
            return stored
        if existing := find_latest(store, stored.job):
            return existing
        retention.finish_removal(store, stored.job)  # which a sweep has begun and not finished
    raise StorageUnavailable("The job's old records are being removed.")
