"""Read and write the service's records; another version of the service may have written them.

Requests, manifests and profiles, which callers and operators write, are read strictly. Records are read
tolerantly: a reader ignores fields that its version does not know. An empty blob is no record: retention
leaves one in the place of a removed job's request.
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import ValidationError

from shared import names
from shared.contracts import Choice, Contract, EndRecord, Look, Plan, StoredRequest, UnitSummary
from shared.errors import BlobNotFound, JobNotFound, RecordUnreadable
from shared.storage import paths
from shared.storage.store import BlobStore

R = TypeVar("R", bound=Contract)


def parse(kind: type[R], path: str, data: bytes) -> R:
    """The record in `data`. Raises RecordUnreadable, which names path and first fault, but no value."""
    try:
        return kind.of_record(data)
    except ValidationError as bad:
        fault = bad.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        reason = f"{where}: {fault['type']}" if where else fault["type"]
    raise RecordUnreadable(f"The record {path} cannot be read ({reason}).")


def read(store: BlobStore, kind: type[R], path: str) -> R:
    """The record at a path. Raises BlobNotFound, RecordUnreadable, StorageUnavailable."""
    return _existing(find(store, kind, path), path)


def find(store: BlobStore, kind: type[R], path: str) -> R | None:
    """The record at a path, None where there is none. Raises RecordUnreadable, StorageUnavailable."""
    data = store.find(path)
    return parse(kind, path, data) if data else None


def _existing(record: R | None, path: str) -> R:
    if record is None:
        raise BlobNotFound(f"{path} does not exist.")
    return record


class Records:
    """The records of one run. Each is read from storage once and written once.

    A record never changes once it is written, so this object remembers every record that it read or wrote. It
    looks again for a record that did not exist before. The attributes and `summary` raise BlobNotFound where
    the record does not exist; everything here raises RecordUnreadable and StorageUnavailable.
    """

    def __init__(self, store: BlobStore, run: str) -> None:
        self.store = store
        self.run = run
        self._known: dict[str, Contract] = {}

    @property
    def request(self) -> StoredRequest:
        return self._read(StoredRequest, paths.request_path(self.run))

    @property
    def choice(self) -> Choice:
        return self._read(Choice, paths.choice_path(self.run))

    @property
    def plan(self) -> Plan:
        return self._read(Plan, paths.plan_path(self.run))

    @property
    def look(self) -> Look:
        return self._read(Look, paths.look_path(self.run))

    def summary(self, unit: int) -> UnitSummary:
        return self._read(UnitSummary, paths.summary_path(self.run, unit))

    def find_request(self) -> StoredRequest | None:
        return self._find(StoredRequest, paths.request_path(self.run))

    def find_plan(self) -> Plan | None:
        return self._find(Plan, paths.plan_path(self.run))

    def find_look(self) -> Look | None:
        """The plan of the second fan-out; None before it is planned."""
        return self._find(Look, paths.look_path(self.run))

    def find_end(self) -> EndRecord | None:
        return self._find(EndRecord, paths.end_path(self.run))

    def write_request(self, request: StoredRequest) -> StoredRequest:
        """Write the run's request unless it has one; the request that is stored now."""
        return self._write_new(paths.request_path(self.run), request)

    def write_choice(self, choice: Choice) -> None:
        self._write(paths.choice_path(self.run), choice)

    def write_plan(self, plan: Plan) -> None:
        self._write(paths.plan_path(self.run), plan)

    def write_look(self, look: Look) -> None:
        self._write(paths.look_path(self.run), look)

    def write_summary(self, summary: UnitSummary) -> None:
        self._write(paths.summary_path(self.run, summary.unit), summary)

    def write_end(self, end: EndRecord) -> EndRecord:
        """Write the run's end unless it has one; the end that is stored now."""
        return self._write_new(paths.end_path(self.run), end)

    def _read(self, kind: type[R], path: str) -> R:
        return _existing(self._find(kind, path), path)

    def _find(self, kind: type[R], path: str) -> R | None:
        known = self._known.get(path)
        if isinstance(known, kind):
            return known
        found = find(self.store, kind, path)
        if found is not None:
            self._known[path] = found
        return found

    def _write(self, path: str, record: Contract) -> None:
        self.store.put(path, record.model_dump_json().encode())
        self._known[path] = record

    def _write_new(self, path: str, record: R) -> R:
        if not self.store.put_new(path, record.model_dump_json().encode()):
            return self._read(type(record), path)
        self._known[path] = record
        return record


def find_end(store: BlobStore, run: str) -> EndRecord | None:
    """The end record of a run, for those who need no other of its records."""
    return Records(store, run).find_end()


def find_latest(store: BlobStore, job: str) -> StoredRequest | None:
    """The request of the last attempt at a job; None where there is no such job, or retention is removing it.

    Raises RecordUnreadable, StorageUnavailable.
    """
    latest, attempt = None, 1
    while found := store.find(path := paths.request_path(names.run_id(job, attempt))):
        latest, attempt = (path, found), attempt + 1
    return parse(StoredRequest, *latest) if latest else None


def find_request(store: BlobStore, job: str) -> StoredRequest:
    """The request of the last attempt at a job. Raises JobNotFound, RecordUnreadable, StorageUnavailable."""
    found = find_latest(store, job) if names.is_job_id(job) else None
    if found is None or found.job != job:
        raise JobNotFound("There is no job with this id.")
    return found
