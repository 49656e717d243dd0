"""Accept a job: check the request, look its video up, store it once."""

from __future__ import annotations

import hashlib
import json
from enum import Enum

from shared import names
from shared.callbacks import validate_callback
from shared.contracts import (
    JobRequest,
    Priority,
    StoredRequest,
)
from shared.errors import (
    IdempotencyConflict,
    StorageUnavailable,
    VideoTooLarge,
)
from shared.jobs import quotas, retention
from shared.jobs.attempts import REOPENABLE, now, reopen
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
    """Validate a request, look its video up, and store it; the caller then sees that it is started.

    The same video (address and ETag) and options give the same job, and so does the same
    idempotency key with the same body. A job that failed or was cancelled is opened again.

    Raises what the checks find: InvalidRequest and its kin, BadUrl, HostNotAllowed, UnknownModel,
    BlobNotFound, BlobAccessDenied, VideoTooLarge, IdempotencyConflict, StorageUnavailable,
    SourceTooSlow; and QueueFull or TooManyJobs where it would be a new run.
    """
    return take(settings, store, parse_request(body), idempotency_key, caller=caller)


class _Stands(Enum):
    """What there is of a job when somebody asks for it."""

    MISSING = "nothing, or records that are being removed"
    RUNNING = "a run that has not ended"
    REOPENABLE = "a run that failed or was cancelled"
    DONE = "a run with a result"


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
    stored = _checked(settings, request, secrets, idempotency_key, priority, caller)
    there, stands = _find(store, stored.job)
    if priority == "interactive" and stands in (_Stands.MISSING, _Stands.REOPENABLE):
        quotas.check_room(settings, store, caller)
    if there is None:
        there = _enter(store, stored, secrets)
        if there is stored:
            return stored
        stands = _stands(store, there)
    if there.fingerprint != stored.fingerprint:
        forget_secrets(store, stored)
        raise IdempotencyConflict("This Idempotency-Key was used with another request.")
    match stands:
        case _Stands.RUNNING:
            keep_secrets(store, there, secrets)
            # Whoever waits for an answer does not wait for a batch; and a process may have died before this.
            ledger.reopen_run(store, there.model_copy(update={"priority": priority}))
        case _Stands.REOPENABLE:
            return reopen(store, there, secrets, stored)
    return there


def _checked(
    settings: Settings,
    request: JobRequest,
    secrets: Secrets,
    idempotency_key: str | None,
    priority: Priority,
    caller: str | None,
) -> StoredRequest:
    """The request as it would be stored. Its video is looked up, and nothing is written."""
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
        created=now(),
        priority=priority,
        caller=caller,
    )


def _find(store: BlobStore, job: str) -> tuple[StoredRequest | None, _Stands]:
    """The last attempt at a job, and how it stands; None where it is missing."""
    there = find_latest(store, job)
    if there is None:
        return None, _Stands.MISSING
    stands = _stands(store, there)
    if stands is not _Stands.RUNNING and not retention.keep_job(store, job):
        return None, _Stands.MISSING
    return there, stands


def _stands(store: BlobStore, there: StoredRequest) -> _Stands:
    end = Records(store, there.run).find_end()
    if end is None:
        return _Stands.RUNNING
    return _Stands.REOPENABLE if end.state in REOPENABLE else _Stands.DONE


def _enter(store: BlobStore, stored: StoredRequest, secrets: Secrets) -> StoredRequest:
    """Store a job's first request; the one that is there, where another caller was faster."""
    for _ in range(2):
        # The secret first: once the request is there, another caller may start the job.
        keep_secrets(store, stored, secrets)
        if store.put_new(paths.request_path(stored.job), stored.model_dump_json().encode()):
            ledger.add_run(store, stored)
            return stored
        if there := find_latest(store, stored.job):
            return there
        retention.finish_removal(store, stored.job)  # begun, and not ended yet
    raise StorageUnavailable("The job's old records are being removed.")
