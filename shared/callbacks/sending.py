"""Send one callback and decide whether another attempt follows."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from shared.callbacks.receivers import Callback
from shared.callbacks.signing import ID, SIGNATURE, TIMESTAMP, sign
from shared.contracts import Delivery
from shared.errors import HostNotAllowed
from shared.network import Guard, NoAnswer, Patience, post
from shared.settings import VERSION, Settings

BACKOFF_S = (5, 30, 120, 600, 3600, 4 * 3600)
"""Waits between the attempts, of which there is one more: seven in a bit more than five hours."""


MOST_RETRY_AFTER_S = 4 * 3600


GONE = 410


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
