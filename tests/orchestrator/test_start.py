"""Starting a run: look first, and never answer 202 for a job that nothing runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import ClientConnectionError

from infra.local.azurite import Azurite
from orchestrator import threads
from orchestrator.starting import ensure_started, start_next_runs, start_open_work
from shared import names
from shared.errors import StorageUnavailable
from shared.jobs.batches import accept_batch, parse_batch
from shared.storage import find_request, find_sas, paths
from tests.support.clips import make_clip
from tests.support.durable_client import Client
from tests.support.in_process import InProcessService

pytestmark = pytest.mark.azurite


class LateClient(Client):
    """Somebody else starts each instance between its look and its start."""

    async def start_new(self, name: str, instance_id: str, client_input: Any) -> None:
        self.instances[instance_id] = "Running"
        raise RuntimeError(f"{instance_id} already exists")


@pytest.fixture
def service(azurite: Azurite, serve_from: Callable[[InProcessService], InProcessService]) -> InProcessService:
    return serve_from(InProcessService(azurite.connection_string))


def start(client: Client, stored: Any) -> None:
    asyncio.run(ensure_started(client, stored, threads.API))


def test_a_run_that_is_there_is_not_started_twice(service: InProcessService) -> None:
    stored = service.request(service.upload(make_clip(5)))
    client = Client({stored.run: "Running"})
    start(client, stored)
    assert client.started == []


def test_a_new_run_is_started_under_its_own_id(service: InProcessService) -> None:
    stored = service.request(service.upload(make_clip(5)))
    client = Client({})
    start(client, stored)
    assert client.started == [stored.run]


def test_a_start_that_is_refused_is_an_error_and_not_a_job_that_waits_for_ever(
    service: InProcessService,
) -> None:
    stored = service.request(service.upload(make_clip(5)))
    with pytest.raises(StorageUnavailable):
        start(Client({}, refuses=True), stored)


def test_a_run_that_is_over_without_a_last_word_gets_a_new_attempt(service: InProcessService) -> None:
    stored = service.request(service.sas(service.upload(make_clip(5))))
    client = Client({stored.run: "Failed"})
    start(client, stored)
    assert client.started == [f"{stored.job}-2"]
    again = find_request(service.store, stored.job)
    assert again.attempt == 2
    assert find_sas(service.store, stored) == ""
    assert "sig=" in find_sas(service.store, again)


def test_those_whose_turn_it_is_are_started_and_no_others(service: InProcessService) -> None:
    url = service.upload(make_clip(5))
    batch = [service.request(url, priority="batch", name=f"b{n}").run for n in range(6)]
    alone = service.request(url, name="alone").run
    client = Client({batch[0]: "Running"})
    assert 1 + service.settings.batch_jobs == asyncio.run(start_next_runs(client, threads.API))
    assert [alone, *batch[1:4]] == client.started
    assert ("job", {"job": alone, "batch": False, "leads": False}) == client.inputs[alone]
    assert ("job", {"job": batch[1], "batch": True, "leads": True}) == client.inputs[batch[1]]


def test_what_a_dead_process_has_left_is_tended(service: InProcessService) -> None:
    url = service.upload(make_clip(5))
    lost = service.request(url).run
    body = json.dumps({"videos": [url] * 30}).encode()
    batch = accept_batch(service.settings, service.store, *parse_batch(body, lines=False), None)
    client = Client({})
    asyncio.run(start_open_work(client, threads.API))
    assert [batch.id, lost] == client.started
    assert ("batch", {"total": 30}) == client.inputs[batch.id]


@pytest.mark.parametrize("kind", [Client, LateClient])
def test_of_two_that_tend_at_once_the_later_one_is_refused_and_content(
    service: InProcessService, kind: type[Client]
) -> None:
    url = service.upload(make_clip(5))
    lost = service.request(url).run
    service.store.put(paths.open_callback_path("m-1"), b"")
    body = json.dumps({"videos": [url]}).encode()
    batch = accept_batch(service.settings, service.store, *parse_batch(body, lines=False), None)
    client = kind({})
    asyncio.run(start_open_work(client, threads.API))
    known = client.instances.keys() | set(client.started)
    assert {batch.id, lost, names.callback_id("m-1")} == known


def test_a_callback_that_the_host_does_not_start_is_trouble_that_may_pass(service: InProcessService) -> None:
    service.store.put(paths.open_callback_path("m-1"), b"")
    with pytest.raises(StorageUnavailable):
        asyncio.run(start_open_work(Client({}, refuses=True), threads.API))


class DeafClient(Client):
    """Its host was killed a moment ago."""

    async def get_status(self, instance: str) -> Any:
        raise ClientConnectionError("Cannot connect to host 127.0.0.1")


def test_a_host_that_does_not_tell_of_a_run_is_trouble_that_may_pass(service: InProcessService) -> None:
    stored = service.request(service.upload(make_clip(5)))
    with pytest.raises(StorageUnavailable, match="ClientConnectionError"):
        start(DeafClient({}), stored)
