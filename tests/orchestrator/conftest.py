from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator import threads
from tests.support.in_process import InProcessService


@pytest.fixture
def serve_from(monkeypatch: pytest.MonkeyPatch) -> Callable[[InProcessService], InProcessService]:
    """Lets the bindings work on the settings and the store of a service, and returns the service."""

    def serve(service: InProcessService) -> InProcessService:
        monkeypatch.setattr(threads, "get_settings", lambda: service.settings)
        monkeypatch.setattr(threads, "service_store", lambda settings, patient: service.store)
        return service

    return serve
