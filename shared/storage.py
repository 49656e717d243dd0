"""Blob storage: the service's own store and the caller's source (floor 3).

The only module of the core that knows Azure. Authentication and retries are the SDK's.
Its exceptions stop here: they may quote a URL with its signature, ours never do.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Self
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import requests
from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobClient, BlobServiceClient, ContainerClient, ContentSettings
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from shared.addresses import Guard, listed, origin_of, parse_endpoint
from shared.errors import (
    BadUrl,
    BlobAccessDenied,
    BlobNotFound,
    HostNotAllowed,
    InvalidRequest,
    MatchcutError,
    StorageUnavailable,
    VideoChanged,
)
from shared.outbound import guarded_session
from shared.ranges import RangeReader
from shared.settings import Settings

# A redirect could lead a credential, or the reader, to a host that is not on the allow-list.
# Waits of 2, 4, 8, 16 and 32 s: a minute, as by default, but the first one is not 15 s for a single 503.
_PATIENT: dict[str, Any] = {
    "permit_redirects": False,
    "connection_timeout": 20,
    "read_timeout": 60,
    **dict.fromkeys(("retry_total", "retry_connect", "retry_read", "retry_status"), 5),
    "initial_backoff": 0,
    "increment_base": 2,
    "random_jitter_range": 1,
}
_CONNECTIONS = 64
# For a caller who waits for an answer: at most about ten seconds.
_PROMPT: dict[str, Any] = {
    "permit_redirects": False,
    "connection_timeout": 2,
    "read_timeout": 4,
    "retry_total": 1,
    "initial_backoff": 1,
}


@dataclass(frozen=True)
class Traffic:
    """What this process has asked of storage so far."""

    transactions: int = 0
    bytes_written: int = 0


class _Counter:
    """Counts every request, those that are tried again too: each is paid for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.traffic = Traffic()

    def __call__(self, response: Any) -> None:
        """The SDK's raw_response_hook."""
        written = int(response.http_request.headers.get("Content-Length") or 0)
        with self._lock:
            now = self.traffic
            self.traffic = Traffic(now.transactions + 1, now.bytes_written + written)


_COUNTER = _Counter()


def traffic() -> Traffic:
    return _COUNTER.traffic


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn the SDK's exceptions into ours; `from None`, since theirs may quote the whole URL."""
    failure: MatchcutError
    try:
        yield
        return
    except ResourceNotFoundError:
        failure = BlobNotFound(f"{what} does not exist.")
    except ResourceModifiedError:
        failure = VideoChanged(f"{what} was replaced while it was being read.")
    except ClientAuthenticationError:
        failure = BlobAccessDenied(f"{what} may not be read with what the URL grants.")
    except DecodeError:  # whatever its status: what says more has not come
        failure = StorageUnavailable(f"Storage's answer for {what} broke off.")
    except HttpResponseError as error:
        status = error.status_code or 0
        code = getattr(error, "error_code", None)  # none where the body broke off three times
        if status in (401, 403) or code == "PublicAccessNotPermitted":
            failure = BlobAccessDenied(f"{what} may not be read with what the URL grants.")
        elif 300 <= status < 400:
            failure = HostNotAllowed(f"{what} redirects elsewhere, and redirects are not followed.")
        elif 400 <= status < 500 and status not in (408, 429):
            failure = BadUrl(f"Storage refused the request for {what} with status {status}.")
        else:
            failure = StorageUnavailable(f"Storage answered {status} for {what}.")
    except AzureError as error:
        failure = StorageUnavailable(f"Storage could not be reached for {what} ({type(error).__name__}).")
    raise failure from None


@contextmanager
def _translated_own(what: str) -> Iterator[None]:
    """For the service's own store: what it refuses is not the caller's fault."""
    try:
        with _translated(what):
            yield
    except (BadUrl, BlobAccessDenied, HostNotAllowed) as refused:
        raise StorageUnavailable(f"The service's own storage refused: {refused.message}") from None


# ---------------------------------------------------------------- the service's own store


@dataclass(frozen=True)
class BlobEntry:
    """A blob as a listing names it."""

    path: str
    etag: str
    length_bytes: int
    modified: datetime
    """When it was written last, by storage's clock, in whole seconds."""


REUSED = timedelta(hours=6)
"""A blob that was written no longer ago need not be touched when it is used again."""
_MOST_DELETED = 256


def _entry(properties: Any) -> BlobEntry:
    return BlobEntry(
        str(properties.name), str(properties.etag), int(properties.size), properties.last_modified
    )


class BlobStore:
    """The service's container: small documents by path. Writes are whole and atomic."""

    def __init__(self, service: BlobServiceClient, container: str) -> None:
        self._container: ContainerClient = service.get_container_client(container)

    @classmethod
    def from_settings(cls, settings: Settings, patient: bool = True) -> Self:
        """The store of these settings; makes the container where it is missing.

        Not `patient`: it gives up on storage within seconds, for callers that wait for an answer.
        """
        store = cls(_service(settings.storage, patient), settings.container)
        with _translated_own("the service's container"):
            if not store._container.exists():
                with suppress(ResourceExistsError):  # another process was faster
                    store._container.create_container()
        return store

    @classmethod
    def models(cls, settings: Settings, patient: bool = True) -> BlobStore | None:
        """The container with models of these settings; it is the operator's, and not made here."""
        if not settings.models_container:
            return None
        return cls(_service(settings.storage, patient), settings.models_container)

    def get(self, path: str, etag: str | None = None) -> bytes:
        """The blob's content; with an ETag, VideoChanged where it is another by now."""
        same: dict[str, Any] = {}
        if etag:
            same = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
        with _translated_own(path):
            return bytes(self._container.download_blob(path, **same).readall())

    def find(self, path: str) -> bytes | None:
        """The blob's content, or None where there is none."""
        try:
            return self.get(path)
        except BlobNotFound:
            return None

    def put(
        self,
        path: str,
        data: bytes,
        content_type: str = "application/json",
        metadata: dict[str, str] | None = None,
    ) -> None:
        """metadata: ASCII, told by `page` without reading the blob."""
        settings = ContentSettings(content_type=content_type)
        with _translated_own(path):
            self._container.upload_blob(
                path, data, overwrite=True, content_settings=settings, metadata=metadata
            )

    def put_new(self, path: str, data: bytes) -> bool:
        """Write unless it is there; True for the one caller of many that wrote it."""
        with _translated_own(path):
            try:
                self._container.upload_blob(
                    path,
                    data,
                    overwrite=False,
                    content_settings=ContentSettings(content_type="application/json"),
                )
            except ResourceExistsError:
                return False
        return True

    def exists(self, path: str) -> bool:
        with _translated_own(path):
            return self._container.get_blob_client(path).exists()

    def list(self, prefix: str) -> Iterator[str]:
        with _translated_own(prefix):
            yield from self._container.list_blob_names(name_starts_with=prefix)

    def page(
        self, prefix: str, size: int, continuation: str | None = None
    ) -> tuple[Sequence[tuple[str, dict[str, str]]], str | None]:
        """(path and metadata of at most `size` blobs (5000), by path; where to go on, None at the end).

        Raises InvalidRequest for a continuation that storage did not give.
        """
        pages: Any = self._container.list_blobs(
            name_starts_with=prefix, include=["metadata"], results_per_page=size
        ).by_page(continuation)
        try:
            with _translated(prefix):
                found = [(str(blob.name), dict(blob.metadata or {})) for blob in next(pages, ())]
        except BadUrl:
            raise InvalidRequest("This is no continuation that the service gave.") from None
        return found, pages.continuation_token or None

    def metadata(self, path: str) -> dict[str, str] | None:
        """What the blob's listing would tell; None where there is none."""
        try:
            with _translated_own(path):
                return dict(self._container.get_blob_client(path).get_blob_properties().metadata or {})
        except BlobNotFound:
            return None

    def entries(self, prefix: str = "") -> Iterator[BlobEntry]:
        """Every blob, by path, page by page. Raises BlobNotFound where there is no such container."""
        with _translated_own(f"the container {self._container.container_name}"):
            for blob in self._container.list_blobs(name_starts_with=prefix or None):
                yield _entry(blob)

    def entry(self, path: str) -> BlobEntry | None:
        """What the listing says of this blob; None where there is none."""
        try:
            with _translated_own(path):
                return _entry(self._container.get_blob_client(path).get_blob_properties())
        except BlobNotFound:
            return None

    def reuse(self, path: str) -> bool:
        """Whether it is there; if so, it counts as written within the last REUSED, and its ETag is another
        wherever that took writing: whoever was about to remove it as too old does not."""
        found = self.entry(path)
        if found is None:
            return False
        return found.modified >= self._now() - REUSED or self._touch(path)

    def _now(self) -> datetime:
        return datetime.now(UTC)

    def _touch(self, path: str) -> bool:
        try:
            with _translated_own(path):
                self._container.get_blob_client(path).set_blob_metadata({"reused": "1"})
        except BlobNotFound:  # removed between two looks
            return False
        return True

    def replace(self, path: str, data: bytes, etag: str) -> bool:
        """Write over the blob if it is still the one with this ETag; whether it was."""
        with _translated_own(path):
            try:
                self._container.upload_blob(
                    path, data, overwrite=True, etag=etag, match_condition=MatchConditions.IfNotModified
                )
            except (ResourceModifiedError, ResourceNotFoundError):
                return False
        return True

    def delete_unchanged(self, entries: Iterable[BlobEntry]) -> Sequence[BlobEntry]:
        """Remove those that are still as they were listed, 256 in a request; those that were removed."""
        removed, left = [], list(entries)
        for start in range(0, len(left), _MOST_DELETED):
            some = left[start : start + _MOST_DELETED]
            wanted: Any = [
                {"name": one.path, "etag": one.etag, "match_condition": MatchConditions.IfNotModified}
                for one in some
            ]
            with _translated_own("a removal"):
                answers: Any = self._container.delete_blobs(*wanted, raise_on_any_failure=False)
                statuses = [int(answer.status_code) for answer in answers]
            if strange := {status for status in statuses if status not in (202, 404, 412)}:
                raise StorageUnavailable(f"Storage answered {min(strange)} for a removal.")
            removed += [one for one, status in zip(some, statuses, strict=True) if status == 202]
        return removed

    def delete(self, path: str) -> None:
        """Remove it; not an error where it is gone already."""
        with suppress(BlobNotFound), _translated_own(path):
            self._container.delete_blob(path)


@lru_cache(maxsize=4)
def _service(storage: str, patient: bool = True) -> BlobServiceClient:
    options = {**(_PATIENT if patient else _PROMPT), "raw_response_hook": _COUNTER}
    options["transport"] = RequestsTransport(
        session=_session(),
        connection_timeout=options["connection_timeout"],
        read_timeout=options["read_timeout"],
    )
    if storage.startswith(("https://", "http://")):
        return BlobServiceClient(storage, credential=_identity(), **options)
    return BlobServiceClient.from_connection_string(storage, **options)


def _session() -> requests.Session:
    """As the SDK's own, but with a connection for each of the API's threads instead of ten in all, and
    without looking for a .netrc before every request: the SDK signs them itself."""
    session = requests.Session()
    session.auth = lambda request: request
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS, max_retries=Retry(total=False)))
    return session


@lru_cache(maxsize=1)
def _identity() -> Any:
    from azure.identity import DefaultAzureCredential  # slow to import, and seldom needed

    return DefaultAzureCredential()


# ---------------------------------------------------------------- the caller's source


@dataclass(frozen=True)
class Source:
    """A caller's blob: its address without the query, and the query, which is a secret."""

    url: str
    container: str
    blob: str
    own: bool
    """On the service's own account."""


def split_secret(url: str) -> tuple[str, str]:
    """(url without query and fragment, query). The query is the SAS. Raises BadUrl."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise BadUrl("The video URL cannot be parsed.") from None
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", "")), parts.query


def parse_source(url: str, settings: Settings) -> Source:
    """Check an address before anything is sent to it.

    Raises BadUrl where it is no blob URL, HostNotAllowed where its host is not on the list.
    """
    try:
        endpoint, parts = parse_endpoint(url)
    except ValueError as wrong:
        raise BadUrl(f"The video URL {wrong}.") from None
    account = _service(settings.storage).primary_endpoint
    own = endpoint == origin_of(account)
    if not own and not listed(endpoint, settings.source_hosts):
        raise HostNotAllowed(f"The host {endpoint.host} is not on the allow-list of sources.")

    path = unquote(parts.path)[1:]
    if "\\" in path or any(part in ("", ".", "..") for part in path.split("/")) or not path.isprintable():
        raise BadUrl("The video URL must name a container and a blob, without empty, . or .. parts.")
    prefix = ""
    account_path = urlsplit(account).path.strip("/")
    if own and account_path:  # the emulator carries the account in the path
        prefix = account_path + "/"
        if not path.startswith(prefix):
            raise BadUrl("The video URL does not name this account.")
    container, _, blob = path.removeprefix(prefix).partition("/")
    if not container or not blob:
        raise BadUrl("The video URL must name a container and a blob.")
    if own and container in (settings.container, settings.models_container):
        raise BadUrl("The video may not lie in a container of the service's own.")
    # Built from what was checked, never the caller's own text.
    checked = f"{endpoint.origin}/{prefix}{quote(container)}/{quote(blob)}"
    return Source(url=checked, container=container, blob=blob, own=own)


def open_source(
    source: Source, sas: str, settings: Settings, patient: bool = True, guard: Guard | None = None
) -> BlobClient:
    """A client for the source: with the URL's SAS, else the account's own key or identity.

    On another account than the service's own it connects only to addresses that the guard (that of
    the settings) allows; reading then raises HostNotAllowed. The own account's address is the
    operator's choice: it may be a private endpoint, or the emulator on this machine.
    """
    options: dict[str, Any] = {**(_PATIENT if patient else _PROMPT), "raw_response_hook": _COUNTER}
    if not source.own:
        options["transport"] = RequestsTransport(
            session=guarded_session(guard or Guard.of(settings)),
            connection_timeout=options["connection_timeout"],
            read_timeout=options["read_timeout"],
            connection_verify=str(settings.ca_bundle) if settings.ca_bundle else True,
        )
    if sas:
        return BlobClient.from_blob_url(f"{source.url}?{sas}", **options)
    if source.own:
        return _service(settings.storage, patient).get_blob_client(source.container, source.blob)
    credential = _identity() if settings.source_identity else None
    return BlobClient.from_blob_url(source.url, credential=credential, **options)


@dataclass(frozen=True)
class BlobFacts:
    etag: str
    length_bytes: int


def look_up(client: BlobClient) -> BlobFacts:
    """ETag and length. Raises BlobNotFound, BlobAccessDenied, StorageUnavailable."""
    with _translated("The video"):
        properties = client.get_blob_properties()
    return BlobFacts(etag=str(properties.etag).strip('"'), length_bytes=int(properties.size))


def read_ranges(client: BlobClient, facts: BlobFacts, header: dict[int, bytes] | None = None) -> RangeReader:
    """The blob as a seekable file, at the version that `facts` names; `header`: see RangeReader.

    Reads raise VideoChanged once the blob was replaced, BlobAccessDenied once the SAS expired.
    """

    def fetch(offset: int, length: int) -> bytes:
        # Bounded ranges: the emulator leaks a file descriptor for each open one that is dropped.
        with _translated("The video"):
            return client.download_blob(
                offset=offset,
                length=length,
                etag=f'"{facts.etag}"',
                match_condition=MatchConditions.IfNotModified,
            ).readall()

    return RangeReader(fetch, facts.length_bytes, header)
