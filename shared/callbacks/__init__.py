"""Tell a caller how a run ended: receivers, signatures, attempts and their records.

When that is done is decided in `jobs`.
"""

from shared.callbacks.receivers import validate_callback
from shared.callbacks.records import describe_callback, find_record, open_callbacks
from shared.callbacks.sending import attempt, delivery, is_delivered
from shared.callbacks.signing import ID, payload, verify

__all__ = [
    "ID",
    "attempt",
    "delivery",
    "describe_callback",
    "find_record",
    "is_delivered",
    "open_callbacks",
    "payload",
    "validate_callback",
    "verify",
]
