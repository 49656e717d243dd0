"""Signatures of callbacks, by Standard Webhooks."""

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
"""How old, or how far ahead, a receiver lets a timestamp be."""


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
