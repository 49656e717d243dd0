"""The durable engine: durabletask's in-memory backend, served over gRPC on loopback.

`Engine` mends what a test double may leave open and a host may not:

- a sub-orchestration that runs longer than 30 s would never report to its parent (the base
  class waits for it in a thread, with a limit): here its last work item reports;
- results that arrive after an instance has ended, continued as new, or was started again
  under the same id would be delivered to whoever has the id now: here they are dropped;
- a response without a custom status would erase the status: here it keeps it.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import grpc
from durabletask.internal import orchestrator_service_pb2 as pb
from durabletask.internal import orchestrator_service_pb2_grpc as stubs
from durabletask.testing import InMemoryOrchestrationBackend

TERMINAL = (
    pb.ORCHESTRATION_STATUS_COMPLETED,
    pb.ORCHESTRATION_STATUS_FAILED,
    pb.ORCHESTRATION_STATUS_TERMINATED,
)
_LIVE = (pb.ORCHESTRATION_STATUS_RUNNING, pb.ORCHESTRATION_STATUS_SUSPENDED)
_GRPC_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_http_proxy", 0),
]


@dataclass(frozen=True)
class Parent:
    """Who waits for a sub-orchestration: the parent's task `task_id`, scheduled under `token`."""

    instance_id: str
    task_id: int
    token: int


class Engine(InMemoryOrchestrationBackend):  # type: ignore[misc]
    """See the module. Completion tokens only ever grow, so they tell executions of one id apart."""

    def __init__(self) -> None:
        super().__init__(max_history_size=sys.maxsize)
        self._began: dict[str, int] = {}
        self._parents: dict[str, Parent] = {}

    def awaits(self, instance_id: str, token: int) -> bool:
        """Whether the execution that scheduled work under `token` is still going on."""
        with self._lock:
            instance = self._instances.get(instance_id)
            return instance is not None and instance.status in _LIVE and token >= self._began[instance_id]

    def parent_of(self, instance_id: str) -> str | None:
        parent = self._parents.get(instance_id)
        return parent.instance_id if parent else None

    def CompleteOrchestratorTask(  # noqa: N802
        self, request: pb.OrchestratorResponse, context: grpc.ServicerContext
    ) -> Any:
        with self._lock:
            instance = self._instances.get(request.instanceId)
            current = instance is not None and str(instance.completion_token) == request.completionToken
            if current and not instance.history:
                self._began[request.instanceId] = int(request.completionToken)
            if current and not request.HasField("customStatus"):
                request.customStatus.value = instance.custom_status or ""
            response = super().CompleteOrchestratorTask(request, context)
            if current and instance.status in TERMINAL:
                self._report_to_parent(instance)
            # Events that came while it was in flight are queued already, without a wake-up.
            self._work_available.set()
            return response

    def CompleteActivityTask(  # noqa: N802
        self, request: pb.ActivityResponse, context: grpc.ServicerContext
    ) -> Any:
        with self._lock:
            if not self.awaits(request.instanceId, int(request.completionToken)):
                return pb.CompleteTaskResponse()
            return super().CompleteActivityTask(request, context)

    def _enqueue_orchestration(self, instance_id: str) -> None:
        instance = self._instances.get(instance_id)
        if instance is not None and instance.status in TERMINAL:
            instance.pending_events.clear()
            return
        super()._enqueue_orchestration(instance_id)

    def _watch_sub_orchestration(self, parent_instance_id: str, sub_instance_id: str, task_id: int) -> None:
        token = self._instances[parent_instance_id].completion_token
        self._parents[sub_instance_id] = Parent(parent_instance_id, task_id, token)

    def _report_to_parent(self, instance: Any) -> None:
        parent = self._parents.pop(instance.instance_id, None)
        if parent is None or not self.awaits(parent.instance_id, parent.token):
            return
        event = pb.HistoryEvent(eventId=-1)
        if instance.status == pb.ORCHESTRATION_STATUS_COMPLETED:
            event.subOrchestrationInstanceCompleted.taskScheduledId = parent.task_id
            event.subOrchestrationInstanceCompleted.result.value = instance.output or "null"
        else:
            failure = event.subOrchestrationInstanceFailed
            failure.taskScheduledId = parent.task_id
            failure.failureDetails.CopyFrom(
                instance.failure_details
                or pb.TaskFailureDetails(
                    errorType="SubOrchestrationTerminated",
                    errorMessage=f"Sub-orchestration '{instance.instance_id}' was terminated.",
                )
            )
        waiting = self._instances[parent.instance_id]
        waiting.pending_events.append(event)
        waiting.last_updated_at = datetime.now(UTC)
        self._enqueue_orchestration(parent.instance_id)


class EngineServer:
    """The engine behind gRPC on 127.0.0.1, on a port of its own; `stub` is a client of it.

    The base class's own start() would bind every interface.
    """

    def __init__(self) -> None:
        self.engine = Engine()
        self._server = grpc.server(ThreadPoolExecutor(8, "engine"), options=_GRPC_OPTIONS)
        stubs.add_TaskHubSidecarServiceServicer_to_server(self.engine, self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=_GRPC_OPTIONS)
        self.stub = stubs.TaskHubSidecarServiceStub(self._channel)

    def stop(self) -> None:
        self.engine.stop()
        self._channel.close()
        self._server.stop(grace=0).wait(5)
