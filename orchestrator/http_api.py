"""The HTTP API: bindings over shared.jobs. Errors are problem+json (RFC 9457)."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import lru_cache, wraps
from http import HTTPStatus
from typing import Any, TypeVar

import azure.durable_functions as df
import azure.functions as func
from pydantic import BaseModel

from orchestrator.openapi import openapi, result_schema
from orchestrator.recent import Recent
from orchestrator.starting import ensure_expanded, ensure_started, live, start_next, tend
from shared import jobs
from shared.contracts import (
    Batch,
    BatchStatus,
    Health,
    JobAccepted,
    ModelRef,
    Problem,
    State,
    StoredRequest,
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
from shared.storage import BlobStore, Records, records

blueprint = df.Blueprint(http_auth_level=func.AuthLevel.FUNCTION)
log = logging.getLogger("matchcut")

RETRY_AFTER_S = 2

Handler = Callable[..., Awaitable[func.HttpResponse]]
T = TypeVar("T")


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


@lru_cache(maxsize=1)
def _store(settings: Settings) -> BlobStore:
    return BlobStore.from_settings(settings, patient=False)


async def _in_thread(work: Callable[[Settings, BlobStore], T]) -> T:
    """Storage calls block, so they run beside the event loop."""
    return await _in_one_of(_threads(), work)


async def _at_source(work: Callable[[Settings, BlobStore], T]) -> T:
    """The same of work that asks a caller's host: one that answers slowly keeps nobody from a status."""
    return await _in_one_of(_source_threads(), work)


async def _in_one_of(threads: ThreadPoolExecutor, work: Callable[[Settings, BlobStore], T]) -> T:
    settings = get_settings()
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(threads, lambda: work(settings, _store(settings)))


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(64, "api")


SOURCE_THREADS = 32


@lru_cache(maxsize=1)
def _source_threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(SOURCE_THREADS, "sources")


async def _request(job: str) -> StoredRequest:
    return await _in_thread(lambda settings, store: records.find_request(store, job))


@blueprint.route(route="jobs", methods=["POST"])
@blueprint.durable_client_input(client_name="client")
@_problems_as_json
async def submit(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    key = _idempotency_key(req)
    stored = await _at_source(
        lambda settings, store: jobs.accept(settings, store, req.get_body(), key, _caller(settings, req))
    )
    end = await _in_thread(lambda settings, store: Records(store, stored.run).find_end())
    if end is None:
        await _in_thread(lambda settings, store: _WAITING.forget(store))
        await ensure_started(client, stored, _in_thread)
    url = jobs.status_url(get_settings(), stored.job)
    accepted = JobAccepted(id=stored.job, state=end.state if end else State.QUEUED, status_url=url)
    if end:
        return _answer(accepted, 200, Location=url)
    return _answer(accepted, 202, Location=url, Retry_After=str(RETRY_AFTER_S))


def _caller(settings: Settings, req: func.HttpRequest) -> str | None:
    headers = {name.lower(): value for name, value in req.headers.items()}
    return quotas.caller_id(settings, headers, req.params)


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

    def look(settings: Settings, store: BlobStore) -> tuple[Seen, bool]:
        run = _WAITING.get(store, lambda: waiting(settings, store)).get(job)
        return (see_waiting(store, run), True) if run else (see(store, job), False)

    seen, waits = await _in_thread(look)
    if seen.end is None and not waits:
        running = await live(client, seen.stored.run)
        if running is not None and running.over:  # it may have ended since it was seen
            seen = await _in_thread(lambda settings, store: see(store, job))
    now = datetime.now(UTC)
    found = await _in_thread(lambda settings, store: describe(settings, store, seen, running, now))
    if found.state.ended:
        return _answer(found)
    return _answer(found, 202, Retry_After=str(RETRY_AFTER_S))


_WAITING = Recent[dict[str, str]](RETRY_AFTER_S / 2, dearth=9)
"""Elsewhere one of them may have been cancelled, or asked for by somebody who waits, so long ago at most."""


@blueprint.route(route="jobs/{id}", methods=["DELETE"])
@blueprint.durable_client_input(client_name="client")
@_problems_as_json
async def cancel(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    stored = await _request(req.route_params["id"])
    _, by_this_call = await _in_thread(lambda settings, store: jobs.cancel(store, stored))
    await _in_thread(lambda settings, store: _WAITING.forget(store))
    if by_this_call:
        for instance in await _in_thread(lambda settings, store: jobs.instances(store, stored.run)):
            running = await live(client, instance)
            if running is not None and not running.over:
                await client.terminate(instance, "cancelled")
        if stored.request.callback or stored.priority == "batch":
            await start_next(client, _in_thread)  # its flow was ended, and cannot do so
    now = datetime.now(UTC)
    found = await _in_thread(
        lambda settings, store: describe(settings, store, see_run(store, stored), None, now)
    )
    return _answer(found, 202 if by_this_call else 200)


@blueprint.route(route="jobs/{id}/events", methods=["GET"])
@_problems_as_json
async def events(req: func.HttpRequest) -> func.HttpResponse:
    after = req.params.get("after", "0")
    if not (after.isascii() and after.isdigit() and len(after) < 10):
        raise InvalidRequest("after: the revision of an earlier answer, a number.")
    stored = await _request(req.route_params["id"])
    return _answer(await _in_thread(lambda settings, store: events_so_far(store, stored, int(after))))


@blueprint.route(route="jobs/{id}/retry", methods=["POST"])
@blueprint.durable_client_input(client_name="client")
@_problems_as_json
async def retry(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    stored = await _request(req.route_params["id"])
    again = await _at_source(
        lambda settings, store: jobs.retry(settings, store, stored, req.get_body(), _caller(settings, req))
    )
    await ensure_started(client, again, _in_thread)
    url = jobs.status_url(get_settings(), again.job)
    accepted = JobAccepted(id=again.job, state=State.QUEUED, status_url=url)
    return _answer(accepted, 202, Location=url, Retry_After=str(RETRY_AFTER_S))


@blueprint.route(route="jobs/{id}/files/{name}", methods=["GET"])
@_problems_as_json
async def file(req: func.HttpRequest) -> func.HttpResponse:
    job, name = req.route_params["id"], req.route_params["name"]
    content, media_type = await _in_thread(lambda settings, store: jobs.result_file(store, job, name))
    return func.HttpResponse(content, mimetype=media_type.split(";")[0], charset="utf-8")


@blueprint.route(route="jobs", methods=["GET"])
@_problems_as_json
async def list_jobs(req: func.HttpRequest) -> func.HttpResponse:
    query = listing.parse_query(req.params)
    return _answer(await _in_thread(lambda settings, store: listing.list_jobs(settings, store, **query)))


@blueprint.route(route="batches", methods=["POST"])
@blueprint.durable_client_input(client_name="client")
@_problems_as_json
async def submit_batch(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    key = _idempotency_key(req)
    media_type = req.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    def accept(settings: Settings, store: BlobStore) -> Batch:
        name, requests = batches.parse_batch(req.get_body(), lines=media_type in _JSON_LINES)
        return batches.accept_batch(settings, store, name, requests, key, _caller(settings, req))

    batch = await _in_thread(accept)
    found = await _in_thread(_described(batch))
    if found.state == "Accepting":
        await ensure_expanded(client, batch)
    return _answer(found, 202, Location=found.links["self"], Retry_After=str(RETRY_AFTER_S))


_JSON_LINES = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")


_BATCHES = Recent[BatchStatus](RETRY_AFTER_S / 2, dearth=9)
"""It takes a listing of all of its jobs; who polls as Retry-After says is answered anew each time."""


def _described(batch: Batch) -> Callable[[Settings, BlobStore], BatchStatus]:
    now = datetime.now(UTC)
    return lambda settings, store: batches.describe_batch(settings, store, batch, now)


@blueprint.route(route="batches/{id}", methods=["GET"])
@_problems_as_json
async def batch_status(req: func.HttpRequest) -> func.HttpResponse:
    batch = req.route_params["id"]

    def find(settings: Settings, store: BlobStore) -> BatchStatus:
        return _described(batches.find_batch(store, batch))(settings, store)

    found = await _in_thread(lambda *at: _BATCHES.get((at[1], batch), lambda: find(*at)))
    if found.state == "Ended":
        return _answer(found)
    return _answer(found, 202, Retry_After=str(RETRY_AFTER_S))


@blueprint.route(route="batches/{id}/csv", methods=["GET"])
@_problems_as_json
async def batch_csv(req: func.HttpRequest) -> func.HttpResponse:
    batch = await _batch(req.route_params["id"])
    text = await _in_thread(lambda settings, store: batches.batch_csv(settings, store, batch))
    name = {"Content-Disposition": f'attachment; filename="{batch.id}.csv"'}
    return func.HttpResponse(text, mimetype="text/csv", charset="utf-8", headers=name)


async def _batch(batch: str) -> Batch:
    return await _in_thread(lambda settings, store: batches.find_batch(store, batch))


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
        _answers(_in_thread(lambda settings, store: store.exists("health"))),
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


@blueprint.timer_trigger(schedule="*/30 * * * * *", arg_name="timer", run_on_startup=True)
@blueprint.durable_client_input(client_name="client")
async def tend_open(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    """Nothing that was accepted waits for ever, whoever died."""
    try:
        await tend(client, _in_thread)
    except MatchcutError as failure:
        log.warning("tend: %s", redact(failure.message))
