"""Callbacks as Standard Webhooks 1.0.0 has them: what is signed, how, and one attempt to send it (floor 3).

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from shared.contracts import Delivery
from shared.errors import BadCallback, CallbackNotAllowed, HostNotAllowed
from shared.network import Endpoint, Guard, NoAnswer, Patience, listed, parse_endpoint, post
from shared.settings import VERSION, Settings, webhook_key

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE_S = 300
"""How old, or how far ahead, a receiver lets a timestamp be."""
BACKOFF_S = (5, 30, 120, 600, 3600, 4 * 3600)
"""Waits between the attempts, of which there is one more: seven in a bit more than five hours."""
MOST_RETRY_AFTER_S = 4 * 3600
GONE = 410

# RFC 3986: what a path and a query may hold.
_PATH = re.compile(r"(/[A-Za-z0-9\-._~!$&'()*+,;=:@%/]*)?")
_QUERY = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@%/?]*")


# ---------------------------------------------------------------- signatures


def sign(secrets: Iterable[str], message: str, timestamp: int, body: bytes) -> str:
    """The value of webhook-signature: one signature for each secret (`whsec_<base64>`), spaces between."""
    content = f"{message}.{timestamp}.".encode() + body
    made = (hmac.digest(webhook_key(secret), content, hashlib.sha256) for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(signature).decode()}" for signature in made)


def verify(
    secrets: Iterable[str],
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
    tolerance_s: int = TOLERANCE_S,
) -> bool:
    """Whether one of the secrets signed this body, with these headers (names in lower case), lately."""
    message, stamp = headers.get(ID, ""), headers.get(TIMESTAMP, "")
    if not message or not re.fullmatch(r"[0-9]{1,12}", stamp, re.ASCII):
        return False
    if abs(now.timestamp() - int(stamp)) > tolerance_s:
        return False
    given = headers.get(SIGNATURE, "").split(" ")
    made = sign(secrets, message, int(stamp), body).split(" ")
    # All are compared, each in constant time: how long it takes tells nothing.
    same = [hmac.compare_digest(ours.encode(), theirs.encode()) for ours in made for theirs in given]
    return any(same)


def payload(kind: str, timestamp: datetime, data: Mapping[str, Any]) -> bytes:
    """The body: {"type", "timestamp", "data"}, compact, with the fields in the order of `data`."""
    document = {"type": kind, "timestamp": timestamp.isoformat(timespec="milliseconds"), "data": data}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


# ---------------------------------------------------------------- receivers


@dataclass(frozen=True)
class Callback:
    """A receiver that may be asked."""

    endpoint: Endpoint
    path: str
    query: str
    """A secret, as the caller's own systems may have put a token in it."""

    @property
    def url(self) -> str:
        """Without the query: for records, logs and people."""
        return self.endpoint.origin + self.path

    @property
    def target(self) -> str:
        return (self.path or "/") + (f"?{self.query}" if self.query else "")

    def __repr__(self) -> str:
        return f"Callback({self.url!r})"


def validate_callback(settings: Settings, url: str) -> Callback:
    """Check a receiver's URL before anything is sent to it. The host's addresses are checked later,
    by each connection. A fragment is dropped.

    Raises BadCallback where it is no such URL, CallbackNotAllowed where callbacks are not
    configured, or the host is not on their list. No message repeats the URL.
    """
    try:
        endpoint, parts = parse_endpoint(url)
    except ValueError as wrong:
        raise BadCallback(f"The callback {wrong}.") from None
    if not _PATH.fullmatch(parts.path) or not _QUERY.fullmatch(parts.query):
        raise BadCallback("The callback's path and query must be percent-encoded.")
    if not settings.callback_secrets:
        raise CallbackNotAllowed("This service sends no callbacks: it has no secret to sign them with.")
    if not listed(endpoint, settings.callback_hosts):
        raise CallbackNotAllowed(f"The host {endpoint.host} is not on the allow-list of callbacks.")
    return Callback(endpoint, parts.path, parts.query)


# ---------------------------------------------------------------- sending


def backoff_s(message: str, attempt: int) -> int | None:
    """Seconds to wait after a failed attempt, up to a tenth more than BACKOFF_S says; None after the last.

    The tenth spreads the jobs of a batch, which would else come back to a receiver all at once; it is
    made of the id, so that it is the same when asked again.
    """
    if attempt > len(BACKOFF_S):
        return None
    least_s = BACKOFF_S[attempt - 1]
    drawn = int.from_bytes(hashlib.sha256(f"{message}|{attempt}".encode()).digest()[:4], "big")
    return least_s + drawn * (least_s // 10) // 2**32


def retry_after_s(text: str | None, now: datetime) -> int:
    """What an answer's Retry-After asks for (RFC 9110, 10.2.3), at most MOST_RETRY_AFTER_S; 0 if nothing."""
    text = (text or "").strip()
    if re.fullmatch(r"[0-9]+", text, re.ASCII):
        return MOST_RETRY_AFTER_S if len(text) > 9 else min(int(text), MOST_RETRY_AFTER_S)
    try:
        when = parsedate_to_datetime(text)
        asked_s = (when if when.tzinfo else when.replace(tzinfo=UTC)) - now
    except (ValueError, TypeError, OverflowError):
        return 0
    return max(0, min(round(asked_s.total_seconds()), MOST_RETRY_AFTER_S))


def attempt(
    settings: Settings,
    callback: Callback,
    message: str,
    number: int,
    body: bytes,
    now: datetime,
    guard: Guard | None = None,
    patience: Patience = Patience(),  # noqa: B008 - frozen
) -> Delivery:
    """Send the body once, as attempt `number` (from 1) with the id `message`; never raises for what the
    receiver does. A status of 200 to 299 is a delivery, 410 ends the attempts, all else is tried again."""
    stamp = int(now.timestamp())
    secrets = [secret.get_secret_value() for secret in settings.callback_secrets]
    headers = {
        "content-type": "application/json",
        "user-agent": f"matchcut/{VERSION}",
        ID: message,
        TIMESTAMP: str(stamp),
        SIGNATURE: sign(secrets, message, stamp, body),
    }
    status, error, asked_s = None, None, 0
    try:
        answer = post(
            callback.endpoint,
            callback.target,
            body,
            headers,
            guard or Guard.of(settings),
            settings.ca_bundle,
            patience,
        )
        status, asked_s = answer.status, retry_after_s(answer.retry_after, now)
    except HostNotAllowed as refused:
        error = refused.code
    except NoAnswer as none:
        error = none.code
    return delivery(message, number, now, status, error, asked_s)


def delivery(
    message: str, number: int, now: datetime, status: int | None, error: str | None, asked_s: int = 0
) -> Delivery:
    """What is written down of an attempt, and when the next one is due."""
    wait_s = backoff_s(message, number)
    if status is not None and (is_delivered(status) or status == GONE):
        wait_s = None
    return Delivery(
        attempt=number,
        at=now.isoformat(timespec="milliseconds"),
        status=status,
        error=error,
        next_s=None if wait_s is None else max(wait_s, asked_s),
    )


def is_delivered(status: int | None) -> bool:
    return status is not None and 200 <= status < 300
