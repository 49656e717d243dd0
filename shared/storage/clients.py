"""Clients of blob storage: their retries and credentials, the translation of their failures, their traffic.

The SDK authenticates and retries. Its exceptions stop here, since they may quote a URL with its signature;
the service's own never do.
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
# For background work: waits of 2, 4, 8, 16 and 32 s between attempts. The SDK's default also waits a minute
# in all, but begins with 15 s after a single 503.
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
"""Host names that only Azure Storage can have, in the notation of settings.source_hosts."""
_SCOPE = "https://storage.azure.com/.default"
_CONNECTIONS = 96
# For a request whose caller waits: it fails after about ten seconds at most.
PROMPT: dict[str, Any] = {
    "permit_redirects": False,
    "connection_timeout": 2,
    "read_timeout": 4,
    "retry_total": 1,
    "initial_backoff": 1,
}


@dataclass(frozen=True)
class Traffic:
    """Requests that this process has sent to storage so far, and bytes in their bodies."""

    transactions: int = 0
    bytes_written: int = 0


class _Counter:
    """Counts every request, including retries: the operator pays for each."""

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
    """Raise the SDK's exceptions as the service's own: BlobNotFound, VideoChanged, BlobAccessDenied,
    HostNotAllowed, BadUrl, StorageUnavailable. `what` begins their messages.

    Raised `from None`, since the SDK's exceptions may quote the whole URL.
    """
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
    except DecodeError:  # whatever its status: the body that would explain it did not arrive
        failure = StorageUnavailable(f"Storage's answer for {what} broke off.")
    except HttpResponseError as error:
        status = error.status_code or 0
        code = getattr(error, "error_code", None)  # absent where the body broke off three times
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
    """As `translated`, for the service's own storage, whose refusals are not the caller's fault: they raise
    StorageUnavailable."""
    try:
        with translated(what):
            yield
    except (BadUrl, BlobAccessDenied, HostNotAllowed) as refused:
        raise StorageUnavailable(f"The service's own storage refused: {refused.message}") from None


@lru_cache(maxsize=4)
def service_of(storage: str, patient: bool = True) -> BlobServiceClient:
    """A client of the account in settings.storage. patient: PATIENT, else PROMPT."""
    options = {**(PATIENT if patient else PROMPT), "raw_response_hook": COUNTER}
    options["transport"] = transport(own_session(), options)
    if storage.startswith(("https://", "http://")):
        return BlobServiceClient(storage, credential=identity(), **options)
    return BlobServiceClient.from_connection_string(storage, **options)


def own_blob(storage: str, container: str, blob: str, options: dict[str, Any]) -> BlobClient:
    """A client of one blob on the account in settings.storage. Its waits between attempts end with the
    thread's deadline too; those of service_of do not."""
    if storage.startswith(("https://", "http://")):
        return BlobClient(storage, container, blob, credential=identity(), **options)
    return BlobClient.from_connection_string(storage, container, blob, **options)


class _Transport(RequestsTransport):  # type: ignore[misc]  # azure.core is Any to mypy
    """A transport whose waits between attempts end with the deadline of the waiting thread."""

    def sleep(self, duration: float) -> None:
        deadlines.rest(duration)


def transport(session: requests.Session, options: dict[str, Any], verify: bool | str = True) -> Any:
    """A transport over a session. options: PATIENT or PROMPT. verify: True for the public authorities, or
    the path of a PEM file of others."""
    return _Transport(
        session=session,
        connection_timeout=options["connection_timeout"],
        read_timeout=options["read_timeout"],
        connection_verify=verify,
    )


@lru_cache(maxsize=1)
def own_session() -> requests.Session:
    """The session for the service's own account. Unlike the SDK's it keeps 96 connections, enough for the
    API's threads, instead of ten, and does not look for a .netrc before every request: the SDK signs requests
    itself."""
    session = requests.Session()
    session.auth = lambda request: request
    for scheme in ("http://", "https://"):
        session.mount(scheme, WatchedAdapter(None, _CONNECTIONS))
    return session


class StorageTokens:
    """A credential that gives only tokens for storage, of its own tenant.

    The SDK answers a 401 by asking its credential for the resource and the tenant that the 401 names. The
    host that sends the 401 must not choose those.
    """

    def __init__(self, credential: TokenCredential) -> None:
        self._credential = credential

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """A token for storage. Raises BlobAccessDenied for any other scope, and for any option."""
        if scopes != (_SCOPE,) or any(options.values()):
            # Not an AzureError, which the SDK would answer with another attempt.
            raise BlobAccessDenied("The token for storage was refused, and the host is given no other.")
        return self._credential.get_token(_SCOPE)


@lru_cache(maxsize=1)
def identity() -> StorageTokens:
    from azure.identity import DefaultAzureCredential  # slow to import, and seldom needed

    return StorageTokens(DefaultAzureCredential())
