"""Values are held for a while; one caller loads for all, or each for itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared import cache as module
from shared.cache import Cache


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "monotonic", clock)
    return clock


def test_one_of_many_callers_loads_for_all() -> None:
    cache, loads = Cache[int](60), list[int]()

    def load() -> int:
        time.sleep(0.05)
        loads.append(1)
        return 7

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: cache.get_shared("a", load), range(20)))
    assert ([7] * 20, [1]) == (answers, loads)


@pytest.mark.parametrize("method", ["get", "get_shared"])
def test_a_value_is_held_for_its_time_and_for_its_own_key(clock: Clock, method: str) -> None:
    cache, numbers = Cache[int](5), iter(range(10))
    get = getattr(cache, method)
    assert [0, 0] == [get("a", lambda: next(numbers)) for _ in range(2)]
    assert 1 == get("b", lambda: next(numbers))
    clock.now += 5
    assert 2 == get("a", lambda: next(numbers))
    cache.discard("a")
    assert 3 == get("a", lambda: next(numbers))


@pytest.mark.parametrize("method", ["get", "get_shared"])
def test_a_value_that_took_long_to_load_is_held_longer(clock: Clock, method: str) -> None:
    cache, numbers = Cache[int](1, ttl_per_load=9), iter(range(10))
    get = getattr(cache, method)

    def load() -> int:
        clock.now += 2
        return next(numbers)

    seen = []
    for pause_s in (0, 17, 2):
        clock.now += pause_s
        seen.append(get("a", load))
    assert [0, 0, 1] == seen


@pytest.mark.parametrize("method", ["get", "get_shared"])
def test_a_failure_is_raised_and_not_held(method: str) -> None:
    get = getattr(Cache[int](60), method)
    with pytest.raises(ZeroDivisionError):
        get("a", lambda: 1 // 0)
    assert 5 == get("a", lambda: 5)


@pytest.mark.parametrize("method", ["get", "get_shared"])
def test_the_least_recently_used_values_go_first(method: str) -> None:
    get = getattr(Cache[int](60, max_size=2), method)
    for key in (0, 1, 0, 2):
        get(key, lambda: 1)
    assert [1, 1, 9] == [get(key, lambda: 9) for key in (0, 2, 1)]


def test_a_slow_load_holds_up_no_other_key() -> None:
    cache, go = Cache[int](60), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(cache.get_shared, "slow", lambda: 1 if go.wait(60) else 0)
        assert 2 == cache.get_shared("quick", lambda: 2)
        go.set()
        assert 1 == slow.result()


@pytest.fixture
def slow_load() -> Iterator[tuple[threading.Event, threading.Event]]:
    """(set once the load has begun, what it waits for)."""
    began, go = threading.Event(), threading.Event()
    yield began, go
    go.set()


def test_a_slow_load_holds_up_nobody_while_the_last_value_is_not_too_old(
    clock: Clock, slow_load: tuple[threading.Event, threading.Event]
) -> None:
    cache, (began, go) = Cache[int](5), slow_load

    def load() -> int:
        began.set()
        return 2 if go.wait(60) else 0

    assert 1 == cache.get_shared("a", lambda: 1)
    clock.now += 9
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(cache.get_shared, "a", load)
        assert began.wait(60)
        assert 1 == cache.get_shared("a", lambda: 3)
        go.set()
        assert 2 == slow.result()
    assert 2 == cache.get_shared("a", lambda: 3)


def test_a_value_that_is_too_old_is_waited_for(
    clock: Clock, slow_load: tuple[threading.Event, threading.Event]
) -> None:
    cache, (began, go) = Cache[int](5), slow_load

    def load() -> int:
        began.set()
        return 2 if go.wait(60) else 0

    assert 1 == cache.get_shared("a", lambda: 1)
    clock.now += 10
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(cache.get_shared, "a", load)
        assert began.wait(60)
        waits = pool.submit(cache.get_shared, "a", lambda: 3)
        go.set()
        assert (2, 2) == (slow.result(), waits.result())


def test_a_value_that_is_not_to_be_kept_is_loaded_by_each_caller() -> None:
    cache, numbers = Cache[int](60), iter(range(10))
    assert [0, 1, 2, 2] == [
        cache.get("a", lambda: next(numbers), keep_if=lambda value: value == 2) for _ in range(4)
    ]


def test_callers_that_load_for_themselves_wait_for_nobody(
    slow_load: tuple[threading.Event, threading.Event],
) -> None:
    cache, (began, go) = Cache[int](60), slow_load

    def load() -> int:
        began.set()
        return 1 if go.wait(60) else 0

    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(cache.get, "a", load)
        assert began.wait(60)
        assert 2 == cache.get("a", lambda: 2)
        go.set()
        assert 1 == slow.result()


def test_values_that_were_loaded_together_do_not_expire_together(clock: Clock) -> None:
    cache = Cache[float](100, spread=0.5, max_size=2000)
    keys = range(1000)
    for key in keys:
        cache.get(key, clock)
    loaded = []
    for _ in range(10):
        clock.now += 10
        loaded.append(sum(cache.get(key, clock) == clock.now for key in keys))
    assert 1000 == sum(loaded)
    assert [0] * 4 == loaded[:4]
    assert max(loaded) < 400
