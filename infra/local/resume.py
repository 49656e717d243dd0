"""Start again what an earlier host left unfinished: the engine keeps nothing on disk, the store does.

This is all that the embedded host knows of matchcut.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterator
from typing import Protocol

from starlette.concurrency import run_in_threadpool

from shared import names

logger = logging.getLogger(__name__)


class Listing(Protocol):
    def list(self, prefix: str) -> Iterator[str]: ...


class Client(Protocol):
    """The part of the SDK's DurableOrchestrationClient that is needed here."""

    def start_new(
        self, orchestration_function_name: str, instance_id: str, client_input: dict[str, str]
    ) -> Awaitable[str]: ...


def unfinished(store: Listing) -> list[str]:
    """Job ids with a stored request and no end record, in order."""
    paths = set(store.list(f"{names.JOBS}/"))
    jobs = {path.split("/")[1] for path in paths if path.count("/") > 1}
    return sorted(
        job for job in jobs if names.request_path(job) in paths and names.end_path(job) not in paths
    )


async def resume(client: Client, store: Listing) -> list[str]:
    """Start each unfinished job under its own id, through the management route; returns those started.

    One that cannot be started is logged and left.
    """
    started = []
    for job in await run_in_threadpool(unfinished, store):
        try:
            started.append(await client.start_new(names.JOB, job, {"job": job}))
            logger.info("resumed", extra={"job": job})
        except Exception:
            logger.exception("not resumed", extra={"job": job})
    return started
