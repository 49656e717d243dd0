from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.local.embedded import EmbeddedHost
from tests.support.service import Service


@pytest.fixture(scope="session")
def service() -> Iterator[Service]:
    with EmbeddedHost(workers=2, env={"MATCHCUT_MAX_VIDEO_S": "300"}) as host:
        yield Service(host)
