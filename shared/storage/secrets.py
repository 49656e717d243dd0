"""Query strings of a request's URLs (for example a SAS): stored apart from every record, never served.

The service removes the source's when the run ends, and the callback's when it is delivered or given up.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit, urlunsplit

from shared.contracts import Batch, JobRequest, StoredRequest
from shared.errors import BadUrl, RecordUnreadable
from shared.storage import paths
from shared.storage.store import BlobStore


@dataclass(frozen=True)
class Secrets:
    """The query strings of a request's URLs, without their question marks; empty where a URL has none."""

    sas: str = ""
    callback: str = ""

    @classmethod
    def of(cls, request: JobRequest) -> Secrets:
        return cls(split_secret(request.video)[1], split_secret(request.callback or "")[1])

    def put_back(self, request: JobRequest) -> JobRequest:
        """The request with its query strings, as the caller sent it."""
        video = f"{request.video}?{self.sas}" if self.sas else request.video
        callback = f"{request.callback}?{self.callback}" if self.callback else request.callback
        return request.model_copy(update={"video": video, "callback": callback})

    def or_else(self, older: Secrets) -> Secrets:
        """These secrets, each filled in from `older` where it is empty."""
        return Secrets(self.sas or older.sas, self.callback or older.callback)


def split_secret(url: str) -> tuple[str, str]:
    """(url without query and fragment, query). The query is the SAS. Raises BadUrl."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise BadUrl("The video URL cannot be parsed.") from None
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")), parts.query


# ---------------------------------------------------------------- of a run


def keep_secrets(store: BlobStore, stored: StoredRequest, secrets: Secrets) -> None:
    """Store a run's secrets. Call it before the request is stored: from then on another caller may start the
    job."""
    if secrets.callback:
        store.put(_callback_path(stored), secrets.callback.encode(), "text/plain")
    if not secrets.sas:
        return
    store.put(_sas_path(stored), secrets.sas.encode(), "text/plain")
    if store.exists(paths.end_path(stored.run)):  # the run ended, and removed its SAS, before this write
        store.delete(_sas_path(stored))


def find_secrets(store: BlobStore, stored: StoredRequest) -> Secrets:
    return Secrets(find_sas(store, stored), find_callback_query(store, stored))


def find_sas(store: BlobStore, stored: StoredRequest) -> str:
    """The query of the video's URL, empty where it had none or the run has ended."""
    return (store.find(_sas_path(stored)) or b"").decode()


def find_callback_query(store: BlobStore, stored: StoredRequest) -> str:
    """The query of the callback's URL; empty where it had none, or the callback was delivered or given up."""
    return (store.find(_callback_path(stored)) or b"").decode()


def forget_secrets(store: BlobStore, stored: StoredRequest) -> None:
    forget_sas(store, stored)
    forget_callback_query(store, stored)


def forget_sas(store: BlobStore, stored: StoredRequest) -> None:
    store.delete(_sas_path(stored))


def forget_callback_query(store: BlobStore, stored: StoredRequest) -> None:
    store.delete(_callback_path(stored))


def _sas_path(stored: StoredRequest) -> str:
    return paths.secret_path(stored.run, stored.fingerprint)


def _callback_path(stored: StoredRequest) -> str:
    return paths.callback_secret_path(stored.run, stored.fingerprint)


# ---------------------------------------------------------------- of a batch


def keep_batch_secrets(store: BlobStore, batch: Batch, secrets: Sequence[Secrets]) -> None:
    """Store a batch's secrets: one for each request, in order. Call it before the batch is stored."""
    if any(pair != Secrets() for pair in secrets):
        content = json.dumps([asdict(pair) for pair in secrets]).encode()
        store.put(_batch_path(batch), content)


def find_batch_secrets(store: BlobStore, batch: Batch) -> list[Secrets] | None:
    """One for each request, in order; None where no URL had any. Raises RecordUnreadable."""
    kept = store.find(_batch_path(batch))
    try:
        return [Secrets(pair["sas"], pair["callback"]) for pair in json.loads(kept)] if kept else None
    except (ValueError, TypeError, KeyError):  # their messages may quote a secret
        pass
    raise RecordUnreadable(f"The record {_batch_path(batch)} cannot be read.")


def forget_batch_secrets(store: BlobStore, batch: Batch) -> None:
    store.delete(_batch_path(batch))


def _batch_path(batch: Batch) -> str:
    return paths.batch_secret_path(batch.id, batch.fingerprint)
