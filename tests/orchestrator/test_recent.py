"""One finds, all are answered."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestrator.recent import Recent


def test_of_many_who_ask_at_once_one_finds() -> None:
    recent, found = Recent[int](60, 1), list[int]()

    def find() -> int:
        time.sleep(0.05)
        found.append(1)
        return 7

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: recent.get("a", find), range(20)))
    assert ([7] * 20, [1]) == (answers, found)


def test_an_answer_holds_for_its_time_and_for_its_own_key() -> None:
    recent, numbers = Recent[int](0.05, 0), iter(range(10))
    assert [0, 0] == [recent.get("a", lambda: next(numbers)) for _ in range(2)]
    assert 1 == recent.get("b", lambda: next(numbers))
    time.sleep(0.06)
    assert 2 == recent.get("a", lambda: next(numbers))
    recent.forget("a")
    assert 3 == recent.get("a", lambda: next(numbers))


def test_what_was_dear_to_find_holds_longer() -> None:
    recent, numbers = Recent[int](0, 100), iter(range(10))

    def find() -> int:
        time.sleep(0.05)
        return next(numbers)

    assert 0 == recent.get("a", find)
    time.sleep(0.2)
    assert 0 == recent.get("a", find)


def test_a_failure_is_told_and_not_kept() -> None:
    recent = Recent[int](60, 1)
    with pytest.raises(ZeroDivisionError):
        recent.get("a", lambda: 1 // 0)
    assert 5 == recent.get("a", lambda: 5)


def test_only_so_many_answers_are_kept() -> None:
    recent = Recent[int](60, 1, most=2)
    for key in range(5):
        recent.get(key, lambda: 1)
    assert 9 == recent.get(0, lambda: 9)
    assert 1 == recent.get(4, lambda: 9)


def test_one_who_waits_does_not_hold_up_another_key() -> None:
    recent, go = Recent[int](60, 1), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(recent.get, "slow", lambda: 1 if go.wait(10) else 0)
        assert 2 == recent.get("quick", lambda: 2)
        go.set()
        assert 1 == slow.result()


def test_a_slow_search_holds_nobody_up_who_can_be_told_the_last_answer() -> None:
    recent, go = Recent[int](0.2, 0), threading.Event()
    assert 1 == recent.get("a", lambda: 1)
    time.sleep(0.21)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(recent.get, "a", lambda: 2 if go.wait(10) else 0)
        while not slow.running():
            time.sleep(0.001)
        time.sleep(0.01)
        assert 1 == recent.get("a", lambda: 3)
        go.set()
        assert 2 == slow.result()
    assert 2 == recent.get("a", lambda: 3)
    time.sleep(0.5)  # too old to be told: whoever asks waits for the new one
    assert 4 == recent.get("a", lambda: 4)
