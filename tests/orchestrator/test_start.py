"""Starting a run: look first, and never answer 202 for a job that nothing runs."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from infra.local.azurite import Azurite
from orchestrator import http_api
from orchestrator.starting import ensure_started
from shared.errors import StorageUnavailable
from shared.jobs import find_request
from shared.steps import find_secret
from tests.shared.clips import make_clip
from tests.shared.inline import Bench

pytestmark = pytest.mark.azurite


class Client:
    """The part of the durable client that is used; `instances` is what the host says of each."""

    def __init__(self, instances: dict[str, str], refuses: bool = False) -> None:
        self.instances, self.refuses = instances, refuses
        self.started: list[str] = []

    async def get_status(self, instance: str) -> Any:
        found = self.instances.get(instance)
        return SimpleNamespace(
            runtime_status=SimpleNamespace(value=found) if found else None, custom_status=None
        )

    async def start_new(self, name: str, instance_id: str, client_input: Any) -> None:
        if self.refuses:
            raise RuntimeError("the host says no")
        assert {"job", "batch"} == set(client_input)
        assert client_input["job"] == instance_id
        self.started.append(instance_id)


@pytest.fixture
def bench(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(azurite.connection_string)
    monkeypatch.setattr(http_api, "get_settings", lambda: bench.settings)
    monkeypatch.setattr(http_api, "_store", lambda settings: bench.store)
    return bench


def start(client: Client, stored: Any) -> None:
    asyncio.run(ensure_started(client, stored, http_api._in_thread))


def test_a_run_that_is_there_is_not_started_twice(bench: Bench) -> None:
    stored = bench.request(bench.upload(make_clip(5)))
    client = Client({stored.run: "Running"})
    start(client, stored)
    assert client.started == []


def test_a_new_run_is_started_under_its_own_id(bench: Bench) -> None:
    stored = bench.request(bench.upload(make_clip(5)))
    client = Client({})
    start(client, stored)
    assert client.started == [stored.run]


def test_a_start_that_is_refused_is_an_error_and_not_a_job_that_waits_for_ever(bench: Bench) -> None:
    stored = bench.request(bench.upload(make_clip(5)))
    with pytest.raises(StorageUnavailable):
        start(Client({}, refuses=True), stored)


def test_a_run_that_is_over_without_a_last_word_gets_a_new_attempt(bench: Bench) -> None:
    stored = bench.request(bench.sas(bench.upload(make_clip(5))))
    client = Client({stored.run: "Failed"})
    start(client, stored)
    assert client.started == [f"{stored.job}-2"]
    again = find_request(bench.store, stored.job)
    assert again.attempt == 2
    assert find_secret(bench.store, stored) == ""
    assert "sig=" in find_secret(bench.store, again)
