"""Which runs are open and in which order they may run, and an index of all runs.

Empty blobs that are told by their names and metadata, so that one listing answers for thousands:

    open/<0 interactive, 1 batch>/<created>_<caller>_<run>    from acceptance to the end
    open/batches/<batch>_<videos>_<caller>                    until all are jobs, or refused
    open/callbacks/<run>                                      from the end until it is told or given up
    index/<newest first>_<run>                                every run, with its state
    parked/open/...                                           what would stand in open/, but cannot be read

What is true stands in the run's own records. A step that dies between the two leaves the run
open, and whoever looks through the open ones next puts it right (see settle). Records that cannot be read
stand in nobody's way: see park.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from urllib.parse import quote, unquote

from shared import fan_out, names
from shared.contracts import Batch, EndRecord, ErrorBody, Priority, State, StoredRequest
from shared.errors import RecordUnreadable
from shared.storage import paths, records
from shared.storage.store import BlobStore

log = logging.getLogger("matchcut")
PARKED_FOR = timedelta(hours=1)
"""Then what is parked is looked at again: a later version may read it, or somebody has mended it."""

_LAST_MS = 10**13 - 1
"""Counting down from here puts the newest first: 13 digits of milliseconds last until the year 2286."""
_ORDER: tuple[Priority, ...] = ("interactive", "batch")
_MOST_TEXT = 500
_OPEN_RUN = re.compile(rf"{paths.OPEN}/[01]/([0-9]{{13}})_([^_/]+)_([^_/]+)")
_OPEN_BATCH = re.compile(rf"{paths.OPEN}/batches/([^_/]+)_([0-9]+)_([^_/]+)")
_INDEXED = re.compile(rf"{paths.INDEX}/([0-9]{{13}})_([^/]+)")


@dataclass(frozen=True)
class Entry:
    """A run as the index knows it."""

    run: str
    job: str
    created: datetime
    state: State
    name: str | None
    code: str | None
    message: str | None


def enter(store: BlobStore, stored: StoredRequest) -> None:
    """A run was accepted."""
    tell(store, stored, State.QUEUED)
    reopen(store, stored)


def reopen(store: BlobStore, stored: StoredRequest) -> None:
    """A run is asked for again, maybe with another priority: it is open, unless it has ended meanwhile."""
    store.put(_open_path(stored, stored.priority), b"")
    if find(store, stored.run, stored.created) is None:
        tell(store, stored, State.QUEUED)
    if ended := records.Records(store, stored.run).find_end():
        settle(store, stored, ended)


def tell(store: BlobStore, stored: StoredRequest, state: State, error: ErrorBody | None = None) -> None:
    """Note the state. A step that tells of one looks afterwards whether the run has ended meanwhile."""
    told = {"job": stored.job, "state": state.value, "name": stored.request.name}
    if error:
        told |= {"code": error.code, "message": error.message[:_MOST_TEXT]}
    # Metadata travels in headers: ASCII, and 8 KiB of it.
    metadata = {name: quote(value, safe="") for name, value in told.items() if value}
    store.put(_index_path(stored.run, stored.created), b"", metadata=metadata)


def settle(store: BlobStore, stored: StoredRequest, end: EndRecord) -> None:
    """The run has ended: the index says how, and then it is no longer open. May be repeated."""
    tell(store, stored, end.state, end.error)
    leave(store, stored)


def leave(store: BlobStore, stored: StoredRequest) -> None:
    for priority in _ORDER:
        store.delete(_open_path(stored, priority))


def forget(store: BlobStore, stored: StoredRequest) -> None:
    """The run is no longer its job's last: it leaves the index."""
    leave(store, stored)
    store.delete(_index_path(stored.run, stored.created))


def open_runs(store: BlobStore, priority: Priority, at_a_time: int | None = 20) -> Iterator[str]:
    """Runs that are open, in the order in which they came. Of a thousand the first few are asked for,
    as a rule; None: all."""
    return map(run_of, open_entries(store, priority, at_a_time))


def open_entries(store: BlobStore, priority: Priority, at_a_time: int | None = 20) -> Iterator[str]:
    """The same as paths, as `park` takes them; run_of says whose."""
    return store.list(f"{paths.OPEN}/{_ORDER.index(priority)}/", at_a_time)


def run_of(entry: str) -> str:
    return entry.rpartition("_")[2]


def is_open(store: BlobStore, stored: StoredRequest) -> bool:
    """Whether the run, or its callback, is still owed to somebody."""
    entries = [_open_path(stored, priority) for priority in _ORDER]
    entries.append(paths.open_callback_path(stored.run))
    return any(store.exists(path) for path in (*entries, *map(paths.parked_path, entries)))


# ---------------------------------------------------------------- what cannot be read


def park(store: BlobStore, entry: str, why: RecordUnreadable) -> None:
    """What an entry of open/ leads to cannot be read: it goes out of the way of the others, for a while."""
    store.put(paths.parked_path(entry), why.message.encode(), "text/plain")
    store.delete(entry)
    log.error("parked %s: %s", entry, why.message)


def park_run(store: BlobStore, stored: StoredRequest, why: RecordUnreadable) -> None:
    for path in (_open_path(stored, priority) for priority in _ORDER):
        if store.exists(path):
            park(store, path, why)


def park_batch(store: BlobStore, batch: str, why: RecordUnreadable) -> None:
    for path in store.list(paths.open_batch_folder(batch)):
        park(store, path, why)


def unpark(store: BlobStore, now: datetime) -> None:
    """What was parked PARKED_FOR ago is open again. If it still cannot be read, it is parked anew."""
    for entry in store.entries(f"{paths.PARKED}/"):
        if entry.modified < now - PARKED_FOR:
            store.put(entry.path.removeprefix(f"{paths.PARKED}/"), b"")
            store.delete_unchanged([entry])  # unless somebody parks it at this moment


# ---------------------------------------------------------------- batches


def open_batch(store: BlobStore, batch: Batch) -> None:
    store.put(_batch_path(batch), b"")


def close_batch(store: BlobStore, batch: Batch) -> None:
    store.delete(_batch_path(batch))


def open_batches(store: BlobStore) -> list[str]:
    """Batches that are not expanded yet."""
    folder = f"{paths.OPEN}/batches/"
    return [path.removeprefix(folder).partition("_")[0] for path in store.list(folder)]


def is_batch_open(store: BlobStore, batch: str) -> bool:
    """Whether it is not expanded yet, or cannot be read."""
    folder = paths.open_batch_folder(batch)
    return any(True for where in (folder, paths.parked_path(folder)) for _ in store.list(where, 1))


@dataclass
class Load:
    """What is open now."""

    jobs: int = 0
    """And videos of batches that are not jobs yet."""
    by_caller: Counter[str] = field(default_factory=Counter)
    """By names.caller_mark."""
    oldest: datetime | None = None
    """When the first of the open runs was accepted."""

    def add(self, caller: str, count: int) -> None:
        self.jobs += count
        self.by_caller[caller] += count


def load(store: BlobStore) -> Load:
    """One listing, and one more for each batch that is not expanded yet. What has another's name is passed
    over."""
    found, runs = Load(), set()
    for path in store.list(f"{paths.OPEN}/"):
        if told := _OPEN_BATCH.fullmatch(path):
            batch, total, caller = told.groups()
            blocks = sum(1 for _ in store.list(paths.batch_block_path(batch, None)))
            found.add(caller, max(0, int(total) - blocks * fan_out.BATCH_BLOCK))
        elif told := _OPEN_RUN.fullmatch(path):
            created, caller, run = told.groups()
            if run in runs:  # of a batch, and then somebody waits for it too
                continue
            runs.add(run)
            found.add(caller, 1)
            began = datetime.fromtimestamp(int(created) / 1000, UTC)
            found.oldest = min(found.oldest or began, began)
    return found


def page(store: BlobStore, size: int, continuation: str | None = None) -> tuple[list[Entry], str | None]:
    """(at most `size` runs, newest first; where to go on, None at the end).

    Raises InvalidRequest for a continuation that storage did not give.
    """
    found, following = store.page(f"{paths.INDEX}/", size, continuation)
    entries = [_entry(path, metadata) for path, metadata in found]
    return [entry for entry in entries if entry], following


def every(store: BlobStore) -> Iterator[Entry]:
    """All runs, newest first, page by page."""
    continuation = None
    while True:
        entries, continuation = page(store, 5000, continuation)
        yield from entries
        if continuation is None:
            return


def since(store: BlobStore, earliest: datetime) -> Iterator[Entry]:
    """Runs that were accepted at or after `earliest`, newest first."""
    return takewhile(lambda entry: entry.created >= earliest, every(store))


def drop(store: BlobStore, entry: Entry) -> None:
    """The run's job is gone."""
    store.delete(_index_path(entry.run, entry.created.isoformat()))


def find(store: BlobStore, run: str, created: str) -> Entry | None:
    path = _index_path(run, created)
    metadata = store.metadata(path)
    return None if metadata is None else _entry(path, metadata)


def _entry(path: str, metadata: dict[str, str]) -> Entry | None:
    """None for what no version put there."""
    found = _INDEXED.fullmatch(path)
    if found is None:
        return None
    stamp, run = found.groups()
    told = {name: unquote(value) for name, value in metadata.items()}
    return Entry(
        run=run,
        job=told.get("job", run),
        created=datetime.fromtimestamp((_LAST_MS - int(stamp)) / 1000, UTC),
        state=_state(told.get("state", State.QUEUED)),
        name=told.get("name"),
        code=told.get("code"),
        message=told.get("message"),
    )


def _state(told: str) -> State:
    """One that only a later version knows is told as that of a run that goes on."""
    return State(told) if told in list(State) else State.SCORING


def _ms(created: str) -> int:
    return round(datetime.fromisoformat(created).timestamp() * 1000)


def _open_path(stored: StoredRequest, priority: Priority) -> str:
    caller = names.caller_mark(stored.caller)
    return f"{paths.OPEN}/{_ORDER.index(priority)}/{_ms(stored.created):013d}_{caller}_{stored.run}"


def _batch_path(batch: Batch) -> str:
    return paths.open_batch_path(batch.id, len(batch.requests), batch.caller)


def _index_path(run: str, created: str) -> str:
    return f"{paths.INDEX}/{_LAST_MS - _ms(created):013d}_{run}"
