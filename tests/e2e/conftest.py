from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from infra.local.embedded import EmbeddedHost
from samples.match import write_match
from tests.e2e.service import Service


@pytest.fixture(scope="session")
def match(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """40 s of a sample match."""
    path: Path = tmp_path_factory.mktemp("match") / "match.mp4"
    write_match(path, seconds=40, seed=3, width=320, height=180, rate=Fraction(25))
    return path.read_bytes()


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    with EmbeddedHost(workers=2, env={"MATCHCUT_MAX_VIDEO_S": "300"}) as host:
        yield Service(host)
