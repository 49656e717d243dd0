"""What callers do with jobs: accept, retry, cancel, hand out files."""

from __future__ import annotations

import hashlib
import json

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
from shared.jobs.attempts import REOPENABLE, again, now
from shared.jobs.requests import InvalidFields, parse_request
from shared.models import Catalogue, choose
from shared.settings import Settings
from shared.storage import (
    BlobStore,
    Secrets,
    find_end,
    find_latest,
    forget_callback_secret,
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
    there = find_latest(store, job)
    end = find_end(store, there.run) if there else None
    if end and not retention.keep_job(store, job):
        there = end = None  # it is being removed
    if priority == "interactive" and (there is None or (end and end.state in REOPENABLE)):
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
        keep_secrets(store, there, secrets)
        # Whoever waits for an answer does not wait for a batch; and a process may have died before this.
        ledger.reopen(store, there.model_copy(update={"priority": priority}))
        return there
    if end.state in REOPENABLE:
        return again(store, there, secrets, stored)
    return there


def _enter(store: BlobStore, stored: StoredRequest, secrets: Secrets) -> StoredRequest | None:
    """Store a job's first request; the one that is there, where another caller was faster."""
    for _ in range(2):
        # The secret first: once the request is there, another caller may start the job.
        keep_secrets(store, stored, secrets)
        if store.put_new(paths.request_path(stored.job), stored.model_dump_json().encode()):
            ledger.enter(store, stored)
            return None
        if there := find_latest(store, stored.job):
            return there
        retention.finish_removal(store, stored.job)  # begun, and not ended yet
    raise StorageUnavailable("The job's old records are being removed.")
