"""Threads beside the event loop, for work that blocks: calls to storage and to callers' hosts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Concatenate, ParamSpec, TypeVar

from shared.settings import Settings, get_settings
from shared.storage import BlobStore

P = ParamSpec("P")
T = TypeVar("T")

SOURCE_THREADS = 32


@lru_cache(maxsize=2)
def service_store(settings: Settings, patient: bool) -> BlobStore:
    """The process's own client of the service's container; `patient` as in BlobStore.from_settings."""
    return BlobStore.from_settings(settings, patient)


@dataclass(frozen=True)
class Threads:
    """Threads that share one store. pool: None for the event loop's own; patient: as in service_store."""

    pool: ThreadPoolExecutor | None
    patient: bool

    async def run(
        self, work: Callable[Concatenate[Settings, BlobStore, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """work(settings, store, *arguments). Raises what `work` raises."""
        settings = get_settings()

        def call() -> T:
            return work(settings, service_store(settings, self.patient), *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self.pool, call)

    async def run_with_store(
        self, work: Callable[Concatenate[BlobStore, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """work(store, *arguments), for work that needs no settings. Raises what `work` raises."""

        def call(settings: Settings, store: BlobStore) -> T:
            return work(store, *args, **kwargs)

        return await self.run(call)


API = Threads(ThreadPoolExecutor(64, "api"), patient=False)
"""For answers to callers."""
SOURCES = Threads(ThreadPoolExecutor(SOURCE_THREADS, "sources"), patient=False)
"""For answers that wait for the host of a caller's video: a slow one holds up no status."""
ACTIVITIES = Threads(None, patient=True)
"""For activities, which outlast a storage outage of some seconds."""
