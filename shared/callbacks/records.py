"""A job's callback in the store: its secret, and what became of it."""

from __future__ import annotations

from shared.contracts import CallbackRecord, CallbackState, CallbackStatus, StoredRequest
from shared.storage import BlobStore, paths, records


def open_callbacks(store: BlobStore) -> list[str]:
    """Runs that have ended and whose callback is still owed."""
    return [path.rpartition("/")[2] for path in store.list(paths.open_callback_path(""))]


def find_record(store: BlobStore, run: str) -> CallbackRecord | None:
    return records.find(store, CallbackRecord, paths.callback_path(run))


def describe_callback(store: BlobStore, stored: StoredRequest) -> CallbackStatus | None:
    """For the job's status; None where the request asked for no callback."""
    if stored.request.callback is None:
        return None
    if record := find_record(store, stored.run):
        return record.shown
    return CallbackStatus(url=stored.request.callback, state=CallbackState.PENDING)
