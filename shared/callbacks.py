"""A job's callback in the store: its secret, and what became of it (floor 4)."""

from __future__ import annotations

from shared import names, records
from shared.contracts import CallbackRecord, CallbackState, CallbackStatus, StoredRequest
from shared.storage import BlobStore


def keep_callback_secret(store: BlobStore, stored: StoredRequest, query: str) -> None:
    """Put the URL's query where nothing is served from; before the request itself is stored."""
    if query:
        store.put(_secret_path(stored), query.encode(), "text/plain")


def find_callback_secret(store: BlobStore, stored: StoredRequest) -> str:
    """The query, empty where the URL had none or the callback is over."""
    return (store.find(_secret_path(stored)) or b"").decode()


def forget_callback_secret(store: BlobStore, stored: StoredRequest) -> None:
    store.delete(_secret_path(stored))


def _secret_path(stored: StoredRequest) -> str:
    return names.callback_secret_path(stored.run, stored.fingerprint)


def open_callbacks(store: BlobStore) -> list[str]:
    """Runs that have ended and whose callback is still owed."""
    return [path.rpartition("/")[2] for path in store.list(names.open_callback_path(""))]


def find_record(store: BlobStore, run: str) -> CallbackRecord | None:
    return records.find(store, CallbackRecord, names.callback_path(run))


def describe_callback(store: BlobStore, stored: StoredRequest) -> CallbackStatus | None:
    """For the job's status; None where the request asked for no callback."""
    if stored.request.callback is None:
        return None
    if record := find_record(store, stored.run):
        return record.shown
    return CallbackStatus(url=stored.request.callback, state=CallbackState.PENDING)
