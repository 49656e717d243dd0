"""Starting runs: at once, or when their turn comes."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import azure.durable_functions as df

from orchestrator.threads import Threads
from shared import callbacks, jobs, names
from shared.contracts import Batch, StoredRequest
from shared.errors import BatchNotFound, RecordUnreadable, StorageUnavailable
from shared.jobs import Live, batches
from shared.storage import BlobStore, ledger, records


async def live(client: df.DurableOrchestrationClient, instance: str) -> Live | None:
    """What the host says of an instance; None where it has none. Raises StorageUnavailable where the host
    does not say: the client has no errors of its own for that, so any is taken for it."""
    try:
        status = await client.get_status(instance)
    except Exception as failure:
        raise StorageUnavailable(f"The host did not tell of a run ({type(failure).__name__}).") from failure
    if status.runtime_status is None:
        if hasattr(status, "Message"):  # a 500: the client takes the body of an error for a status
            raise StorageUnavailable("The host did not tell of a run (it answered with an error).")
        return None
    custom = status.custom_status if isinstance(status.custom_status, dict) else {}
    return Live(status.runtime_status.value, custom)


async def ensure_started(
    client: df.DurableOrchestrationClient, stored: StoredRequest, threads: Threads
) -> None:
    """Look, then start. Raises StorageUnavailable where the host does not start it."""
    found = await live(client, stored.run)
    if found is not None and found.over:
        if await threads.run_with_store(records.find_end, stored.run) is not None:
            return  # it ended between two looks
        # It is over without a last word: a run of its own for the next attempt.
        next_attempt = await threads.run_with_store(jobs.reopen_lost, stored)
        if next_attempt is None:
            return
        stored = next_attempt
        found = await live(client, stored.run)
    if found is not None:
        return
    batch = stored.priority == "batch"
    # leads: something is to be started when it ends.
    task = {"job": stored.run, "batch": batch, "leads": batch or stored.request.callback is not None}
    await _start(client, names.JOB, stored.run, task, "The job was stored, not started; POST it again.")


async def ensure_expanded(client: df.DurableOrchestrationClient, batch: Batch) -> None:
    """Start what makes jobs of a batch, where it does not run. Raises StorageUnavailable."""
    found = await live(client, batch.id)
    if found is not None and not found.over:
        return
    otherwise = "The batch was stored, not started; POST it again with the same Idempotency-Key."
    await _start(client, names.BATCH, batch.id, {"total": len(batch.requests)}, otherwise)


async def _start(
    client: df.DurableOrchestrationClient, name: str, instance: str, task: dict[str, Any], otherwise: str
) -> None:
    """Of two that race, one start is refused: fine, so long as the instance is there.

    Raises StorageUnavailable, which says `otherwise`, where it is not.
    """
    try:
        await client.start_new(name, instance, task)
    except Exception as failure:
        if await live(client, instance) is None:
            raise StorageUnavailable(otherwise) from failure


async def tend(client: df.DurableOrchestrationClient, threads: Threads) -> None:
    """What is owed and nobody does: batches that were not expanded, runs that nothing runs, callbacks. What
    cannot be read is parked, and after a while looked at again."""
    await threads.run_with_store(ledger.unpark, datetime.now(UTC))
    for name in await threads.run_with_store(ledger.open_batches):
        if batch := await threads.run_with_store(_find_batch, name):
            await ensure_expanded(client, batch)
    await start_next(client, threads)


def _find_batch(store: BlobStore, batch: str) -> Batch | None:
    """None where it is parked, or has gone."""
    with suppress(RecordUnreadable, BatchNotFound), batches.parking(store, batch):
        return batches.find_batch(store, batch)
    return None


async def start_next(client: df.DurableOrchestrationClient, threads: Threads) -> int:
    """Start every run whose turn it is and that does not run yet, and every callback that is owed; how
    many runs have their turn.

    Any number of callers may do so at any time: after a job of a batch, and now and then, so that what a
    dead process has left does not wait for ever.
    """
    turn = await threads.run(jobs.next_runs)
    for stored in turn:
        try:
            await ensure_started(client, stored, threads)
        except RecordUnreadable as why:
            await threads.run_with_store(ledger.park_run, stored, why)
    for run in await threads.run_with_store(callbacks.open_callbacks):
        instance = names.callback_id(run)
        found = await live(client, instance)
        if found is None or found.over:
            otherwise = f"The callback of {run} could not be started; it is tried again."
            await _start(client, names.CALLBACK, instance, {"job": run}, otherwise)
    return len(turn)
