"""Which runs are open and in which order they may run, and an index of all runs (floor 3).

Empty blobs that are told by their names and metadata, so that one listing answers for thousands:

    open/<0 interactive, 1 batch>/<created>_<run>    from acceptance to the end
    index/<newest first>_<run>                       every run, with its state

What is true stands in the run's own records. A step that dies between the two leaves the run
open, and whoever looks through the open ones next puts it right (see settle).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote

from shared import names
from shared.contracts import EndRecord, ErrorBody, Priority, State, StoredRequest
from shared.storage import BlobStore

_LAST_MS = 10**13 - 1
"""Counting down from here puts the newest first: 13 digits of milliseconds last until the year 2286."""
_ORDER: tuple[Priority, ...] = ("interactive", "batch")
_MOST_TEXT = 500


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
    if ended := store.find(names.end_path(stored.run)):
        settle(store, stored, EndRecord.model_validate_json(ended))


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


def open_runs(store: BlobStore, priority: Priority) -> Iterator[str]:
    """Runs that are open, in the order in which they came."""
    for path in store.list(f"{names.OPEN}/{_ORDER.index(priority)}/"):
        yield path.rpartition("_")[2]


def page(store: BlobStore, size: int, continuation: str | None = None) -> tuple[list[Entry], str | None]:
    """(at most `size` runs, newest first; where to go on, None at the end).

    Raises InvalidRequest for a continuation that storage did not give.
    """
    found, following = store.page(f"{names.INDEX}/", size, continuation)
    return [_entry(path, metadata) for path, metadata in found], following


def since(store: BlobStore, earliest: datetime) -> Iterator[Entry]:
    """Runs that were accepted at or after `earliest`, newest first."""
    continuation = None
    while True:
        entries, continuation = page(store, 5000, continuation)
        for entry in entries:
            if entry.created < earliest:
                return
            yield entry
        if continuation is None:
            return


def find(store: BlobStore, run: str, created: str) -> Entry | None:
    path = _index_path(run, created)
    metadata = store.metadata(path)
    return None if metadata is None else _entry(path, metadata)


def _entry(path: str, metadata: dict[str, str]) -> Entry:
    stamp, _, run = path.removeprefix(f"{names.INDEX}/").partition("_")
    told = {name: unquote(value) for name, value in metadata.items()}
    return Entry(
        run=run,
        job=told.get("job", run),
        created=datetime.fromtimestamp((_LAST_MS - int(stamp)) / 1000, UTC),
        state=State(told.get("state", State.QUEUED)),
        name=told.get("name"),
        code=told.get("code"),
        message=told.get("message"),
    )


def _ms(created: str) -> int:
    return round(datetime.fromisoformat(created).timestamp() * 1000)


def _open_path(stored: StoredRequest, priority: Priority) -> str:
    return f"{names.OPEN}/{_ORDER.index(priority)}/{_ms(stored.created):013d}_{stored.run}"


def _index_path(run: str, created: str) -> str:
    return f"{names.INDEX}/{_LAST_MS - _ms(created):013d}_{run}"
