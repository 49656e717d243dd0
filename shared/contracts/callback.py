"""What became of a job's callback."""

from __future__ import annotations

from enum import StrEnum

from shared.contracts.base import Contract, Version


class CallbackState(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


class Delivery(Contract):
    """One attempt to tell the receiver."""

    attempt: int
    """From 1."""
    at: str
    status: int | None
    """None where no answer came."""
    error: str | None
    """Why none came: unknown_host, unreachable, tls, timeout or broken_answer; or why nothing was sent:
    host_not_allowed (by its address) or callback_not_allowed (by the operator's settings of today)."""
    next_s: int | None
    """Seconds until the next attempt; None where there is none."""


class CallbackStatus(Contract):
    """As the job's status shows it."""

    url: str
    """Without its query string."""
    state: CallbackState
    deliveries: tuple[Delivery, ...] = ()


class CallbackRecord(CallbackStatus):
    """callback.json."""

    schema_version: Version = 1
    run: str
    """Also the webhook-id of every attempt."""
    body: str
    """What is sent, the same bytes each time."""

    @property
    def shown(self) -> CallbackStatus:
        return CallbackStatus(url=self.url, state=self.state, deliveries=self.deliveries)
