"""A service of whose storage a test sets the clock, and sweeps."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from infra.local.azurite import Azurite
from shared.jobs import Sweep
from tests.support.clocked import Clocked
from tests.support.in_process import InProcessService

ONE: dict[str, Any] = {"models": ["motion"]}
"""Options of a job whose scores are one blob."""


class Past(InProcessService):
    """A service in which days pass at once."""

    def __init__(self, azurite: Azurite, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        ages = {"retention_scores_days": 2, "retention_jobs_days": 5, **settings}
        super().__init__(azurite.connection_string, **ages)
        self.clock = Clocked.from_settings(self.settings)
        self.store = self.clock
        for module in ("acceptance", "attempts", "batches"):
            monkeypatch.setattr(f"shared.jobs.{module}.utc_now", self.clock.now)

    def wait(self, days: float) -> None:
        self.clock.ahead += timedelta(days=days)

    def sweep(self, **settings: Any) -> Sweep:
        swept = Sweep(self.settings.model_copy(update=settings), self.store, self.clock._now())
        swept.run()
        return swept

    def paths(self, *folders: str) -> list[str]:
        return [path for folder in folders for path in self.store.list(f"{folder}/")]
