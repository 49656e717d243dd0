"""Batches: many requests that become independent jobs.

A batch is stored in one piece. Activities then expand it, a block of requests at a time: each request becomes
a job of its own with the priority "batch", or a refusal with its reason. After that only a list of ids
connects the jobs.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime

from pydantic import ValidationError

from shared import fan_out, names
from shared.callbacks import validate_callback
from shared.contracts import (
    Batch,
    BatchFailure,
    BatchItem,
    BatchItems,
    BatchRequest,
    BatchStatus,
    ErrorBody,
    JobRequest,
    State,
)
from shared.errors import (
    BatchNotFound,
    IdempotencyConflict,
    InvalidRequest,
    MatchcutError,
    RecordUnreadable,
    StorageUnavailable,
)
from shared.jobs import quotas
from shared.jobs.acceptance import take_request
from shared.jobs.attempts import utc_now
from shared.jobs.requests import InvalidFields, field_errors
from shared.jobs.status import status_url
from shared.models import Catalogue, choose_models
from shared.settings import Settings
from shared.storage import (
    BlobStore,
    Records,
    Secrets,
    find_batch_secrets,
    forget_batch_secrets,
    keep_batch_secrets,
    ledger,
    paths,
    records,
)
from shared.video import parse_source

MAX_BODY_BYTES = 8 * 1024**2
_MOST_FAULTS = 50
"""So many faulty fields a refusal lists."""
_MOST_FAILURES = 100
"""So many failed videos a batch's status lists."""
_LOOK_UPS = 8
"""Videos that one activity looks up concurrently."""
REFUSED, ACCEPTING, GONE = "Refused", "Accepting", "Gone"


def parse_batch(body: bytes, lines: bool) -> tuple[str | None, tuple[JobRequest, ...]]:
    """(the batch's name, its requests); the URLs still hold their SAS. `lines`: the body is JSON Lines.

    Raises InvalidRequest, which names the faulty fields. No message repeats a value, which may hold a SAS.
    """
    if len(body) > MAX_BODY_BYTES:
        raise InvalidRequest(f"The body is longer than {MAX_BODY_BYTES} bytes.")
    if not lines:
        try:
            batch = BatchRequest.model_validate_json(body)
        except ValidationError as bad:
            raise _invalid(list(field_errors(bad))) from None
        return batch.name, batch.requests()
    found: list[JobRequest] = []
    faults: list[dict[str, str]] = []
    for number, line in enumerate(filter(bytes.strip, body.splitlines())):
        if number == fan_out.MAX_BATCH:
            raise InvalidRequest(f"A batch has at most {fan_out.MAX_BATCH} videos.")
        try:
            found.append(JobRequest.model_validate_json(line))
        except ValidationError as bad:
            faults += field_errors(bad, f"videos.{number}.")
    if faults:
        raise _invalid(faults)
    if not found:
        raise InvalidRequest("A batch has at least one video.")
    return None, tuple(found)


def accept_batch(
    settings: Settings,
    store: BlobStore,
    name: str | None,
    requests: Sequence[JobRequest],
    key: str | None,
    caller: str | None = None,
) -> Batch:
    """Check every request as far as possible without its video, and store the batch.

    `key`: the idempotency key; the same key gives the same batch. Raises InvalidRequest, which names the
    faulty requests; QueueFull or TooManyJobs where there is no room for all of them; IdempotencyConflict; and
    storage's errors.
    """
    catalogue = Catalogue.of(settings, patient=False)
    labels: dict[str, frozenset[str]] = {}
    faults: list[dict[str, str]] = []
    clean, secrets = [], []
    for number, request in enumerate(requests):
        try:
            source = parse_source(request.video, settings)
            callback = validate_callback(settings, request.callback).url if request.callback else None
            selection = request.model_dump_json(include={"profile", "models", "extra_models"})
            if selection not in labels:
                labels[selection] = frozenset(
                    rule.label for rule in choose_models(catalogue, request).profile.rules
                )
            if unknown := sorted(set(request.cut.thresholds) - labels[selection]):
                raise InvalidRequest(f"the profile {request.profile} has no label {', '.join(unknown)}")
        except StorageUnavailable:
            raise
        except MatchcutError as fault:
            faults.append({"field": f"videos.{number}", "message": fault.message})
            continue
        clean.append(request.model_copy(update={"video": source.url, "callback": callback}))
        secrets.append(Secrets.of(request))
    if faults:
        raise _invalid(faults)
    canonical = json.dumps([request.model_dump(mode="json") for request in clean], sort_keys=True)
    fingerprint = hashlib.sha256(canonical.encode()).hexdigest()
    created = utc_now()
    # Without a key every call makes a batch of its own: videos may have been replaced since the last call.
    # That costs nothing, since the same video and options are the same job.
    parts = ("batch key", key) if key else ("batch", canonical, created)
    batch = Batch(
        id=names.digest_id(*parts, prefix="b"),
        name=name,
        created=created,
        fingerprint=fingerprint,
        requests=tuple(clean),
        caller=caller,
    )
    if not store.exists(paths.batch_path(batch.id)):
        quotas.check_room(settings, store, caller, len(clean))
    # The secrets first, as for a job. A concurrent caller's secrets open the same videos.
    keep_batch_secrets(store, batch, secrets)
    if not store.put_new(paths.batch_path(batch.id), batch.model_dump_json().encode()):
        existing = find_batch(store, batch.id)
        if existing.fingerprint != fingerprint:
            forget_batch_secrets(store, batch)
            raise IdempotencyConflict("This Idempotency-Key was used with another batch.")
        batch = existing
    if store.exists(paths.batch_items_path(batch.id)):
        forget_batch_secrets(store, batch)
        return batch
    ledger.open_batch(store, batch)
    if not store.reuse(paths.batch_path(batch.id)):  # retention was faster
        ledger.close_batch(store, batch)
        raise StorageUnavailable("The batch's old records are being removed.")
    return batch


def find_batch(store: BlobStore, batch: str) -> Batch:
    """The batch of this id. Raises BatchNotFound."""
    found = records.find(store, Batch, paths.batch_path(batch)) if names.is_job_id(batch) else None
    if found is None:
        raise BatchNotFound("There is no batch with this id.")
    return found


@contextmanager
def parking(store: BlobStore, batch: str) -> Iterator[None]:
    """Surround work on a batch: if one of its records cannot be read, park the batch and still raise
    RecordUnreadable."""
    try:
        yield
    except RecordUnreadable as why:
        ledger.park_batch(store, batch, why)
        raise


# ---------------------------------------------------------------- expansion


def expand(settings: Settings, store: BlobStore, batch_id: str, first: int) -> int:
    """Accept the requests [first, first + BATCH_BLOCK) as jobs; returns how many requests there were.

    The block's record keeps each refusal with its reason. A retryable error is raised, so that the block is
    tried again; the second try finds the jobs of the first.
    """
    path = paths.batch_block_path(batch_id, first)
    if found := records.find(store, BatchItems, path):
        return len(found.items)
    batch = find_batch(store, batch_id)
    secrets = find_batch_secrets(store, batch)
    block = range(first, min(first + fan_out.BATCH_BLOCK, len(batch.requests)))

    def accept_one(index: int) -> BatchItem:
        request = batch.requests[index]
        if secrets:
            request = secrets[index].put_back(request)
        try:
            stored = take_request(settings, store, request, priority="batch", caller=batch.caller)
        except MatchcutError as refused:
            if refused.retryable:
                raise
            return BatchItem(index=index, error=ErrorBody(**refused.record()))
        end = Records(store, stored.run).find_end()
        return BatchItem(
            index=index,
            job=stored.job,
            run=stored.run,
            created=stored.created,
            state=end.state if end else None,
        )

    with ThreadPoolExecutor(_LOOK_UPS) as threads:
        items = tuple(threads.map(accept_one, block))
    store.put(path, BatchItems(items=items).model_dump_json().encode())
    return len(items)


def finish(store: BlobStore, batch_id: str) -> bool:
    """Once every block is expanded, write one record of all requests, remove the batch's secrets, and close
    the batch. Returns whether every block is expanded."""
    batch = find_batch(store, batch_id)
    items = _items(store, batch)
    if len(items) < len(batch.requests):
        return False
    store.put(paths.batch_items_path(batch_id), BatchItems(items=items).model_dump_json().encode())
    forget_batch_secrets(store, batch)
    ledger.close_batch(store, batch)
    return True


def _items(store: BlobStore, batch: Batch) -> tuple[BatchItem, ...]:
    """The items of the requests expanded so far, in order."""
    if found := records.find(store, BatchItems, paths.batch_items_path(batch.id)):
        return found.items
    blocks = sorted(store.list(paths.batch_blocks_folder(batch.id)))
    return tuple(item for path in blocks for item in records.read(store, BatchItems, path).items)


# ---------------------------------------------------------------- status


def describe_batch(settings: Settings, store: BlobStore, batch: Batch, now: datetime) -> BatchStatus:
    """The batch's status, from one listing of the index. `now`: aware; the ETA counts from it."""
    counts: Counter[str] = Counter()
    failures = []
    rows = list(_rows(store, batch))
    for index, item, state, error in rows:
        counts[state] += 1
        if error is not None:
            url = batch.requests[index].video
            job = item.job if item else None
            failures.append(BatchFailure(index=index, video=url, job=job, code=error[0], message=error[1]))
    ended = sum(counts[state] for state in (*_ENDED, REFUSED, GONE))
    elapsed_s = (now - datetime.fromisoformat(batch.created)).total_seconds()
    over, total = ended == len(rows), len(rows)
    url = batch_url(settings, batch.id)
    return BatchStatus(
        id=batch.id,
        name=batch.name,
        created=batch.created,
        state="Accepting" if counts[ACCEPTING] else "Ended" if over else "Running",
        total=total,
        counts={state: counts[state] for state in sorted(counts)},
        eta_s=None if over or not ended else round(elapsed_s * (total - ended) / ended, 1),
        failures=tuple(failures[:_MOST_FAILURES]),
        links={"self": url, "csv": f"{url}/csv"},
    )


def batch_csv(settings: Settings, store: BlobStore, batch: Batch) -> str:
    """One row per video as CSV (RFC 4180), safe to open in a spreadsheet."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["number", "video", "name", "job", "state", "code", "message", "edl"])
    for index, item, state, error in _rows(store, batch):
        request = batch.requests[index]
        job = item.job if item and item.job else ""
        done = state in (State.COMPLETED, State.COMPLETED_WITH_GAPS)
        edl = f"{status_url(settings, job)}/files/cut.edl" if done else ""
        code, message = error or ("", "")
        cells = [index + 1, request.video, request.name or "", job, state, code, message, edl]
        writer.writerow([_plain(cell) for cell in cells])
    return out.getvalue()


def batch_url(settings: Settings, batch: str) -> str:
    return f"{settings.public_base_url.rstrip('/')}/api/batches/{batch}"


_ENDED = tuple(state.value for state in State if state.ended)
Row = tuple[int, BatchItem | None, str, tuple[str, str] | None]


def _rows(store: BlobStore, batch: Batch) -> Iterator[Row]:
    """(index, item, state, code and message of its failure) of each request, in order."""
    items = {item.index: item for item in _items(store, batch)}
    latest: dict[str, ledger.IndexEntry] = {}
    for entry in ledger.index_entries_since(store, datetime.fromisoformat(batch.created)):
        latest.setdefault(entry.job, entry)
    for index in range(len(batch.requests)):
        item = items.get(index)
        if item is None:
            yield index, None, ACCEPTING, None
        elif item.error is not None:
            yield index, item, REFUSED, (item.error.code, item.error.message)
        else:
            yield index, item, *_state_of(store, item, latest)


def _state_of(
    store: BlobStore, item: BatchItem, latest: Mapping[str, ledger.IndexEntry]
) -> tuple[str, tuple[str, str] | None]:
    """(state, code and message of its failure) of an item that became a job."""
    assert item.job is not None
    entry = latest.get(item.job)
    if entry is None and item.state is not None:
        return item.state.value, None
    if entry is None and item.run and item.created:
        entry = ledger.find_index_entry(store, item.run, item.created)
    if entry is None:
        return GONE, None
    return entry.state.value, (entry.code, entry.message or "") if entry.code else None


def _plain(cell: object) -> object:
    """The cell as text that no spreadsheet reads as a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def _invalid(faults: Sequence[dict[str, str]]) -> InvalidRequest:
    more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
    first = faults[0]
    return InvalidFields(f"{first['field']}: {first['message']}{more}.", tuple(faults[:_MOST_FAULTS]))
