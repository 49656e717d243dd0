"""Blob storage: the service's own store and the caller's source (floor 3).

The only module of the core that knows Azure. Authentication and retries are the SDK's.
Its exceptions stop here: they may quote a URL with its signature, ours never do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobClient, BlobServiceClient, ContainerClient, ContentSettings

from shared.errors import (
    BadUrl,
    BlobAccessDenied,
    BlobNotFound,
    HostNotAllowed,
    MatchcutError,
    StorageUnavailable,
    VideoChanged,
)
from shared.ranges import RangeReader
from shared.settings import Settings

# A redirect could lead a credential, or the reader, to a host that is not on the allow-list.
_CLIENT_OPTIONS: dict[str, Any] = {"permit_redirects": False, "connection_timeout": 20, "read_timeout": 60}
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


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
    except HttpResponseError as error:
        status = error.status_code or 0
        if status in (401, 403) or error.error_code == "PublicAccessNotPermitted":  # type: ignore[attr-defined]
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


# ---------------------------------------------------------------- the service's own store


class BlobStore:
    """The service's container: small documents by path. Writes are whole and atomic."""

    def __init__(self, service: BlobServiceClient, container: str) -> None:
        self._container: ContainerClient = service.get_container_client(container)

    @classmethod
    def from_settings(cls, settings: Settings) -> BlobStore:
        """The store of these settings; makes the container where it is missing."""
        store = cls(_service(settings.storage), settings.container)
        with _translated("the service's container"):
            if not store._container.exists():
                with suppress(ResourceExistsError):  # another process was faster
                    store._container.create_container()
        return store

    def get(self, path: str) -> bytes:
        with _translated(path):
            return self._container.download_blob(path).readall()

    def find(self, path: str) -> bytes | None:
        """The blob's content, or None where there is none."""
        try:
            return self.get(path)
        except BlobNotFound:
            return None

    def put(self, path: str, data: bytes, content_type: str = "application/json") -> None:
        with _translated(path):
            self._container.upload_blob(
                path, data, overwrite=True, content_settings=ContentSettings(content_type=content_type)
            )

    def put_new(self, path: str, data: bytes) -> bool:
        """Write unless it is there; True for the one caller of many that wrote it."""
        with _translated(path):
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
        with _translated(path):
            return self._container.get_blob_client(path).exists()

    def list(self, prefix: str) -> Iterator[str]:
        with _translated(prefix):
            yield from self._container.list_blob_names(name_starts_with=prefix)

    def delete(self, path: str) -> None:
        """Remove it; not an error where it is gone already."""
        with suppress(BlobNotFound), _translated(path):
            self._container.delete_blob(path)


@lru_cache(maxsize=4)
def _service(storage: str) -> BlobServiceClient:
    if storage.startswith(("https://", "http://")):
        return BlobServiceClient(storage, credential=_identity(), **_CLIENT_OPTIONS)
    return BlobServiceClient.from_connection_string(storage, **_CLIENT_OPTIONS)


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
    bare, _ = split_secret(url)
    try:
        parts = urlsplit(bare)
        host = parts.hostname or ""
        port = parts.port
    except ValueError:
        raise BadUrl("The video URL cannot be parsed.") from None
    if parts.username or parts.password or not host:
        raise BadUrl("The video URL must name a host, and no user.")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK):
        raise BadUrl("The video URL must begin with https:// (http only for this machine).")

    account = urlsplit(_service(settings.storage).primary_endpoint)
    own = (host, port) == (account.hostname, account.port)
    if not own and not any(_matches(host, port, pattern) for pattern in settings.source_hosts):
        raise HostNotAllowed(f"The host {host} is not on the allow-list of sources.")

    path = unquote(parts.path).lstrip("/")
    account_path = account.path.strip("/")
    if own and account_path:  # the emulator carries the account in the path
        if not path.startswith(account_path + "/"):
            raise BadUrl("The video URL does not name this account.")
        path = path[len(account_path) + 1 :]
    container, _, blob = path.partition("/")
    if not container or not blob:
        raise BadUrl("The video URL must name a container and a blob.")
    if own and container == settings.container:
        raise BadUrl("The video may not lie in the service's own container.")
    return Source(url=bare, container=container, blob=blob, own=own)


def _matches(host: str, port: int | None, pattern: str) -> bool:
    """`*.example.net` matches every host below example.net; `host:port` asks for that port too."""
    name, _, wanted_port = pattern.partition(":")
    if wanted_port and wanted_port != str(port):
        return False
    if name.startswith("*."):
        return host.endswith(name[1:].lower())
    return host == name.lower()


def open_source(source: Source, sas: str, settings: Settings) -> BlobClient:
    """A client for the source: with the URL's SAS, else the account's own key or identity."""
    if sas:
        return BlobClient.from_blob_url(f"{source.url}?{sas}", **_CLIENT_OPTIONS)
    if source.own:
        return _service(settings.storage).get_blob_client(source.container, source.blob)
    credential = _identity() if settings.source_identity else None
    return BlobClient.from_blob_url(source.url, credential=credential, **_CLIENT_OPTIONS)


@dataclass(frozen=True)
class BlobFacts:
    etag: str
    length_bytes: int


def look_up(client: BlobClient) -> BlobFacts:
    """ETag and length. Raises BlobNotFound, BlobAccessDenied, StorageUnavailable."""
    with _translated("The video"):
        properties = client.get_blob_properties()
    return BlobFacts(etag=str(properties.etag).strip('"'), length_bytes=int(properties.size))


def read_ranges(client: BlobClient, facts: BlobFacts) -> RangeReader:
    """The blob as a seekable file, at the version that `facts` names.

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

    return RangeReader(fetch, facts.length_bytes)
