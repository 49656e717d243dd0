"""The HTTP API: bindings over shared.jobs. Errors are problem+json (RFC 9457)."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import lru_cache, partial, wraps
from http import HTTPStatus
from typing import Any

import azure.durable_functions as df
import azure.functions as func
from pydantic import BaseModel

from orchestrator.openapi import openapi, result_schema
from orchestrator.recent import Recent
from orchestrator.starting import ensure_expanded, ensure_started, live, start_next
from orchestrator.threads import API, SOURCES
from shared import jobs
from shared.contracts import (
    Batch,
    BatchStatus,
    Health,
    JobAccepted,
    ModelRef,
    Problem,
    State,
)
from shared.errors import InvalidRequest, MatchcutError
from shared.jobs import (
    Seen,
    batches,
    describe,
    events_so_far,
    listing,
    quotas,
    see,
    see_run,
    see_waiting,
    waiting,
)
from shared.models import Catalogue
from shared.redact import redact
from shared.settings import VERSION, Settings, get_settings
from shared.storage import BlobStore, records

blueprint = df.Blueprint(http_auth_level=func.AuthLevel.FUNCTION)
log = logging.getLogger("matchcut")

RETRY_AFTER_S = 2

Handler = Callable[..., Awaitable[func.HttpResponse]]


def _answer(
    body: BaseModel | dict[str, Any], status: int = 200, media_type: str = "application/json", **headers: str
) -> func.HttpResponse:
    text = body.model_dump_json() if isinstance(body, BaseModel) else json.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return func.HttpResponse(text, status_code=status, mimetype=media_type, headers=named)


def _problem(failure: MatchcutError) -> func.HttpResponse:
    problem = Problem(
        type=f"urn:matchcut:problem:{failure.code}",
        title=HTTPStatus(failure.status).phrase,
        status=failure.status,
        detail=redact(failure.message),
        code=failure.code,
        action=failure.action,
        errors=failure.fields if isinstance(failure, jobs.InvalidFields) else (),
    )
    retry = {"Retry_After": "60"} if failure.retryable else {}
    return _answer(problem, failure.status, "application/problem+json", **retry)


def _problems_as_json(handler: Handler) -> Handler:
    """Expected failures become problems; unexpected ones too, without their text."""

    @wraps(handler)
    async def guarded(*args: Any, **kwargs: Any) -> func.HttpResponse:
        try:
            return await handler(*args, **kwargs)
        except MatchcutError as failure:
            return _problem(failure)
        except Exception:
            log.error("unexpected failure in %s\n%s", handler.__name__, redact(traceback.format_exc()))
            return _problem(MatchcutError("The service failed to answer this request."))

    return guarded


@blueprint.route(route="jobs", methods=["POST"])
@blueprint.durable_client_input(client_name="client")
@_problems_as_json
async def submit(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    key = _idempotency_key(req)
    stored = await SOURCES.run(jobs.accept, req.get_body(), key, _caller(req))
    end = await API.run_with_store(records.find_end, stored.run)
    if end is None:
        await API.run_with_store(_WAITING.forget)
        await ensure_started(client, stored, API)
    url = jobs.status_url(get_settings(), stored.job)
    accepted = JobAccepted(id=stored.job, state=end.state if end else State.QUEUED, status_url=url)
    if end:
        return _answer(accepted, 200, Location=url)
    return _answer(accepted, 202, Location=url, Retry_After=str(RETRY_AFTER_S))


def _caller(req: func.HttpRequest) -> str | None:
    headers = {name.lower(): value for name, value in req.headers.items()}
    return quotas.caller_id(get_settings(), headers, req.params)


def _idempotency_key(req: func.HttpRequest) -> str | None:
    key: str | None = req.headers.get("Idempotency-Key")
    if key is not None and not 1 <= len(key) <= 200:
        raise InvalidRequest("Idempotency-Key has 1 to 200 characters.")
    return key


@blueprint.route(route="jobs/{id}", methods=["GET"])
@blueprint.durable_client_input(client_name="client")
@_problems_as_json
async def status(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    job, running = req.route_params["id"], None
    seen, waits = await API.run(_see, job)
    if seen.end is None and not waits:
        running = await live(client, seen.stored.run)
        if running is not None and running.over:  # it may have ended since it was seen
            seen = await API.run_with_store(see, job)
    found = await API.run(describe, seen, running, datetime.now(UTC))
    if found.state.ended:
        return _answer(found)
    return _answer(found, 202, Retry_After=str(RETRY_AFTER_S))


def _see(settings: Settings, store: BlobStore, job: str) -> tuple[Seen, bool]:
    """The last attempt at a job, and whether it waits in a batch. Raises JobNotFound."""
    run = _WAITING.get(store, partial(waiting, settings, store)).get(job)
    return (see_waiting(store, run), True) if run else (see(store, job), False)


_WAITING = Recent[dict[str, str]](RETRY_AFTER_S / 2, dearth=9)
"""Elsewhere one of them may have been cancelled, or asked for by somebody who waits, so long ago at most."""


@blueprint.route(route="jobs/{id}", methods=["DELETE"])
@blueprint.durable_client_input(client_name="client")
@_problems_as_json
async def cancel(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    stored = await API.run_with_store(records.find_request, req.route_params["id"])
    _, by_this_call = await API.run_with_store(jobs.cancel, stored)
    await API.run_with_store(_WAITING.forget)
    if by_this_call:
        for instance in await API.run_with_store(jobs.instances, stored.run):
            running = await live(client, instance)
            if running is not None and not running.over:
                await client.terminate(instance, "cancelled")
        if stored.request.callback or stored.priority == "batch":
            await start_next(client, API)  # its flow was ended, and cannot do so
    seen = await API.run_with_store(see_run, stored)
    found = await API.run(describe, seen, None, datetime.now(UTC))
    return _answer(found, 202 if by_this_call else 200)


@blueprint.route(route="jobs/{id}/events", methods=["GET"])
@_problems_as_json
async def events(req: func.HttpRequest) -> func.HttpResponse:
    after = req.params.get("after", "0")
    if not (after.isascii() and after.isdigit() and len(after) < 10):
        raise InvalidRequest("after: the revision of an earlier answer, a number.")
    stored = await API.run_with_store(records.find_request, req.route_params["id"])
    return _answer(await API.run_with_store(events_so_far, stored, int(after)))


@blueprint.route(route="jobs/{id}/retry", methods=["POST"])
@blueprint.durable_client_input(client_name="client")
@_problems_as_json
async def retry(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    stored = await API.run_with_store(records.find_request, req.route_params["id"])
    again = await SOURCES.run(jobs.retry, stored, req.get_body(), _caller(req))
    await ensure_started(client, again, API)
    url = jobs.status_url(get_settings(), again.job)
    accepted = JobAccepted(id=again.job, state=State.QUEUED, status_url=url)
    return _answer(accepted, 202, Location=url, Retry_After=str(RETRY_AFTER_S))


@blueprint.route(route="jobs/{id}/files/{name}", methods=["GET"])
@_problems_as_json
async def file(req: func.HttpRequest) -> func.HttpResponse:
    job, name = req.route_params["id"], req.route_params["name"]
    content, media_type = await API.run_with_store(jobs.result_file, job, name)
    return func.HttpResponse(content, mimetype=media_type.split(";")[0], charset="utf-8")


@blueprint.route(route="jobs", methods=["GET"])
@_problems_as_json
async def list_jobs(req: func.HttpRequest) -> func.HttpResponse:
    query = listing.parse_query(req.params)
    return _answer(await API.run(listing.list_jobs, **query))


@blueprint.route(route="batches", methods=["POST"])
@blueprint.durable_client_input(client_name="client")
@_problems_as_json
async def submit_batch(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    key = _idempotency_key(req)
    media_type = req.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    body, lines = req.get_body(), media_type in _JSON_LINES
    batch = await API.run(_accept_batch, body, lines, key, _caller(req))
    found = await API.run(batches.describe_batch, batch, datetime.now(UTC))
    if found.state == "Accepting":
        await ensure_expanded(client, batch)
    return _answer(found, 202, Location=found.links["self"], Retry_After=str(RETRY_AFTER_S))


def _accept_batch(
    settings: Settings, store: BlobStore, body: bytes, lines: bool, key: str | None, caller: str | None
) -> Batch:
    name, requests = batches.parse_batch(body, lines)
    return batches.accept_batch(settings, store, name, requests, key, caller)


_JSON_LINES = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")


_BATCHES = Recent[BatchStatus](RETRY_AFTER_S / 2, dearth=9)
"""It takes a listing of all of its jobs; who polls as Retry-After says is answered anew each time."""


def _batch_status(settings: Settings, store: BlobStore, batch: str) -> BatchStatus:
    """Raises BatchNotFound."""
    return _BATCHES.get((store, batch), partial(_find_batch_status, settings, store, batch))


def _find_batch_status(settings: Settings, store: BlobStore, batch: str) -> BatchStatus:
    return batches.describe_batch(settings, store, batches.find_batch(store, batch), datetime.now(UTC))


@blueprint.route(route="batches/{id}", methods=["GET"])
@_problems_as_json
async def batch_status(req: func.HttpRequest) -> func.HttpResponse:
    found = await API.run(_batch_status, req.route_params["id"])
    if found.state == "Ended":
        return _answer(found)
    return _answer(found, 202, Retry_After=str(RETRY_AFTER_S))


@blueprint.route(route="batches/{id}/csv", methods=["GET"])
@_problems_as_json
async def batch_csv(req: func.HttpRequest) -> func.HttpResponse:
    batch = await API.run_with_store(batches.find_batch, req.route_params["id"])
    text = await API.run(batches.batch_csv, batch)
    name = {"Content-Disposition": f'attachment; filename="{batch.id}.csv"'}
    return func.HttpResponse(text, mimetype="text/csv", charset="utf-8", headers=name)


_HUB_S = 5.0
"""So long health waits for the task hub: half of what the probes of the pods wait for health."""


@blueprint.route(route="health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
@blueprint.durable_client_input(client_name="client")
async def health(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Through a durable client, so that a host that refuses the binding is not healthy either."""
    settings = get_settings()
    models: tuple[ModelRef, ...] = ()
    profiles: tuple[str, ...] = ()
    faults: dict[str, str] = {}
    well = True

    def look() -> None:
        nonlocal models, profiles, faults
        catalogue = Catalogue.of(settings, patient=False)
        models = tuple(manifest.ref for manifest in catalogue.manifests().values())
        profiles, faults = catalogue.profiles(), catalogue.faults()

    try:
        await asyncio.to_thread(look)
        well = not faults
    except MatchcutError as failure:
        log.error("health: %s", failure.message)
        well = False
    storage, hub = await asyncio.gather(
        _answers(API.run_with_store(BlobStore.exists, "health")),
        _answers(asyncio.wait_for(live(client, "health"), _HUB_S)),  # no run has this name: one look-up
    )
    well = well and storage == hub == "ok"
    body = Health.model_validate(
        {
            "status": "ok" if well else "degraded",
            "version": VERSION,
            "models": models,
            "profiles": profiles,
            "faults": faults,
            "storage": storage,
            "hub": hub,
        }
    )
    return _answer(body, 200 if well else 503)


async def _answers(look: Awaitable[object]) -> str:
    try:
        await look
    except (MatchcutError, TimeoutError) as failure:
        log.error("health: %s", redact(str(failure) or type(failure).__name__))
        return "unavailable"
    return "ok"


@blueprint.route(route="openapi.json", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def openapi_document(req: func.HttpRequest) -> func.HttpResponse:
    return _document(openapi, "application/json")


@blueprint.route(route="schemas/result.json", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def schema_document(req: func.HttpRequest) -> func.HttpResponse:
    return _document(result_schema, "application/schema+json")


@lru_cache
def _document(make: Callable[[], dict[str, Any]], media_type: str) -> func.HttpResponse:
    """The same for as long as the process lives, and dear to make."""
    return _answer(make(), media_type=media_type)
