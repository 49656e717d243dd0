"""The durable engine: durabletask's in-memory backend, served over gRPC on loopback.

The backend is a test double. `Engine` adds what a host needs:

- The base class waits for a sub-orchestration in a thread, for 30 s at most; a longer one would never report
  to its parent. Here its last work item reports.
- The base class delivers late results by instance id, even after the instance has ended, continued as new, or
  was started again under the same id. Here they are dropped.
- In the base class a response without a custom status erases the status. Here the status stays.
- The base class keeps every instance. Here instances that are over are purged by age and by number,
  sub-orchestrations together with the instance that started them, and never before all of them are over. By
  then a job's result is in blob storage.
"""

from __future__ import annotations

import sys
import threading
import time
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
_SWEEP_S = 60.0


@dataclass(frozen=True)
class Retention:
    """How long instances that are over are kept: for age_s seconds, and at most `count` without a parent."""

    age_s: float = 3600.0
    count: int = 2000


@dataclass(frozen=True)
class Parent:
    """The task that waits for a sub-orchestration: the parent's `task_id`, scheduled under `token`."""

    instance_id: str
    task_id: int
    token: int


class Engine(InMemoryOrchestrationBackend):  # type: ignore[misc]
    """See the module. Completion tokens only ever grow, so they distinguish executions of one id."""

    def __init__(self, retention: Retention | None = None) -> None:
        super().__init__(max_history_size=sys.maxsize)
        self._retention = retention or Retention()
        self._began: dict[str, int] = {}
        self._parents: dict[str, Parent] = {}
        self._children: dict[str, list[str]] = {}
        self._over: dict[str, float] = {}
        """Ended instances without a parent -> time.monotonic() of their end, ascending."""

    def awaits(self, instance_id: str, token: int) -> bool:
        """Whether the execution that scheduled work under `token` still runs."""
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
                self._over.pop(request.instanceId, None)
                parent = self._parents.get(request.instanceId)
                if parent is None or parent.instance_id not in self._instances:
                    self._over[request.instanceId] = time.monotonic()
                self._report_to_parent(instance)
                self.purge_over()
            # Events that arrived while this step was in flight are queued, but woke no waiter.
            self._work_available.set()
            return response

    def CompleteActivityTask(  # noqa: N802
        self, request: pb.ActivityResponse, context: grpc.ServicerContext
    ) -> Any:
        with self._lock:
            if not self.awaits(request.instanceId, int(request.completionToken)):
                return pb.CompleteTaskResponse()
            return super().CompleteActivityTask(request, context)

    def PurgeInstances(  # noqa: N802
        self, request: pb.PurgeInstancesRequest, context: grpc.ServicerContext
    ) -> Any:
        with self._lock:
            response = super().PurgeInstances(request, context)
            for instance_id in self._began.keys() - self._instances.keys():
                self._forget(instance_id)
            return response

    def purge_over(self) -> int:
        """Purge the instances that the retention no longer keeps; returns how many."""
        purged = 0
        with self._lock:
            now = time.monotonic()
            for instance_id, ended in list(self._over.items()):
                if len(self._over) <= self._retention.count and now - ended < self._retention.age_s:
                    break
                family = self._family(instance_id)
                if all(member.status in TERMINAL for member in family):
                    for member in family:
                        del self._instances[member.instance_id]
                        self._forget(member.instance_id)
                    purged += len(family)
                    self._over.pop(instance_id, None)
        return purged

    def _family(self, instance_id: str) -> list[Any]:
        """The instance and all sub-orchestrations below it, except those that were purged."""
        found: dict[str, Any] = {}
        ids = [instance_id]
        while ids:
            member = ids.pop()
            if member in self._instances and member not in found:
                found[member] = self._instances[member]
                ids += self._children.get(member, [])
        return list(found.values())

    def _forget(self, instance_id: str) -> None:
        """Forget a purged instance. Its children, if any are left, count from now on as without a parent."""
        for child in self._children.pop(instance_id, []):
            if child in self._instances and self._instances[child].status in TERMINAL:
                self._over[child] = time.monotonic()
        for kept in (self._began, self._parents, self._over, self._state_waiters):
            kept.pop(instance_id, None)

    def _enqueue_orchestration(self, instance_id: str) -> None:
        instance = self._instances.get(instance_id)
        if instance is not None and instance.status in TERMINAL:
            instance.pending_events.clear()
            return
        super()._enqueue_orchestration(instance_id)

    def _watch_sub_orchestration(self, parent_instance_id: str, sub_instance_id: str, task_id: int) -> None:
        token = self._instances[parent_instance_id].completion_token
        self._parents[sub_instance_id] = Parent(parent_instance_id, task_id, token)
        self._children.setdefault(parent_instance_id, []).append(sub_instance_id)

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
    """Serves the engine by gRPC on a free port of 127.0.0.1; `stub` is a client of it.

    The base class's own start() would bind every interface.
    """

    def __init__(self, retention: Retention | None = None) -> None:
        self.engine = Engine(retention)
        self._stopping = threading.Event()
        threading.Thread(target=self._sweep, name="retention", daemon=True).start()
        self._server = grpc.server(ThreadPoolExecutor(8, "engine"), options=_GRPC_OPTIONS)
        stubs.add_TaskHubSidecarServiceServicer_to_server(self.engine, self._server)
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=_GRPC_OPTIONS)
        self.stub = stubs.TaskHubSidecarServiceStub(self._channel)

    def _sweep(self) -> None:
        """Purge now and then. The end of an instance purges too, but none may end for a long time."""
        while not self._stopping.wait(_SWEEP_S):
            self.engine.purge_over()

    def stop(self) -> None:
        self._stopping.set()
        self.engine.stop()
        self._channel.close()
        self._server.stop(grace=0).wait(5)
