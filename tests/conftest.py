"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from infra.local.azurite import Azurite

# The app reads its settings when it is first asked; tests that need storage set their own.
os.environ.setdefault("AzureWebJobsStorage", "UseDevelopmentStorage=true")


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """One blob emulator for the whole run, on a free port; it has .connection_string."""
    with Azurite() as emulator:
        yield emulator
