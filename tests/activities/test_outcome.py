"""How an activity answers when its work fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from activities.outcome import outcome
from infra.local.azurite import Azurite
from shared.errors import NotAVideo
from shared.settings import Settings, get_settings

pytestmark = pytest.mark.azurite


@pytest.fixture(autouse=True)
def small(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A service whose activities may have 64 MiB each."""
    monkeypatch.setenv("MATCHCUT_STORAGE", azurite.connection_string)
    monkeypatch.setenv("MATCHCUT_CONTAINER", "outcome")
    monkeypatch.setenv("MATCHCUT_MAX_ACTIVITY_BYTES", str(64 * 2**20))
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def fails(failure: Exception) -> dict[str, Any]:
    def work(settings: Settings, store: Any) -> dict[str, Any]:
        raise failure

    return outcome(work, job="m-1")


def test_an_expected_failure_is_an_answer() -> None:
    answer = fails(NotAVideo("It is none."))
    assert (answer["ok"], answer["job"], answer["error"]["code"]) == (False, "m-1", "not_a_video")


def test_an_unexpected_failure_is_tried_again_and_tells_nothing() -> None:
    answer = fails(ValueError("sig=secret"))
    assert (answer["error"]["code"], answer["error"]["retryable"]) == ("internal", True)
    assert "secret" not in str(answer)


def test_work_that_takes_too_much_memory_is_told_so_and_not_tried_again() -> None:
    def work(settings: Settings, store: Any) -> dict[str, Any]:
        return {"held": len(bytearray(512 * 2**20))}

    error = outcome(work, job="m-1")["error"]
    assert (error["code"], error["retryable"]) == ("too_costly", False)
