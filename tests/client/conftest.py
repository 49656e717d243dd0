from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.stub_service import Service, served


@pytest.fixture(scope="session")
def _one() -> Iterator[Service]:
    one = Service()
    with served(one):
        yield one


@pytest.fixture
def service(_one: Service, monkeypatch: pytest.MonkeyPatch) -> Service:
    """A service as if new, which the commands find by themselves."""
    vars(_one).update(vars(Service(base_url=_one.base_url)))
    monkeypatch.setenv("MATCHCUT_API", _one.base_url)
    monkeypatch.delenv("MATCHCUT_STORAGE", raising=False)
    monkeypatch.delenv("MATCHCUT_KEY", raising=False)
    return _one
