"""Handlers of jobs: submit, list, follow, cancel, retry, fetch a file."""

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
from orchestrator.starting import ensure_started, find_instance, start_next_runs
from orchestrator.threads import API, SOURCES
from shared import jobs
from shared.cache import Cache
from shared.contracts import JobAccepted, State, StoredRequest
from shared.errors import InvalidRequest
from shared.jobs import Seen, describe, listing, see, see_run, see_waiting, waiting
from shared.settings import Settings, get_settings
from shared.storage import BlobStore, find_end, find_request

blueprint = df.Blueprint()

_WAITING = Cache[dict[str, str]](RETRY_AFTER_S / 2, ttl_per_load=9)
"""waiting() by store. It may miss what other processes did since: a cancel, or the same POST on its own."""


@serve(blueprint)
@problems_as_json
async def submit(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    key = idempotency_key(req)
    stored = await SOURCES.run(jobs.accept, req.get_body(), key, caller_of(req))
    end = await API.run_with_store(find_end, stored.run)
    if end is not None:
        accepted = _accepted(stored, end.state)
        return answer(accepted, Location=accepted.status_url)
    await API.run_with_store(_WAITING.discard)
    await ensure_started(client, stored, API)
    return _answer_accepted(stored)


def _accepted(stored: StoredRequest, state: State) -> JobAccepted:
    url = jobs.status_url(get_settings(), stored.job)
    return JobAccepted(id=stored.job, state=state, status_url=url)


def _answer_accepted(stored: StoredRequest) -> func.HttpResponse:
    accepted = _accepted(stored, State.QUEUED)
    return answer(accepted, 202, Location=accepted.status_url, Retry_After=str(RETRY_AFTER_S))


@serve(blueprint)
@problems_as_json
async def list_jobs(req: func.HttpRequest) -> func.HttpResponse:
    query = listing.parse_query(req.params)
    return answer(await API.run(listing.list_jobs, **query))


@serve(blueprint)
@problems_as_json
async def status(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    job, running = req.route_params["id"], None
    seen, waits = await API.run(_see, job)
    if seen.end is None and not waits:
        running = await find_instance(client, seen.stored.run)
        if running is not None and running.over:  # it may have ended since it was seen
            seen = await API.run_with_store(see, job)
    found = await API.run(describe, seen, running, datetime.now(UTC))
    if found.state.ended:
        return answer(found)
    return answer(found, 202, Retry_After=str(RETRY_AFTER_S))


def _see(settings: Settings, store: BlobStore, job: str) -> tuple[Seen, bool]:
    """The last attempt at a job, and whether it waits in a batch. Raises JobNotFound."""
    run = _WAITING.get_shared(store, partial(waiting, settings, store)).get(job)
    return (see_waiting(store, run), True) if run else (see(store, job), False)


@serve(blueprint)
@problems_as_json
async def cancel(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    stored = await API.run_with_store(find_request, req.route_params["id"])
    _, by_this_call = await API.run_with_store(jobs.cancel, stored)
    await API.run_with_store(_WAITING.discard)
    if by_this_call:
        for instance in await API.run_with_store(jobs.instances, stored.run):
            running = await find_instance(client, instance)
            if running is not None and not running.over:
                await client.terminate(instance, "cancelled")
        if stored.request.callback or stored.priority == "batch":
            await start_next_runs(client, API)  # the terminated instance cannot
    seen = await API.run_with_store(see_run, stored)
    found = await API.run(describe, seen, None, datetime.now(UTC))
    return answer(found, 202 if by_this_call else 200)


@serve(blueprint)
@problems_as_json
async def events(req: func.HttpRequest) -> func.HttpResponse:
    after = req.params.get("after", "0")
    if not (after.isascii() and after.isdigit() and len(after) < 10):
        raise InvalidRequest("after: the revision of an earlier answer, a number.")
    stored = await API.run_with_store(find_request, req.route_params["id"])
    return answer(await API.run_with_store(jobs.events_so_far, stored, int(after)))


@serve(blueprint)
@problems_as_json
async def retry(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    stored = await API.run_with_store(find_request, req.route_params["id"])
    attempt = await SOURCES.run(jobs.retry, stored, req.get_body(), caller_of(req))
    await ensure_started(client, attempt, API)
    return _answer_accepted(attempt)


@serve(blueprint)
@problems_as_json
async def file(req: func.HttpRequest) -> func.HttpResponse:
    job, name = req.route_params["id"], req.route_params["name"]
    content, media_type = await API.run_with_store(jobs.result_file, job, name)
    return func.HttpResponse(content, mimetype=media_type.split(";")[0], charset="utf-8")
