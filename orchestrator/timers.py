"""What the service does by the clock."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import azure.durable_functions as df
import azure.functions as func
from azure.durable_functions import OrchestrationRuntimeStatus as Status

from orchestrator.starting import tend
from orchestrator.threads import API
from shared.errors import MatchcutError
from shared.jobs import Sweep
from shared.redact import redact
from shared.settings import Settings, get_settings, retention_schedule
from shared.storage import BlobStore

blueprint = df.Blueprint()
log = logging.getLogger("matchcut")

_EVER = datetime(2000, 1, 1, tzinfo=UTC)
_OVER = [Status.Completed, Status.Failed, Status.Terminated, Status.Canceled]


@blueprint.timer_trigger(schedule="*/30 * * * * *", arg_name="timer", run_on_startup=True)
@blueprint.durable_client_input(client_name="client")
async def tend_open(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    """Nothing that was accepted waits for ever, whoever died."""
    try:
        await tend(client, API)
    except MatchcutError as failure:
        log.warning("tend: %s", redact(failure.message))


@blueprint.timer_trigger(schedule=retention_schedule(), arg_name="timer")
@blueprint.durable_client_input(client_name="client")
async def remove_old(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    settings, now = get_settings(), datetime.now(UTC)
    await asyncio.to_thread(sweep, settings, now)
    await purge(client, settings, now)


def sweep(settings: Settings, now: datetime) -> None:
    """Trouble is for the next run."""
    try:
        old = Sweep(settings, BlobStore.from_settings(settings), now)
        try:
            old.run()
        finally:
            log.info("%s", old.report)
    except MatchcutError as failure:
        log.warning("retention: %s", redact(failure.message))


async def purge(client: df.DurableOrchestrationClient, settings: Settings, now: datetime) -> None:
    """Remove the history of instances that are over and began long ago; a run that is open is not over, or is
    started again."""
    if not settings.retention_history_days:
        return
    before = now - timedelta(days=settings.retention_history_days)
    if settings.retention_dry_run:
        log.info("retention would purge instances that are over and began before %s", before.isoformat())
        return
    try:
        purged = await client.purge_instance_history_by(_EVER, before, _OVER)
        log.info("retention purged %s instances", purged.instances_deleted)
    except Exception as failure:  # the client raises nothing more telling
        log.warning("retention: history was not purged: %s", redact(str(failure)))
