"""Which runs are open and in which order they may run, and an index of all runs.

Empty blobs: all their information is in the name and the metadata, so that one listing answers for thousands.

    open/<0 interactive, 1 batch>/<created>_<caller>_<run>    a run, from its acceptance to its end
    open/batches/<batch>_<videos>_<caller>                    a batch, until its videos are jobs or refused
    open/callbacks/<run>                                      a callback, from the run's end until it is
                                                              delivered or given up
    index/<newest first>_<run>                                every run, with its state
    parked/open/...                                           an entry of open/ whose records cannot be read

The run's own records decide what is true. A step that dies after it wrote them, and before it changed the
entries here, leaves the run open; the next reader of the open runs closes it (close_run). Entries whose
records cannot be read do not hold up the others: park_entry.
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
"""A parked entry is tried again after this time: a later version may read its records, or an operator has
repaired them."""

_LAST_MS = 10**13 - 1
"""Counting down from here puts the newest first: 13 digits of milliseconds last until the year 2286."""
_ORDER: tuple[Priority, ...] = ("interactive", "batch")
_MOST_MESSAGE_CHARS = 500
_OPEN_RUN = re.compile(rf"{paths.OPEN}/[01]/([0-9]{{13}})_([^_/]+)_([^_/]+)")
_OPEN_BATCH = re.compile(rf"{paths.OPEN}/batches/([^_/]+)_([0-9]+)_([^_/]+)")
_INDEXED = re.compile(rf"{paths.INDEX}/([0-9]{{13}})_([^/]+)")


@dataclass(frozen=True)
class IndexEntry:
    """A run as the index describes it."""

    run: str
    job: str
    created: datetime
    state: State
    name: str | None
    code: str | None
    message: str | None


def add_run(store: BlobStore, stored: StoredRequest) -> None:
    """Enter an accepted run in the index, as queued, and in open/."""
    note_state(store, stored, State.QUEUED)
    reopen_run(store, stored)


def reopen_run(store: BlobStore, stored: StoredRequest) -> None:
    """Enter a run in open/ once more, maybe with another priority; if it has ended meanwhile, close it."""
    store.put(_open_path(stored, stored.priority), b"")
    if find_index_entry(store, stored.run, stored.created) is None:
        note_state(store, stored, State.QUEUED)
    if ended := records.Records(store, stored.run).find_end():
        close_run(store, stored, ended)


def note_state(store: BlobStore, stored: StoredRequest, state: State, error: ErrorBody | None = None) -> None:
    """Write the run's state into the index. A caller that notes a step's state must check afterwards whether
    the run has ended meanwhile."""
    texts = {"job": stored.job, "state": state.value, "name": stored.request.name}
    if error:
        texts |= {"code": error.code, "message": error.message[:_MOST_MESSAGE_CHARS]}
    # Metadata travels in headers: ASCII, at most 8 KiB in all.
    metadata = {name: quote(text, safe="") for name, text in texts.items() if text}
    store.put(_index_path(stored.run, stored.created), b"", metadata=metadata)


def close_run(store: BlobStore, stored: StoredRequest, end: EndRecord) -> None:
    """Note in the index how the run ended, then remove its entry from open/. May be repeated."""
    note_state(store, stored, end.state, end.error)
    _remove_open_entries(store, stored)


def _remove_open_entries(store: BlobStore, stored: StoredRequest) -> None:
    for priority in _ORDER:
        store.delete(_open_path(stored, priority))


def forget_run(store: BlobStore, stored: StoredRequest) -> None:
    """Remove a run from open/ and from the index, because its job has a later attempt."""
    _remove_open_entries(store, stored)
    store.delete(_index_path(stored.run, stored.created))


def open_runs(store: BlobStore, priority: Priority, page_size: int | None = 20) -> Iterator[str]:
    """Ids of the open runs of a priority, oldest first.

    page_size: runs per request to storage; small, since a caller usually needs the first few of a thousand.
    None: as many as storage gives (5000), for a caller that needs all.
    """
    return map(run_of, open_entries(store, priority, page_size))


def open_entries(store: BlobStore, priority: Priority, page_size: int | None = 20) -> Iterator[str]:
    """As open_runs, but the entries' paths, as park_entry takes them; run_of gives the run of each."""
    return store.list(f"{paths.OPEN}/{_ORDER.index(priority)}/", page_size)


def run_of(entry: str) -> str:
    """The run's id in the path of its entry in open/."""
    return entry.rpartition("_")[2]


def is_run_open(store: BlobStore, stored: StoredRequest) -> bool:
    """Whether the run or its callback has an entry in open/, parked or not."""
    entries = [_open_path(stored, priority) for priority in _ORDER]
    entries.append(paths.open_callback_path(stored.run))
    return any(store.exists(path) for path in (*entries, *map(paths.parked_path, entries)))


# ---------------------------------------------------------------- what cannot be read


def park_entry(store: BlobStore, entry: str, why: RecordUnreadable) -> None:
    """Move an entry of open/ whose records cannot be read to parked/, and log why: it then holds up no others
    for PARKED_FOR."""
    store.put(paths.parked_path(entry), why.message.encode(), "text/plain")
    store.delete(entry)
    log.error("parked %s: %s", entry, why.message)


def park_run(store: BlobStore, stored: StoredRequest, why: RecordUnreadable) -> None:
    for path in (_open_path(stored, priority) for priority in _ORDER):
        if store.exists(path):
            park_entry(store, path, why)


def park_batch(store: BlobStore, batch: str, why: RecordUnreadable) -> None:
    for path in store.list(paths.open_batch_folder(batch)):
        park_entry(store, path, why)


def unpark_entries(store: BlobStore, now: datetime) -> None:
    """Move entries that were parked more than PARKED_FOR ago back to open/. The next reader parks an entry
    again if its records still cannot be read."""
    for entry in store.entries(f"{paths.PARKED}/"):
        if entry.modified < now - PARKED_FOR:
            store.put(entry.path.removeprefix(f"{paths.PARKED}/"), b"")
            store.delete_unchanged([entry])  # unless another process parks it at this moment


# ---------------------------------------------------------------- batches


def open_batch(store: BlobStore, batch: Batch) -> None:
    store.put(_batch_path(batch), b"")


def close_batch(store: BlobStore, batch: Batch) -> None:
    store.delete(_batch_path(batch))


def open_batches(store: BlobStore) -> list[str]:
    """Ids of the batches that are not expanded yet."""
    folder = f"{paths.OPEN}/batches/"
    return [path.removeprefix(folder).partition("_")[0] for path in store.list(folder)]


def is_batch_open(store: BlobStore, batch: str) -> bool:
    """Whether the batch has an entry in open/, parked or not: it is not expanded yet, or cannot be read."""
    prefix = paths.open_batch_folder(batch)
    return any(
        True for folder in (prefix, paths.parked_path(prefix)) for _ in store.list(folder, page_size=1)
    )


@dataclass
class OpenCounts:
    """How much is open now."""

    jobs: int = 0
    """Open runs, and videos of batches that have not become jobs yet."""
    by_caller: Counter[str] = field(default_factory=Counter)
    """The same for each caller, by names.caller_mark."""
    oldest: datetime | None = None
    """When the oldest of the open runs was accepted; None where no run is open."""

    def add(self, caller: str, count: int) -> None:
        self.jobs += count
        self.by_caller[caller] += count


def count_open(store: BlobStore) -> OpenCounts:
    """Count what is open: one listing, and one more for each batch that is not expanded yet. A blob in open/
    with any other name is not counted."""
    counts, runs = OpenCounts(), set()
    for path in store.list(f"{paths.OPEN}/"):
        if match := _OPEN_BATCH.fullmatch(path):
            batch, total, caller = match.groups()
            blocks = sum(1 for _ in store.list(paths.batch_blocks_folder(batch)))
            counts.add(caller, max(0, int(total) - blocks * fan_out.BATCH_BLOCK))
        elif match := _OPEN_RUN.fullmatch(path):
            created, caller, run = match.groups()
            if run in runs:  # listed under both priorities: a batch's job that was also asked for alone
                continue
            runs.add(run)
            counts.add(caller, 1)
            accepted = datetime.fromtimestamp(int(created) / 1000, UTC)
            counts.oldest = min(counts.oldest or accepted, accepted)
    return counts


# ---------------------------------------------------------------- the index


def index_page(
    store: BlobStore, size: int, continuation: str | None = None
) -> tuple[list[IndexEntry], str | None]:
    """(at most `size` runs, newest first; the continuation of the next page, None at the end).

    Raises InvalidRequest for a continuation that storage did not give.
    """
    found, following = store.page(f"{paths.INDEX}/", size, continuation)
    entries = [_entry(path, metadata) for path, metadata in found]
    return [entry for entry in entries if entry], following


def index_entries(store: BlobStore) -> Iterator[IndexEntry]:
    """All runs, newest first, read page by page."""
    continuation = None
    while True:
        entries, continuation = index_page(store, 5000, continuation)
        yield from entries
        if continuation is None:
            return


def index_entries_since(store: BlobStore, earliest: datetime) -> Iterator[IndexEntry]:
    """Runs that were accepted at or after `earliest`, newest first."""
    return takewhile(lambda entry: entry.created >= earliest, index_entries(store))


def remove_index_entry(store: BlobStore, entry: IndexEntry) -> None:
    """Remove a run from the index, because its job has been removed."""
    store.delete(_index_path(entry.run, entry.created.isoformat()))


def find_index_entry(store: BlobStore, run: str, created: str) -> IndexEntry | None:
    """The run's entry, None where there is none. created: when the run was accepted, in ISO 8601."""
    path = _index_path(run, created)
    metadata = store.metadata(path)
    return None if metadata is None else _entry(path, metadata)


def _entry(path: str, metadata: dict[str, str]) -> IndexEntry | None:
    """None for a blob that no version of the service wrote."""
    match = _INDEXED.fullmatch(path)
    if match is None:
        return None
    stamp, run = match.groups()
    texts = {name: unquote(value) for name, value in metadata.items()}
    return IndexEntry(
        run=run,
        job=texts.get("job", run),
        created=datetime.fromtimestamp((_LAST_MS - int(stamp)) / 1000, UTC),
        state=_state(texts.get("state", State.QUEUED)),
        name=texts.get("name"),
        code=texts.get("code"),
        message=texts.get("message"),
    )


def _state(text: str) -> State:
    """The state in an index entry. A state that only a later version knows reads as SCORING: not ended."""
    return State(text) if text in list(State) else State.SCORING


def _ms(created: str) -> int:
    return round(datetime.fromisoformat(created).timestamp() * 1000)


def _open_path(stored: StoredRequest, priority: Priority) -> str:
    caller = names.caller_mark(stored.caller)
    return f"{paths.OPEN}/{_ORDER.index(priority)}/{_ms(stored.created):013d}_{caller}_{stored.run}"


def _batch_path(batch: Batch) -> str:
    return paths.open_batch_path(batch.id, len(batch.requests), batch.caller)


def _index_path(run: str, created: str) -> str:
    return f"{paths.INDEX}/{_LAST_MS - _ms(created):013d}_{run}"
