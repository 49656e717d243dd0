"""Query strings of a request's URLs (a SAS, say): kept apart from every record, deleted at the run's end."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from shared.contracts import (
    JobRequest,
    StoredRequest,
)
from shared.errors import (
    BadUrl,
)
from shared.storage import paths
from shared.storage.store import BlobStore


def find_secret(store: BlobStore, stored: StoredRequest) -> str:
    """The SAS of the source, empty where the request had none."""
    return (store.find(paths.secret_path(stored.run, stored.fingerprint)) or b"").decode()


@dataclass(frozen=True)
class Secrets:
    """What a request's URLs hold behind their question marks."""

    sas: str = ""
    callback: str = ""

    @classmethod
    def of(cls, request: JobRequest) -> Secrets:
        return cls(split_secret(request.video)[1], split_secret(request.callback or "")[1])

    def put_back(self, request: JobRequest) -> JobRequest:
        """The request as it came."""
        video = f"{request.video}?{self.sas}" if self.sas else request.video
        callback = f"{request.callback}?{self.callback}" if self.callback else request.callback
        return request.model_copy(update={"video": video, "callback": callback})

    def or_else(self, sas: str, callback: str) -> Secrets:
        return Secrets(self.sas or sas, self.callback or callback)


NO_SECRETS = Secrets()


def keep_secrets(store: BlobStore, stored: StoredRequest, secrets: Secrets) -> None:
    """Before the request itself is stored: once it is there, another caller may start the job."""
    if secrets.callback:
        keep_callback_secret(store, stored, secrets.callback)
    if not secrets.sas:
        return
    path = paths.secret_path(stored.run, stored.fingerprint)
    store.put(path, secrets.sas.encode(), "text/plain")
    if store.exists(paths.end_path(stored.run)):  # it ended meanwhile, and looked before we wrote
        store.delete(path)


def split_secret(url: str) -> tuple[str, str]:
    """(url without query and fragment, query). The query is the SAS. Raises BadUrl."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise BadUrl("The video URL cannot be parsed.") from None
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")), parts.query


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
    return paths.callback_secret_path(stored.run, stored.fingerprint)
