"""The timers: one starts what is open, one removes what is old."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import azure.durable_functions as df
import azure.functions as func
from azure.durable_functions import OrchestrationRuntimeStatus as Status

from orchestrator.starting import start_open_work
from orchestrator.threads import API
from shared.errors import MatchcutError
from shared.jobs import Sweep
from shared.redact import redact
from shared.settings import Settings, get_settings, retention_schedule
from shared.storage import BlobStore

blueprint = df.Blueprint()
log = logging.getLogger("matchcut")

_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_OVER = [Status.Completed, Status.Failed, Status.Terminated, Status.Canceled]


@blueprint.timer_trigger(schedule="*/30 * * * * *", arg_name="timer", run_on_startup=True)
@blueprint.durable_client_input(client_name="client")
async def tend_open(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    """Starts what a dead process left, so that nothing that was accepted waits for ever."""
    try:
        await start_open_work(client, API)
    except MatchcutError as failure:
        log.warning("tend: %s", redact(failure.message))


@blueprint.timer_trigger(schedule=retention_schedule(), arg_name="timer")
@blueprint.durable_client_input(client_name="client")
async def remove_old(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    settings, now = get_settings(), datetime.now(UTC)
    await asyncio.to_thread(remove_old_records, settings, now)
    await purge_old_history(client, settings, now)


def remove_old_records(settings: Settings, now: datetime) -> None:
    """Runs retention once. The log tells of failures; the next run goes on from there."""
    try:
        sweep = Sweep(settings, BlobStore.from_settings(settings), now)
        try:
            sweep.run()
        finally:
            log.info("%s", sweep.report)
    except MatchcutError as failure:
        log.warning("retention: %s", redact(failure.message))


async def purge_old_history(client: df.DurableOrchestrationClient, settings: Settings, now: datetime) -> None:
    """Removes the history of instances that are over and began retention_history_days before `now`.

    No open run needs it: its instance is not over, or start_open_work starts another one.
    """
    if not settings.retention_history_days:
        return
    before = now - timedelta(days=settings.retention_history_days)
    if settings.retention_dry_run:
        log.info("retention would purge instances that are over and began before %s", before.isoformat())
        return
    try:
        purged = await client.purge_instance_history_by(_LONG_AGO, before, _OVER)
        log.info("retention purged %s instances", purged.instances_deleted)
    except Exception as failure:  # the client raises nothing more specific
        log.warning("retention: history was not purged: %s", redact(str(failure)))
