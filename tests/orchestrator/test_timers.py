"""The daily sweep, over Azurite and over the history of a running host."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta

import pytest
from azure.durable_functions import DurableOrchestrationClient
from azure.durable_functions.models.utils import http_utils

from infra.local.app import load
from infra.local.azurite import Azurite
from infra.local.embedded import EmbeddedHost
from infra.local.http import PREFIX, client_binding
from orchestrator.timers import purge_old_history, remove_old_records
from shared.settings import RETENTION_SCHEDULE, Settings, retention_schedule
from tests.support.clips import make_clip
from tests.support.in_process import InProcessService
from tests.support.tiny import TINY

pytestmark = pytest.mark.azurite


def test_the_sweep_says_what_it_removed(azurite: Azurite, caplog: pytest.LogCaptureFixture) -> None:
    service = InProcessService(azurite.connection_string)
    service.run(service.upload(make_clip(5)), models=["motion"])
    time.sleep(1.1)  # storage tells times in whole seconds
    with caplog.at_level(logging.INFO, "matchcut"):
        remove_old_records(service.settings, datetime.now(UTC) + timedelta(days=100))
    assert "retention removed: 1 jobs (" in caplog.text
    assert [] == list(service.store.list(""))


def test_history_is_purged_of_what_is_over_and_began_long_ago(caplog: pytest.LogCaptureFixture) -> None:
    kept, dry, wet = (
        Settings(storage="x", retention_history_days=days, retention_dry_run=dry)
        for days, dry in ((0, False), (14, True), (14, False))
    )
    with EmbeddedHost(app=TINY, workers=1, storage="UseDevelopmentStorage=true") as host:
        client = DurableOrchestrationClient(client_binding(host.base_url + PREFIX, "TestHubName"))

        async def there() -> list[bool]:
            found = [await client.get_status(instance) for instance in ("over", "waits")]
            return [status.runtime_status is not None for status in found]

        async def run() -> list[list[bool]]:
            await client.start_new("one", "over", {"activity": "double", "input": 1})
            await client.start_new("approval", "waits", 100)
            while (await client.get_status("over")).runtime_status.value in ("Running", "Pending"):
                await asyncio.sleep(0.05)
            seen = []
            for settings, days in ((kept, 100), (dry, 100), (wet, 13), (wet, 15)):
                await purge_old_history(client, settings, datetime.now(UTC) + timedelta(days=days))
                seen.append(await there())
            await http_utils._close_session()
            return seen

        with caplog.at_level(logging.INFO, "matchcut"):
            assert [[True, True]] * 3 + [[False, True]] == asyncio.run(run())
    assert "retention purged 1 instances" in caplog.text


def test_the_schedule_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert RETENTION_SCHEDULE == load("function_app").timers["remove_old"].trigger.schedule
    monkeypatch.setenv("MATCHCUT_RETENTION_SCHEDULE", "0 0 4 * * 0")
    assert "0 0 4 * * 0" == retention_schedule()
