"""What one worker process does with a request, here in the process of the test."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator

import pytest

from infra.local.app import App
from infra.local.http import PREFIX, client_binding
from infra.local.workers.worker import run
from tests.support.tiny import Api

_KEEP_ALIVE_S = 5
"""uvicorn's: a connection that is idle for longer is closed by the host."""


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.e2e
def test_a_durable_client_works_again_after_its_worker_has_been_idle(
    api: Api, tiny: App, loop: asyncio.Runner
) -> None:
    binding = client_binding(api.host.base_url + PREFIX, "")
    for round_ in ("before", "after"):
        task = json.dumps({"ids": [f"idle-{round_}"], "name": "fan_out", "value": 1})
        kind, answer = run(tiny, ("start_others", task, "id"), binding, loop)[:2]
        assert ("result", [f"idle-{round_}"]) == (kind, json.loads(answer)["started"])
        if round_ == "before":
            time.sleep(_KEEP_ALIVE_S + 1)


def test_calls_that_fail_side_by_side_leave_nothing_that_breaks_the_next_activity(
    tiny: App, loop: asyncio.Runner
) -> None:
    """They contend for the SDK's session lock, which is from then on bound to its event loop."""
    binding = client_binding(f"http://127.0.0.1:1{PREFIX}", "")
    for _ in range(2):
        failed = run(tiny, ("look_at", json.dumps([*"abcde"]), "id"), binding, loop)
        assert ("failed", "ClientConnectorError") == failed[:2]
