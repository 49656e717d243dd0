"""The work of the host's engine done by hand, over its own gRPC."""

from __future__ import annotations

from typing import Any

from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as pb

from infra.local.durable import TERMINAL, EngineServer
from tests.support.waiting import LIMIT_S


class Worker:
    """Takes the engine's work items one by one, and answers them as a test says."""

    def __init__(self, server: EngineServer) -> None:
        self.stub = server.stub
        self._items = self.stub.GetWorkItems(pb.GetWorkItemsRequest(), timeout=LIMIT_S)

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


def activity(task_id: int = 0) -> Any:
    return helpers.new_schedule_task_action(task_id, "a", "1", None)
