"""Deliver a job's callback, which says how the job ended, one attempt at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypedDict

from shared.callbacks import (
    attempt_delivery,
    delivery,
    find_callback_record,
    is_delivered,
    payload,
    validate_callback,
)
from shared.contracts import CallbackRecord, CallbackState, Delivery, State, StoredRequest
from shared.errors import BadCallback, CallbackNotAllowed, FileNotReady, RecordUnreadable
from shared.jobs.status import describe, see_run
from shared.network import Guard, Patience
from shared.settings import Settings
from shared.storage import BlobStore, Records, find_callback_query, forget_callback_query, ledger, paths

KINDS = {
    State.COMPLETED: "job.completed",
    State.COMPLETED_WITH_GAPS: "job.completed_with_gaps",
    State.FAILED: "job.failed",
    State.CANCELLED: "job.cancelled",
}


class Outcome(TypedDict):
    """The state of a delivery, from which the orchestrator sets its timer."""

    state: str
    """pending, delivered or given_up; none where the job has no callback."""
    wait_s: int
    """Seconds until the next attempt; 0 unless the state is pending."""


def deliver(
    settings: Settings,
    store: BlobStore,
    run: str,
    number: int,
    guard: Guard | None = None,
    patience: Patience = Patience(),  # noqa: B008 - frozen
) -> Outcome:
    """Make attempt `number` (from 1) to deliver the callback of a run that has ended.

    A recorded attempt is not sent again. If the process dies between sending and recording, the receiver
    gets the same body again, under the same id. guard, patience: rules of outgoing connections; defaults
    outside tests.

    Raises FileNotReady where the run has not ended, RecordUnreadable (the callback is parked then), and
    storage's errors. No answer of the receiver raises an error.
    """
    try:
        return _deliver(settings, store, run, number, guard, patience)
    except RecordUnreadable as why:
        ledger.park_entry(store, paths.open_callback_path(run), why)
        raise


def _deliver(
    settings: Settings, store: BlobStore, run: str, number: int, guard: Guard | None, patience: Patience
) -> Outcome:
    stored = Records(store, run).request
    if stored.request.callback is None:
        store.delete(paths.open_callback_path(run))
        return {"state": "none", "wait_s": 0}
    record = find_callback_record(store, run) or _open_record(
        settings, store, stored, stored.request.callback
    )
    made = {entry.attempt: entry for entry in record.deliveries}
    if record.state is CallbackState.PENDING and number not in made:
        made[number] = _send(settings, store, stored, record, number, guard, patience)
        record = record.model_copy(
            update={"state": _state(made[number]), "deliveries": tuple(made[n] for n in sorted(made))}
        )
        store.put(paths.callback_path(run), record.model_dump_json().encode())
    if record.state is not CallbackState.PENDING:
        forget_callback_query(store, stored)
        store.delete(paths.open_callback_path(run))
        return {"state": record.state, "wait_s": 0}
    return {"state": record.state, "wait_s": made[number].next_s or 0}


def _open_record(settings: Settings, store: BlobStore, stored: StoredRequest, url: str) -> CallbackRecord:
    """Write the callback's record with its body, so that every attempt sends the same body."""
    record = CallbackRecord(
        run=stored.run,
        url=url,
        state=CallbackState.PENDING,
        body=message_of(settings, store, stored).decode(),
    )
    if not store.put_new(paths.callback_path(stored.run), record.model_dump_json().encode()):
        record = find_callback_record(store, stored.run) or record
    return record


def message_of(settings: Settings, store: BlobStore, stored: StoredRequest) -> bytes:
    """The body of the callback: the job's status, without the state of the callback itself.

    Raises FileNotReady where the run has not ended.
    """
    end = Records(store, stored.run).find_end()
    if end is None:
        raise FileNotReady("The job has not ended, so there is nothing to tell its callback.")
    ended = datetime.fromisoformat(stored.created) + timedelta(seconds=end.wall_s)
    status = describe(settings, store, see_run(store, stored), None, ended)
    return payload(KINDS[end.state], ended, status.model_dump(mode="json", exclude={"callback"}))


def _send(
    settings: Settings,
    store: BlobStore,
    stored: StoredRequest,
    record: CallbackRecord,
    number: int,
    guard: Guard | None,
    patience: Patience,
) -> Delivery:
    now = datetime.now(UTC)
    query = find_callback_query(store, stored)
    try:
        callback = validate_callback(settings, record.url + (f"?{query}" if query else ""))
    except (BadCallback, CallbackNotAllowed):  # the operator has changed the allowed hosts meanwhile
        return delivery(record.run, number, now, None, CallbackNotAllowed.code)
    return attempt_delivery(
        settings, callback, record.run, number, record.body.encode(), now, guard, patience
    )


def _state(last: Delivery) -> CallbackState:
    if is_delivered(last.status):
        return CallbackState.DELIVERED
    return CallbackState.GIVEN_UP if last.next_s is None else CallbackState.PENDING
