"""Fixtures that every test may use."""

from __future__ import annotations

import fcntl
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
def match(shared_folder: Path) -> bytes:
    """40 s of a sample match, made once for all processes of the run."""
    path = shared_folder / "match.mp4"
    with (shared_folder / "match.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            write_match(path, seconds=40, seed=3, width=320, height=180, rate=Fraction(25))
    return path.read_bytes()


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for all processes of the run, and new for each run."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: some tests wait."""
    return (os.cpu_count() or 1) + 1


_SLOW = ("e2e", "media", "azurite")
"""Marks, the slowest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that start hosts or storage go first: one of them at the end would keep a single process busy."""

    def lightness(item: pytest.Item) -> int:
        return next((n for n, mark in enumerate(_SLOW) if item.get_closest_marker(mark)), len(_SLOW))

    of_file: dict[Path, int] = {}
    for item in items:
        of_file[item.path] = min(lightness(item), of_file.get(item.path, len(_SLOW)))
    items.sort(key=lambda item: of_file[item.path])
