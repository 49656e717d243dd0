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
"""Seconds between attempts: seven attempts in a little more than five hours."""


MOST_RETRY_AFTER_S = 4 * 3600
"""The longest wait that a receiver's Retry-After may ask for."""


GONE = 410
"""HTTP status by which a receiver asks for no further attempts."""


def backoff_s(message: str, attempt: int) -> int | None:
    """Seconds to wait after failed attempt number `attempt` (from 1): BACKOFF_S and up to a tenth more. None
    after the last attempt.

    The tenth spreads the callbacks of a batch, which would otherwise reach a receiver all at once. It is
    derived from the id, so that the same call always gives the same wait.
    """
    if attempt > len(BACKOFF_S):
        return None
    least_s = BACKOFF_S[attempt - 1]
    drawn = int.from_bytes(hashlib.sha256(f"{message}|{attempt}".encode()).digest()[:4], "big")
    return least_s + drawn * (least_s // 10) // 2**32


def retry_after_s(text: str | None, now: datetime) -> int:
    """Seconds that a Retry-After header (RFC 9110, 10.2.3) asks for, at most MOST_RETRY_AFTER_S; 0 without a
    readable one."""
    text = (text or "").strip()
    if re.fullmatch(r"[0-9]+", text, re.ASCII):
        return MOST_RETRY_AFTER_S if len(text) > 9 else min(int(text), MOST_RETRY_AFTER_S)
    try:
        when = parsedate_to_datetime(text)
        asked_s = (when if when.tzinfo else when.replace(tzinfo=UTC)) - now
    except (ValueError, TypeError, OverflowError):
        return 0
    return max(0, min(round(asked_s.total_seconds()), MOST_RETRY_AFTER_S))


def attempt_delivery(
    settings: Settings,
    callback: Callback,
    message: str,
    number: int,
    body: bytes,
    now: datetime,
    guard: Guard | None = None,
    patience: Patience = Patience(),  # noqa: B008 - frozen
) -> Delivery:
    """Send the body once, as attempt `number` (from 1) with the webhook-id `message`.

    It raises nothing for what the receiver does: the Delivery reports it. A status of 200 to 299 is a
    delivery, 410 ends the attempts, and after anything else another attempt follows.
    """
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
    except NoAnswer as failure:
        error = failure.code
    return delivery(message, number, now, status, error, asked_s)


def delivery(
    message: str, number: int, now: datetime, status: int | None, error: str | None, asked_s: int = 0
) -> Delivery:
    """The record of one attempt, and the seconds until the next one: at least asked_s, None where none
    follows."""
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
