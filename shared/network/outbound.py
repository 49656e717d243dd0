"""Connections only to addresses that the guard has checked.

A connection resolves the name, checks its addresses, and opens the socket to one of them: there is no second
look-up between check and connect. TLS still asks for the host by its name and verifies the certificate
against it. Redirects are not followed, and proxies and netrc of the environment are not read.
Every connection ends with the deadline of the thread that uses it (shared/network/deadlines.py).
"""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Retry, Timeout
from urllib3 import exceptions as urllib3_errors
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util.connection import create_connection

from shared.network import deadlines
from shared.network.addresses import Endpoint, Guard

# urllib3 logs whole URLs with their queries: at DEBUG, and at WARNING for a header that it cannot read.
logging.getLogger("urllib3").setLevel(logging.ERROR)

_NO_RETRY = Retry(total=False, redirect=False, raise_on_status=False)


class _Watched(HTTPConnection):
    """A connection, new or reused, that ends with the deadline of the thread that uses it."""

    def _new_conn(self) -> socket.socket:
        opened = self._opened()
        deadlines.watch(opened)
        return opened

    def _opened(self) -> socket.socket:
        return super()._new_conn()

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:
            deadlines.watch(self.sock)
        super().request(*args, **kwargs)


class _WatchedTls(_Watched, HTTPSConnection):
    pass


class _Checked(_Watched):
    """Overrides the one step of urllib3 that resolves a name. `_pools` makes subclasses with a `guard`."""

    guard: Guard

    def _opened(self) -> socket.socket:
        host = self._dns_host
        try:
            addresses = self.guard.addresses(host, self.port)
        except socket.gaierror as unknown:
            raise urllib3_errors.NameResolutionError(self.host, self, unknown) from unknown
        return self._first_of(addresses)

    def _first_of(self, addresses: list[str]) -> socket.socket:
        """A socket to the first address that answers. All attempts together take the connect time-out."""
        limit_s = self.timeout if isinstance(self.timeout, int | float) else None
        end_s = time.monotonic() + (limit_s or 0)
        failure: OSError = OSError("no address")
        for address in addresses:
            left_s = max(0.01, end_s - time.monotonic()) if limit_s else self.timeout
            try:
                return create_connection(
                    (address, self.port), left_s, self.source_address, self.socket_options
                )
            except OSError as error:
                failure = error
            if limit_s and time.monotonic() >= end_s:
                break
        if isinstance(failure, TimeoutError):
            raise urllib3_errors.ConnectTimeoutError(self, "Connecting took too long.") from failure
        raise urllib3_errors.NewConnectionError(self, "No address answered.") from failure


class _CheckedTls(_Checked, HTTPSConnection):
    pass


def _pools(guard: Guard | None) -> dict[str, type[HTTPConnectionPool]]:
    bases = (_Checked, _CheckedTls) if guard else (_Watched, _WatchedTls)
    plain, tls = (type(base.__name__, (base,), {"guard": guard}) for base in bases)
    return {
        "http": type("HttpPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
        "https": type("HttpsPool", (HTTPSConnectionPool,), {"ConnectionCls": tls}),
    }


# ---------------------------------------------------------------- for the storage SDK


class WatchedAdapter(HTTPAdapter):
    """Sends nothing after the deadline of the sending thread, although the SDK would try again: it raises
    DeadlinePassed instead.

    guard: None where the operator chose the address. kept: how many connections to one host stay open.
    """

    def __init__(self, guard: Guard | None, kept: int = 10) -> None:
        self._pools = _pools(guard)
        super().__init__(pool_maxsize=kept, max_retries=_NO_RETRY)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = self._pools
        return manager

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        deadlines.check()
        try:
            return super().send(*args, **kwargs)
        except Exception:
            deadlines.check()
            raise


def guarded_session(guard: Guard) -> requests.Session:
    """A session for RequestsTransport (which calls it with allow_redirects=False) that connects only to
    addresses that the guard allows."""
    session = requests.Session()
    session.trust_env = False
    for scheme in ("http://", "https://"):
        session.mount(scheme, WatchedAdapter(guard))
    return session


# ---------------------------------------------------------------- one POST


class NoAnswer(Exception):
    """No status arrived. `code` says why: unknown_host, unreachable, tls, timeout or broken_answer."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Answer:
    status: int
    retry_after: str | None


@dataclass(frozen=True)
class Patience:
    """How long a POST may take, in seconds, and how much of its answer is read."""

    connect_s: float = 5
    read_s: float = 15
    """At most, between two pieces of the answer."""
    whole_s: float = 30
    """From the look-up to the last byte. read_s alone would allow a byte every fourteen seconds for ever."""
    most_bytes: int = 64 * 1024


@lru_cache(maxsize=4)
def _trust(ca_bundle: Path | None) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca_bundle or DEFAULT_CA_BUNDLE_PATH))


def post(
    endpoint: Endpoint,
    target: str,
    body: bytes,
    headers: Mapping[str, str],
    guard: Guard,
    ca_bundle: Path | None = None,
    patience: Patience = Patience(),
) -> Answer:
    """POST once to `target`, a path with its query. A status and its headers are an answer, even if the body
    never arrives.

    Raises HostNotAllowed for an address that the guard refuses, NoAnswer for every other failure.
    """
    tls: dict[str, Any] = {"ssl_context": _trust(ca_bundle)} if endpoint.scheme == "https" else {}
    pool = _pools(guard)[endpoint.scheme](
        endpoint.host,
        endpoint.port,
        timeout=Timeout(connect=patience.connect_s, read=patience.read_s),
        retries=_NO_RETRY,
        **tls,
    )
    running = None
    try:
        with deadlines.deadline(patience.whole_s) as running:
            response = pool.urlopen(
                "POST",
                target,
                body=body,
                headers=headers,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            if running.passed:  # http.client takes cut-off headers for complete ones
                raise NoAnswer("timeout")
            with suppress(urllib3_errors.HTTPError, OSError):
                response.read(patience.most_bytes)
            response.close()
            return Answer(response.status, response.headers.get("Retry-After"))
    except (urllib3_errors.HTTPError, OSError, ValueError) as error:
        raise NoAnswer("timeout" if running and running.passed else _code(error)) from None
    finally:
        pool.close()


def _code(error: Exception) -> str:
    """NoAnswer's code. http.client and urllib3 raise ValueError for an answer or a name that is malformed."""
    match error:
        case urllib3_errors.NameResolutionError():
            return "unknown_host"
        case urllib3_errors.NewConnectionError():
            return "unreachable"
        case urllib3_errors.TimeoutError() | TimeoutError():
            return "timeout"
        case urllib3_errors.SSLError() | ssl.SSLError():
            return "tls"
        case _:
            return "broken_answer"
