"""Records that the service wrote, read back by this version, an older or a newer one.

What callers and operators write is read strictly; of what the service wrote, fields that this version does
not know are passed over. An empty blob is no record: retention leaves one where a job was.
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import ValidationError

from shared import names
from shared.contracts import (
    Choice,
    Contract,
    EndRecord,
    Look,
    Plan,
    StoredRequest,
    UnitSummary,
)
from shared.errors import (
    BlobNotFound,
    JobNotFound,
    RecordUnreadable,
)
from shared.storage import paths, records
from shared.storage.store import BlobStore

R = TypeVar("R", bound=Contract)


def parse(kind: type[R], path: str, data: bytes) -> R:
    """Raises RecordUnreadable, which names the path and the first fault, and repeats no value."""
    try:
        return kind.of_record(data)
    except ValidationError as bad:
        fault = bad.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        told = f"{where}: {fault['type']}" if where else fault["type"]
    raise RecordUnreadable(f"The record {path} cannot be read ({told}).")


def read(store: BlobStore, kind: type[R], path: str) -> R:
    """Raises BlobNotFound, RecordUnreadable, or what storage says."""
    found = find(store, kind, path)
    if found is None:
        raise BlobNotFound(f"{path} does not exist.")
    return found


def find(store: BlobStore, kind: type[R], path: str) -> R | None:
    """None where there is none. Raises RecordUnreadable, or what storage says."""
    data = store.find(path)
    return parse(kind, path, data) if data else None


def load_request(store: BlobStore, job: str) -> StoredRequest:
    return records.read(store, StoredRequest, paths.request_path(job))


def load_choice(store: BlobStore, job: str) -> Choice:
    return records.read(store, Choice, paths.choice_path(job))


def load_plan(store: BlobStore, job: str) -> Plan:
    return records.read(store, Plan, paths.plan_path(job))


def find_look(store: BlobStore, job: str) -> Look | None:
    """What the second fan-out does, once that is planned."""
    return records.find(store, Look, paths.look_path(job))


def load_look(store: BlobStore, job: str) -> Look:
    return records.read(store, Look, paths.look_path(job))


def load_summary(store: BlobStore, job: str, unit: int) -> UnitSummary:
    return records.read(store, UnitSummary, paths.summary_path(job, unit))


def find_latest(store: BlobStore, job: str) -> StoredRequest | None:
    """The request of the last attempt at a job; None for one that retention has given up."""
    latest, attempt = None, 1
    while found := store.find(path := paths.request_path(names.run_id(job, attempt))):
        latest, attempt = (path, found), attempt + 1
    return records.parse(StoredRequest, *latest) if latest else None


def find_end(store: BlobStore, run: str) -> EndRecord | None:
    return records.find(store, EndRecord, paths.end_path(run))


def find_request(store: BlobStore, job: str) -> StoredRequest:
    """The last attempt at a job. Raises JobNotFound."""
    found = find_latest(store, job) if names.is_job_id(job) else None
    if found is None or found.job != job:
        raise JobNotFound("There is no job with this id.")
    return found
