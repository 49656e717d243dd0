"""Handlers of batches: submit, follow, list as CSV."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import azure.durable_functions as df
import azure.functions as func

from orchestrator.http.binding import (
    RETRY_AFTER_S,
    answer,
    caller_of,
    idempotency_key,
    problems_as_json,
    serve,
)
from orchestrator.starting import ensure_expanded
from orchestrator.threads import API
from shared.cache import Cache
from shared.contracts import Batch, BatchStatus
from shared.jobs import batches
from shared.settings import Settings
from shared.storage import BlobStore

blueprint = df.Blueprint()

_JSON_LINES = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")
_STATUSES = Cache[BatchStatus](RETRY_AFTER_S / 2, ttl_per_load=9)
"""By store and batch. A status lists all jobs of its batch, so polls in quick succession share one."""


@serve(blueprint)
@problems_as_json
async def submit_batch(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    key = idempotency_key(req)
    media_type = req.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    body, lines = req.get_body(), media_type in _JSON_LINES
    batch = await API.run(_accept, body, lines, key, caller_of(req))
    found = await API.run(batches.describe_batch, batch, datetime.now(UTC))
    if found.state == "Accepting":
        await ensure_expanded(client, batch)
    return answer(found, 202, Location=found.links["self"], Retry_After=str(RETRY_AFTER_S))


def _accept(
    settings: Settings, store: BlobStore, body: bytes, lines: bool, key: str | None, caller: str | None
) -> Batch:
    name, requests = batches.parse_batch(body, lines)
    return batches.accept_batch(settings, store, name, requests, key, caller)


@serve(blueprint)
@problems_as_json
async def batch_status(req: func.HttpRequest) -> func.HttpResponse:
    found = await API.run(_find_status, req.route_params["id"])
    if found.state == "Ended":
        return answer(found)
    return answer(found, 202, Retry_After=str(RETRY_AFTER_S))


def _find_status(settings: Settings, store: BlobStore, batch: str) -> BatchStatus:
    """Raises BatchNotFound."""
    return _STATUSES.get_shared((store, batch), partial(_describe, settings, store, batch))


def _describe(settings: Settings, store: BlobStore, batch: str) -> BatchStatus:
    return batches.describe_batch(settings, store, batches.find_batch(store, batch), datetime.now(UTC))


@serve(blueprint)
@problems_as_json
async def batch_csv(req: func.HttpRequest) -> func.HttpResponse:
    batch = await API.run_with_store(batches.find_batch, req.route_params["id"])
    text = await API.run(batches.batch_csv, batch)
    name = {"Content-Disposition": f'attachment; filename="{batch.id}.csv"'}
    return func.HttpResponse(text, mimetype="text/csv", charset="utf-8", headers=name)
