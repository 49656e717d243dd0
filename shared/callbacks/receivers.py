"""Receivers of callbacks: which URLs a callback may be sent to."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.errors import BadCallback, CallbackNotAllowed
from shared.network import Endpoint, is_listed, parse_endpoint
from shared.settings import Settings

# RFC 3986: what a path and a query may hold.
_PATH = re.compile(r"(/[A-Za-z0-9\-._~!$&'()*+,;=:@%/]*)?")
_QUERY = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@%/?]*")


@dataclass(frozen=True)
class Callback:
    """A receiver whose URL passed validate_callback."""

    endpoint: Endpoint
    path: str
    query: str
    """A secret: the caller's systems may have put a token in it."""

    @property
    def url(self) -> str:
        """Without the query: for records, logs and people."""
        return self.endpoint.origin + self.path

    @property
    def target(self) -> str:
        """Path and query, as the request line of HTTP has them."""
        return (self.path or "/") + (f"?{self.query}" if self.query else "")

    def __repr__(self) -> str:
        return f"Callback({self.url!r})"


def validate_callback(settings: Settings, url: str) -> Callback:
    """Check a receiver's URL before anything is sent to it. Each connection later checks the host's
    addresses. A fragment is dropped.

    Raises BadCallback for a malformed URL, CallbackNotAllowed where callbacks are not configured or the host
    is not on their list. No message repeats the URL.
    """
    try:
        endpoint, parts = parse_endpoint(url)
    except ValueError as wrong:
        raise BadCallback(f"The callback {wrong}.") from None
    if not _PATH.fullmatch(parts.path) or not _QUERY.fullmatch(parts.query):
        raise BadCallback("The callback's path and query must be percent-encoded.")
    if not settings.callback_secrets:
        raise CallbackNotAllowed("This service sends no callbacks: it has no secret to sign them with.")
    if not is_listed(endpoint, settings.callback_hosts):
        raise CallbackNotAllowed(f"The host {endpoint.host} is not on the allow-list of callbacks.")
    return Callback(endpoint, parts.path, parts.query)
