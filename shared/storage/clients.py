"""Clients of blob storage, what becomes of their failures, and what they are asked.

Authentication and retries are the SDK's. Its exceptions stop here: they may quote a URL with its signature,
ours never do.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import requests
from azure.core.credentials import AccessToken, TokenCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import BlobClient, BlobServiceClient

from shared.errors import (
    BadUrl,
    BlobAccessDenied,
    BlobNotFound,
    HostNotAllowed,
    MatchcutError,
    StorageUnavailable,
    VideoChanged,
)
from shared.network import WatchedAdapter, deadlines

# A redirect could lead a credential, or the reader, to a host that is not on the allow-list.
# Waits of 2, 4, 8, 16 and 32 s: a minute, as by default, but the first one is not 15 s for a single 503.
PATIENT: dict[str, Any] = {
    "permit_redirects": False,
    "connection_timeout": 20,
    "read_timeout": 60,
    **dict.fromkeys(("retry_total", "retry_connect", "retry_read", "retry_status"), 5),
    "initial_backoff": 0,
    "increment_base": 2,
    "random_jitter_range": 1,
}
BLOB_HOSTS = (
    "*.blob.core.windows.net",
    "*.blob.core.usgovcloudapi.net",
    "*.blob.core.chinacloudapi.cn",
    "*.blob.storage.azure.net",  # accounts with a DNS zone of their own
)
"""Names that are Azure Storage's alone, written like settings.source_hosts."""
_SCOPE = "https://storage.azure.com/.default"
_CONNECTIONS = 96
# For a caller who waits for an answer: at most about ten seconds.
PROMPT: dict[str, Any] = {
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


COUNTER = _Counter()


def traffic() -> Traffic:
    return COUNTER.traffic


@contextmanager
def translated(what: str) -> Iterator[None]:
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
def translated_own(what: str) -> Iterator[None]:
    """For the service's own store: what it refuses is not the caller's fault."""
    try:
        with translated(what):
            yield
    except (BadUrl, BlobAccessDenied, HostNotAllowed) as refused:
        raise StorageUnavailable(f"The service's own storage refused: {refused.message}") from None


@lru_cache(maxsize=4)
def service_of(storage: str, patient: bool = True) -> BlobServiceClient:
    options = {**(PATIENT if patient else PROMPT), "raw_response_hook": COUNTER}
    options["transport"] = transport(own_session(), options)
    if storage.startswith(("https://", "http://")):
        return BlobServiceClient(storage, credential=identity(), **options)
    return BlobServiceClient.from_connection_string(storage, **options)


def own_blob(storage: str, container: str, blob: str, options: dict[str, Any]) -> BlobClient:
    """A client that keeps to deadlines in its waits too; those of service_of have the SDK's own waits."""
    if storage.startswith(("https://", "http://")):
        return BlobClient(storage, container, blob, credential=identity(), **options)
    return BlobClient.from_connection_string(storage, container, blob, **options)


class _Transport(RequestsTransport):  # type: ignore[misc]  # azure.core is Any to mypy
    """Its waits between two attempts end with the deadline of the thread that waits."""

    def sleep(self, duration: float) -> None:
        deadlines.rest(duration)


def transport(session: requests.Session, options: dict[str, Any], verify: bool | str = True) -> Any:
    """options: PATIENT or PROMPT. verify: a path names the authorities instead of the public ones."""
    return _Transport(
        session=session,
        connection_timeout=options["connection_timeout"],
        read_timeout=options["read_timeout"],
        connection_verify=verify,
    )


@lru_cache(maxsize=1)
def own_session() -> requests.Session:
    """As the SDK's own, but with a connection for each of the API's threads instead of ten in all, and
    without looking for a .netrc before every request: the SDK signs them itself."""
    session = requests.Session()
    session.auth = lambda request: request
    for scheme in ("http://", "https://"):
        session.mount(scheme, WatchedAdapter(None, _CONNECTIONS))
    return session


class StorageTokens:
    """A credential that gives tokens for storage, of its own tenant, and none else.

    The SDK answers a 401 by asking its credential for the resource and the tenant that the 401 names. Whoever
    sends it must not choose those.
    """

    def __init__(self, credential: TokenCredential) -> None:
        self._credential = credential

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Raises BlobAccessDenied where it is asked for anything but a plain token for storage."""
        if scopes != (_SCOPE,) or any(options.values()):
            # No AzureError, after which the SDK would try again.
            raise BlobAccessDenied("The token for storage was refused, and the host is given no other.")
        return self._credential.get_token(_SCOPE)


@lru_cache(maxsize=1)
def identity() -> StorageTokens:
    from azure.identity import DefaultAzureCredential  # slow to import, and seldom needed

    return StorageTokens(DefaultAzureCredential())
