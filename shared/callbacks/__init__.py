"""Callbacks, which report the end of a run to a caller: receivers, signatures, attempts and their records.

`jobs` decides when to send them.
"""

from shared.callbacks.receivers import validate_callback
from shared.callbacks.records import describe_callback, find_callback_record, open_callbacks
from shared.callbacks.sending import attempt_delivery, delivery, is_delivered
from shared.callbacks.signing import ID, payload, verify

__all__ = [
    "ID",
    "attempt_delivery",
    "delivery",
    "describe_callback",
    "find_callback_record",
    "is_delivered",
    "open_callbacks",
    "payload",
    "validate_callback",
    "verify",
]
