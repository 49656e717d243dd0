"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import settings

from infra.local.azurite import Azurite
from samples.match import write_match
from tests.support.ports import own_port

# The app reads its settings when it is first asked; tests that need storage set their own.
os.environ.setdefault("AzureWebJobsStorage", "UseDevelopmentStorage=true")


# On a busy machine any example may take its time.
settings.register_profile("tests", deadline=None)
settings.load_profile("tests")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that started this in the background had it, and all that it starts, ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """One blob emulator for the whole run, on a free port; it has .connection_string."""
    with own_port() as port, Azurite(port=port) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def match(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """40 s of a sample match."""
    path: Path = tmp_path_factory.mktemp("match") / "match.mp4"
    write_match(path, seconds=40, seed=3, width=320, height=180, rate=Fraction(25))
    return path.read_bytes()
