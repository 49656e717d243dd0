"""One embedded host with the tiny app, for every test that only needs one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.local.app import App, load
from infra.local.embedded import EmbeddedHost
from tests.support.tiny import TINY, Api, api_of


@pytest.fixture(scope="session")
def tiny() -> App:
    return load(TINY)


@pytest.fixture(scope="session")
def host() -> Iterator[EmbeddedHost]:
    with EmbeddedHost(app=TINY, workers=2, storage="UseDevelopmentStorage=true") as running:
        yield running


@pytest.fixture(scope="session")
def api(host: EmbeddedHost) -> Iterator[Api]:
    with api_of(host) as running:
        yield running
