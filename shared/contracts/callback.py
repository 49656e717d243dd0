"""The state of a job's callback, and the attempts to deliver it."""

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
    """HTTP status of the answer; None where no answer came."""
    error: str | None
    """Why no answer came: unknown_host, unreachable, tls, timeout or broken_answer; or why nothing was sent:
    host_not_allowed (the address is refused) or callback_not_allowed (the operator's settings at the attempt
    refuse the host)."""
    next_s: int | None
    """Seconds until the next attempt; None where no attempt follows."""


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
    """The run's id, which is also the webhook-id of every attempt."""
    body: str
    """The body of every attempt, the same bytes each time."""

    @property
    def shown(self) -> CallbackStatus:
        """The part that the job's status shows."""
        return CallbackStatus(url=self.url, state=self.state, deliveries=self.deliveries)
