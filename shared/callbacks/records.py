"""The records of callbacks in the service's container."""

from __future__ import annotations

from shared.contracts import CallbackRecord, CallbackState, CallbackStatus, StoredRequest
from shared.storage import BlobStore, paths, records


def open_callbacks(store: BlobStore) -> list[str]:
    """Ids of the runs that have ended and whose callback is neither delivered nor given up."""
    return [path.rpartition("/")[2] for path in store.list(paths.open_callback_path(""))]


def find_callback_record(store: BlobStore, run: str) -> CallbackRecord | None:
    """The record of the run's callback; None where it has none yet. Raises RecordUnreadable."""
    return records.find(store, CallbackRecord, paths.callback_path(run))


def describe_callback(store: BlobStore, stored: StoredRequest) -> CallbackStatus | None:
    """The callback's state as the job's status shows it; None where the request asked for no callback."""
    if stored.request.callback is None:
        return None
    if record := find_callback_record(store, stored.run):
        return record.shown
    return CallbackStatus(url=stored.request.callback, state=CallbackState.PENDING)
