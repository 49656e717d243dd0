"""The process pool with real processes."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue

import pytest

from infra.local.workers import Failure, Work, WorkerPool
from tests.support.processes import command, descendants, kill, still_running
from tests.support.tiny import TINY
from tests.support.waiting import LIMIT_S, read_if_there, until

Outcome = str | Failure


class Calls:
    """Submits activities and collects what they came to, in the order in which they ended."""

    def __init__(self, pool: WorkerPool) -> None:
        self._pool = pool
        self._ended: SimpleQueue[tuple[int, Outcome]] = SimpleQueue()
        self._count = 0

    def send(self, function: str, payload: str = "1", wanted: Callable[[], bool] = lambda: True) -> None:
        number, self._count = self._count, self._count + 1
        ended = self._ended
        self._pool.submit(Work(function, payload, "id", wanted, lambda o: ended.put((number, o))))

    def take(self, count: int) -> list[tuple[int, Outcome]]:
        return [self._ended.get(timeout=LIMIT_S) for _ in range(count)]

    def one(self, function: str, payload: str = "1") -> Outcome:
        self.send(function, payload)
        ((_, outcome),) = self.take(1)
        return outcome


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    running = WorkerPool(TINY, 1, "{}")
    yield running
    running.stop()


@pytest.fixture
def calls(pool: WorkerPool) -> Calls:
    return Calls(pool)


def test_one_worker_takes_work_in_the_order_it_came(calls: Calls) -> None:
    for n in range(20):
        calls.send("double", str(n))
    assert [(n, str(2 * n)) for n in range(20)] == calls.take(20)


@pytest.mark.parametrize("value", ["null", "0", '"text \\u00e9"', '{"a": [1, 2.5, true, null]}', "[]"])
def test_values_come_back_as_they_went(calls: Calls, value: str) -> None:
    assert value == calls.one("same", value)


def test_an_exception_fails_the_activity_with_its_type_text_and_stack(calls: Calls) -> None:
    outcome = calls.one("fail", '"x"')
    assert isinstance(outcome, Failure)
    assert ("ValueError", "no good: x") == (outcome.type, outcome.message)
    assert "in fail" in outcome.stack


def test_a_result_that_is_not_json_fails_the_activity(calls: Calls) -> None:
    outcome = calls.one("unspeakable")
    assert isinstance(outcome, Failure)
    assert "json serializable" in outcome.message


def test_a_killed_worker_fails_its_own_activity_and_the_next_ones_run(calls: Calls) -> None:
    calls.send("die")
    calls.send("double", "4")
    (died, after) = calls.take(2)
    message = "the worker process that ran it died: signal SIGKILL"
    assert (0, Failure("WorkerDied", message)) == died
    assert (1, "8") == after


def test_a_worker_killed_while_idle_costs_nothing(calls: Calls) -> None:
    calls.one("double")
    workers = [pid for pid in descendants(os.getpid()) if "infra.local.workers.worker" in command(pid)]
    assert workers
    kill(*workers)
    assert "2" == calls.one("double")


def test_work_that_is_no_longer_wanted_is_dropped(calls: Calls) -> None:
    calls.send("double", "1", lambda: False)
    calls.send("double", "2")
    assert [(1, "4")] == calls.take(1)


def test_the_worker_of_work_that_is_no_longer_wanted_ends_after_a_grace_and_another_takes_its_place(
    tmp_path: Path,
) -> None:
    pool = WorkerPool(TINY, 1, "{}", grace_s=0.1)
    try:
        calls, cancelled = Calls(pool), threading.Event()
        blocked = {"folder": str(tmp_path), "n": 1, "nap_s": 3600}
        calls.send("mark", json.dumps(blocked), lambda: not cancelled.is_set())
        calls.send("double", "2")
        until((tmp_path / "1").exists)
        cancelled.set()
        ended = "the worker process that ran it was ended: nobody waited for its work any more"
        assert [(0, Failure("NotWanted", ended)), (1, "4")] == calls.take(2)
    finally:
        pool.stop()


def test_work_that_is_wanted_may_take_longer_than_the_grace(tmp_path: Path) -> None:
    pool = WorkerPool(TINY, 1, "{}", grace_s=0.1)
    try:
        slow = {"folder": str(tmp_path), "n": 7, "nap_s": 2.5}
        assert "7" == Calls(pool).one("mark", json.dumps(slow))
    finally:
        pool.stop()


def test_stopping_ends_what_an_activity_has_started(tmp_path: Path) -> None:
    pool = WorkerPool(TINY, 1, "{}")
    pid_file = tmp_path / "pid"
    Calls(pool).send("child", f'"{pid_file}"')
    child = int(until(lambda: read_if_there(pid_file)))
    pool.stop()
    assert [] == still_running([child])


def test_a_worker_that_cannot_load_the_app_fails_the_activity_with_the_reason() -> None:
    pool = WorkerPool("tests.infra.local.apps.broken.function_app", 1, "{}")
    outcome = Calls(pool).one("double")
    pool.stop()
    assert isinstance(outcome, Failure)
    assert "No module named 'a_package_that_nobody_has'" in outcome.message
