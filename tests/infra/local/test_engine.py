"""What the engine adds to durabletask's in-memory backend, spoken to over its own gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.testing import InMemoryOrchestrationBackend

from infra.local.durable import EngineServer, Retention
from tests.support.engine import Worker, activity


@pytest.fixture
def server() -> Iterator[EngineServer]:
    running = EngineServer()
    yield running
    running.stop()


@pytest.fixture
def worker(server: EngineServer) -> Worker:
    return Worker(server)


def test_a_result_of_an_earlier_execution_of_the_same_id_is_dropped(
    server: EngineServer, worker: Worker
) -> None:
    worker.start("i")
    worker.answer(worker.next(), activity())
    late = worker.next()
    worker.stub.TerminateInstance(pb.TerminateRequest(instanceId="i"))
    worker.answer(worker.next(), helpers.new_complete_orchestration_action(-1, 5, '"over"'))
    worker.start("i")
    again = worker.next()
    worker.done(late, '"stale, before the first step"')
    worker.answer(again, activity())
    worker.done(late, '"stale, after it"')
    assert not server.engine.awaits("i", int(late.completionToken))
    fresh = worker.next()
    worker.done(fresh, '"fresh"')
    arrived = worker.next().orchestratorRequest.newEvents
    assert ['"fresh"'] == [e.taskCompleted.result.value for e in arrived if e.HasField("taskCompleted")]


def test_a_result_for_an_execution_that_continued_as_new_is_dropped(worker: Worker) -> None:
    worker.start("i")
    worker.answer(worker.next(), activity(0), activity(1))
    first, second = worker.next(), worker.next()
    worker.done(first, "1")
    worker.answer(worker.next(), helpers.new_complete_orchestration_action(-1, 2, "{}"))
    again = worker.next()
    worker.done(second, "2")
    worker.finish(again, "3")
    assert "3" == worker.state("i").output.value


def test_a_sub_orchestration_reports_however_long_it_takes(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gave_up(*_: Any, **__: Any) -> None:
        """What the base class's wait comes to after its 30 s."""

    monkeypatch.setattr(InMemoryOrchestrationBackend, "_wait_for_state", gave_up)
    worker.start("above")
    create = helpers.new_create_sub_orchestration_action(0, "n", "below", None, None)
    worker.answer(worker.next(), create)
    worker.finish(worker.next(), '"found"')
    arrived = worker.next().orchestratorRequest.newEvents
    reports = [e.subOrchestrationInstanceCompleted for e in arrived]
    assert ['"found"'] == [report.result.value for report in reports if report.HasField("result")]


def test_a_step_without_a_custom_status_keeps_the_one_before(worker: Worker) -> None:
    worker.start("i")
    worker.answer(worker.next(), activity(), status='"at work"')
    worker.done(worker.next(), "1")
    worker.finish(worker.next(), "2")
    assert '"at work"' == worker.state("i").customStatus.value


def test_an_ended_instance_gets_no_more_work(worker: Worker) -> None:
    worker.start("i")
    worker.finish(worker.next(), "1")
    worker.stub.SuspendInstance(pb.SuspendRequest(instanceId="i"))
    worker.start("other")
    assert "other" == worker.next().orchestratorRequest.instanceId
    assert pb.ORCHESTRATION_STATUS_COMPLETED == worker.state("i").orchestrationStatus


# ---------------------------------------------------------------- retention


@pytest.fixture
def two() -> Iterator[EngineServer]:
    """Keeps two instances that are over."""
    running = EngineServer(Retention(age_s=3600, count=2))
    yield running
    running.stop()


def there(worker: Worker, *instances: str) -> list[str]:
    return [name for name in instances if worker.state(name).instanceId]


def call_below(worker: Worker, above: str, below: str, item: Any = None) -> None:
    create = helpers.new_create_sub_orchestration_action(0, "n", below, None, None)
    worker.answer(item or worker.next(), create)


def run_to_its_end(worker: Worker, instance: str) -> None:
    worker.start(instance)
    worker.finish(worker.next(), "1")


def test_only_so_many_that_are_over_are_kept_and_the_oldest_go_first(two: EngineServer) -> None:
    worker = Worker(two)
    worker.start("running")
    worker.answer(worker.next(), activity())
    worker.next()
    for name in "abcd":
        run_to_its_end(worker, name)
    assert ["running", "c", "d"] == there(worker, "running", *"abcd")


def test_what_is_over_for_long_enough_is_purged_by_the_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr("infra.local.durable.engine.time", SimpleNamespace(monotonic=lambda: now_s))
    server = EngineServer(Retention(age_s=60, count=100))
    worker = Worker(server)
    for name in "ab":
        run_to_its_end(worker, name)
    assert 0 == server.engine.purge_over()
    assert ["a", "b"] == there(worker, *"ab")
    now_s += 60
    assert 2 == server.engine.purge_over()
    assert [] == there(worker, *"ab")
    server.stop()


def test_sub_orchestrations_stay_while_their_parent_runs_and_go_with_it(two: EngineServer) -> None:
    worker = Worker(two)
    worker.start("above")
    call_below(worker, "above", "below")
    call_below(worker, "below", "lowest")
    worker.finish(worker.next(), "1")
    worker.finish(worker.next(), "2")
    reported = worker.next()
    for name in "abc":
        run_to_its_end(worker, name)
    assert ["above", "below", "lowest", "b", "c"] == there(worker, "above", "below", "lowest", *"abc")
    worker.finish(reported, "3")
    for name in "de":
        run_to_its_end(worker, name)
    assert ["d", "e"] == there(worker, "above", "below", "lowest", *"abcde")


def test_a_parent_that_is_over_waits_for_a_child_that_is_not(two: EngineServer) -> None:
    worker = Worker(two)
    worker.start("above")
    call_below(worker, "above", "below")
    below = worker.next()
    worker.stub.TerminateInstance(pb.TerminateRequest(instanceId="above"))
    worker.answer(worker.next(), helpers.new_complete_orchestration_action(-1, 5, '"over"'))
    for name in "abc":
        run_to_its_end(worker, name)
    assert ["above", "below", "c"] == there(worker, "above", "below", *"abc")
    worker.finish(below, "1")
    assert ["above", "below", "c"] == there(worker, "above", "below", *"abc")
    run_to_its_end(worker, "d")
    assert ["c", "d"] == there(worker, "above", "below", *"abcd")


def test_an_id_that_was_started_again_is_kept_while_it_runs(two: EngineServer) -> None:
    worker = Worker(two)
    run_to_its_end(worker, "again")
    worker.start("again")
    second = worker.next()
    for name in "abc":
        run_to_its_end(worker, name)
    assert ["again"] == there(worker, "again")
    worker.finish(second, '"second"')
    assert '"second"' == worker.state("again").output.value


def test_nothing_is_left_of_what_was_purged(two: EngineServer) -> None:
    worker, engine = Worker(two), two.engine
    for name in "abcd":
        worker.start(name)
        call_below(worker, name, f"{name}-below")
        worker.finish(worker.next(), "1")
        worker.finish(worker.next(), "2")
    kept = {"c", "c-below", "d", "d-below"}
    assert kept == set(engine._instances) == set(engine._began)
    assert ({"c", "d"}, {"c", "d"}, {}) == (set(engine._children), set(engine._over), engine._parents)
    worker.stub.PurgeInstances(pb.PurgeInstancesRequest(instanceId="c"))
    assert {"c-below", "d"} == set(engine._over)  # the child that was left behind will go too
    for name in "ef":
        run_to_its_end(worker, name)
    assert {"e", "f"} == set(engine._instances) == set(engine._began)
