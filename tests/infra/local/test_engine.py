"""What the engine adds to durabletask's in-memory backend, spoken to over its own gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.testing import InMemoryOrchestrationBackend

from infra.local.engine import TERMINAL, EngineServer


class Worker:
    """Takes the engine's work items one by one, and answers them as a test says."""

    def __init__(self, server: EngineServer) -> None:
        self.stub = server.stub
        self._items = self.stub.GetWorkItems(pb.GetWorkItemsRequest(), timeout=20)

    def start(self, instance: str) -> None:
        request = pb.CreateInstanceRequest(instanceId=instance, name="n")
        request.orchestrationIdReusePolicy.replaceableStatus.extend(TERMINAL)
        self.stub.StartInstance(request)

    def next(self) -> Any:
        return next(self._items)

    def answer(self, item: Any, *actions: Any, status: str | None = None) -> None:
        instance = item.orchestratorRequest.instanceId
        response = pb.OrchestratorResponse(
            instanceId=instance, completionToken=item.completionToken, actions=actions
        )
        if status is not None:
            response.customStatus.value = status
        self.stub.CompleteOrchestratorTask(response)

    def finish(self, item: Any, result: str) -> None:
        self.answer(item, helpers.new_complete_orchestration_action(-1, 1, result))

    def done(self, item: Any, result: str) -> None:
        request = item.activityRequest
        response = pb.ActivityResponse(
            instanceId=request.orchestrationInstance.instanceId,
            taskId=request.taskId,
            completionToken=item.completionToken,
        )
        response.result.value = result
        self.stub.CompleteActivityTask(response)

    def state(self, instance: str) -> Any:
        request = pb.GetInstanceRequest(instanceId=instance, getInputsAndOutputs=True)
        return self.stub.GetInstance(request).orchestrationState


@pytest.fixture
def server() -> Iterator[EngineServer]:
    running = EngineServer()
    yield running
    running.stop()


@pytest.fixture
def worker(server: EngineServer) -> Worker:
    return Worker(server)


def activity(task_id: int = 0) -> Any:
    return helpers.new_schedule_task_action(task_id, "a", "1", None)


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
