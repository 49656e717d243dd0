"""Starting durable instances: of runs, batches and callbacks, at once or when their turn comes."""

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
from shared.storage import BlobStore, find_end, ledger


async def find_instance(client: df.DurableOrchestrationClient, instance: str) -> Live | None:
    """What the host says of a durable instance; None where the host has none of this id.

    Raises StorageUnavailable where the host does not say. The client has no errors of its own for that, so
    every error counts.
    """
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
    """Starts a run that has no instance; a run whose instance was lost gets its next attempt.

    Raises StorageUnavailable where the host does not start it, RecordUnreadable.
    """
    found = await find_instance(client, stored.run)
    if found is not None and found.over:
        if await threads.run_with_store(find_end, stored.run) is not None:
            return  # it ended between two looks
        # The instance is over and wrote no end: the next attempt is a run of its own.
        next_attempt = await threads.run_with_store(jobs.reopen_lost, stored)
        if next_attempt is None:
            return
        stored = next_attempt
        found = await find_instance(client, stored.run)
    if found is not None:
        return
    of_batch = stored.priority == "batch"
    starts_others = of_batch or stored.request.callback is not None
    task = {"job": stored.run, "batch": of_batch, "leads": starts_others}
    await _start(client, names.JOB, stored.run, task, "The job was stored, not started; POST it again.")


async def ensure_expanded(client: df.DurableOrchestrationClient, batch: Batch) -> None:
    """Starts the instance that makes jobs of a batch, unless it runs. Raises StorageUnavailable."""
    found = await find_instance(client, batch.id)
    if found is not None and not found.over:
        return
    error = "The batch was stored, not started; POST it again with the same Idempotency-Key."
    await _start(client, names.BATCH, batch.id, {"total": len(batch.requests)}, error)


async def _start(
    client: df.DurableOrchestrationClient, name: str, instance: str, task: dict[str, Any], error: str
) -> None:
    """Raises StorageUnavailable with this error where the instance is not there afterwards.

    The host refuses one of two simultaneous starts. That does no harm, since the other one made the instance.
    """
    try:
        await client.start_new(name, instance, task)
    except Exception as failure:
        if await find_instance(client, instance) is None:
            raise StorageUnavailable(error) from failure


async def start_open_work(client: df.DurableOrchestrationClient, threads: Threads) -> None:
    """Starts all work that is open and does not run: batches to expand, runs, callbacks.

    Work whose records cannot be read is parked, and tried again after ledger.PARKED_FOR. Raises
    StorageUnavailable.
    """
    await threads.run_with_store(ledger.unpark_entries, datetime.now(UTC))
    for name in await threads.run_with_store(ledger.open_batches):
        if batch := await threads.run_with_store(_find_batch, name):
            await ensure_expanded(client, batch)
    await start_next_runs(client, threads)


def _find_batch(store: BlobStore, batch: str) -> Batch | None:
    """None where the batch has gone, or cannot be read and is parked."""
    with suppress(RecordUnreadable, BatchNotFound), batches.parking(store, batch):
        return batches.find_batch(store, batch)
    return None


async def start_next_runs(client: df.DurableOrchestrationClient, threads: Threads) -> int:
    """Starts the runs whose turn it is, and owed callbacks. Returns how many runs have their turn.

    Many may call this at the same time: each job of a batch as it ends, and a timer, which starts what dead
    processes left. Raises StorageUnavailable.
    """
    runs = await threads.run(jobs.next_runs)
    for stored in runs:
        try:
            await ensure_started(client, stored, threads)
        except RecordUnreadable as why:
            await threads.run_with_store(ledger.park_run, stored, why)
    for run in await threads.run_with_store(callbacks.open_callbacks):
        await _ensure_called_back(client, run)
    return len(runs)


async def _ensure_called_back(client: df.DurableOrchestrationClient, run: str) -> None:
    instance = names.callback_id(run)
    found = await find_instance(client, instance)
    if found is None or found.over:
        error = f"The callback of {run} could not be started; it is tried again."
        await _start(client, names.CALLBACK, instance, {"job": run}, error)
