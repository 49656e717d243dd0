"""Handlers about the service itself: its health, and the documents that describe it. They need no key."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

import azure.durable_functions as df
import azure.functions as func

from orchestrator.http.binding import answer, serve
from orchestrator.http.openapi import openapi, result_schema
from orchestrator.starting import find_instance
from orchestrator.threads import API
from shared.contracts import Health
from shared.errors import MatchcutError
from shared.models import Catalogue
from shared.redact import redact
from shared.settings import VERSION, Settings, get_settings
from shared.storage import BlobStore

blueprint = df.Blueprint()
log = logging.getLogger("matchcut")

HUB_TIMEOUT_S = 5.0
"""Health waits this long for the task hub: half of what the probes of the pods wait for health."""


@serve(blueprint)
async def health(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Takes a durable client, so that a host that refuses the binding is not healthy either."""
    settings = get_settings()
    models: dict[str, Any] | None = None
    try:
        models = await asyncio.to_thread(_describe_models, settings)
    except MatchcutError as failure:
        log.error("health: %s", failure.message)
    storage, hub = await asyncio.gather(
        _probe(API.run_with_store(BlobStore.exists, "health")),
        # No run has this name, so the hub looks it up and finds nothing.
        _probe(asyncio.wait_for(find_instance(client, "health"), HUB_TIMEOUT_S)),
    )
    healthy = models is not None and not models["faults"] and storage == hub == "ok"
    body = Health.model_validate(
        {
            "status": "ok" if healthy else "degraded",
            "version": VERSION,
            "storage": storage,
            "hub": hub,
            **(models or {"models": (), "profiles": ()}),
        }
    )
    return answer(body, 200 if healthy else 503)


def _describe_models(settings: Settings) -> dict[str, Any]:
    """What Health says of models and profiles. Raises StorageUnavailable."""
    catalogue = Catalogue.of(settings, patient=False)
    return {
        "models": tuple(manifest.ref for manifest in catalogue.manifests().values()),
        "profiles": catalogue.profiles(),
        "faults": catalogue.faults(),
    }


async def _probe(question: Awaitable[object]) -> str:
    """ok, or unavailable where the question fails or takes too long."""
    try:
        await question
    except (MatchcutError, TimeoutError) as failure:
        log.error("health: %s", redact(str(failure) or type(failure).__name__))
        return "unavailable"
    return "ok"


@serve(blueprint)
async def openapi_document(req: func.HttpRequest) -> func.HttpResponse:
    return _document(openapi, "application/json")


@serve(blueprint)
async def schema_document(req: func.HttpRequest) -> func.HttpResponse:
    return _document(result_schema, "application/schema+json")


@lru_cache
def _document(make: Callable[[], dict[str, Any]], media_type: str) -> func.HttpResponse:
    """Made once in a process: it never changes, and takes a while to make."""
    return answer(make(), media_type=media_type)
