"""Bodies and signatures of callbacks, by Standard Webhooks 1.0.0.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from shared.settings import webhook_key

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"


TOLERANCE_S = 300
"""Most seconds by which a receiver lets a timestamp lie in the past or in the future."""


def sign(secrets: Iterable[str], message: str, timestamp: int, body: bytes) -> str:
    """The header webhook-signature: one signature for each secret (`whsec_<base64>`), separated by spaces.

    timestamp: seconds since 1970. Raises ValueError for a malformed secret.
    """
    content = f"{message}.{timestamp}.".encode() + body
    signatures = (hmac.digest(webhook_key(secret), content, hashlib.sha256) for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(signature).decode()}" for signature in signatures)


def verify(
    secrets: Iterable[str],
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
    tolerance_s: int = TOLERANCE_S,
) -> bool:
    """Whether one of the secrets signed this body and these id and timestamp, at most tolerance_s from `now`.

    headers: with names in lower case. Raises ValueError for a malformed secret.
    """
    message, stamp = headers.get(ID, ""), headers.get(TIMESTAMP, "")
    if not message or not re.fullmatch(r"[0-9]{1,12}", stamp, re.ASCII):
        return False
    if abs(now.timestamp() - int(stamp)) > tolerance_s:
        return False
    given = headers.get(SIGNATURE, "").split(" ")
    expected = sign(secrets, message, int(stamp), body).split(" ")
    # Every pair is compared, each in constant time, so that the time taken reveals nothing.
    same = [hmac.compare_digest(ours.encode(), theirs.encode()) for ours in expected for theirs in given]
    return any(same)


def payload(kind: str, timestamp: datetime, data: Mapping[str, Any]) -> bytes:
    """The body {"type", "timestamp", "data"} as compact JSON, with the fields in the order of `data`."""
    document = {"type": kind, "timestamp": timestamp.isoformat(timespec="milliseconds"), "data": data}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
