"""The work-item loop: reads work from the engine's stream, replays orchestrators, submits activities."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from durabletask.internal import orchestrator_service_pb2 as pb

from infra.local.app import App, new_invocation_id
from infra.local.durable.engine import EngineServer
from infra.local.durable.replay import advance
from infra.local.workers import Failure, Work, WorkerPool

logger = logging.getLogger(__name__)
_ORCHESTRATOR_THREADS = 2
"""Replay is plain Python: more threads would only wait for each other."""


class Bridge:
    """Serves the engine's work items until stop(). The engine issues one step of an instance at a time."""

    def __init__(self, app: App, server: EngineServer, pool: WorkerPool) -> None:
        self._app, self._engine, self._stub, self._pool = app, server.engine, server.stub, pool
        self._orchestrators = ThreadPoolExecutor(_ORCHESTRATOR_THREADS, "orchestrator")
        self._stream = self._stub.GetWorkItems(pb.GetWorkItemsRequest())
        self._thread = threading.Thread(target=self._serve, name="work-items", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stream.cancel()
        self._thread.join(5)
        self._orchestrators.shutdown(wait=False, cancel_futures=True)

    def _serve(self) -> None:
        try:
            for item in self._stream:
                if item.HasField("orchestratorRequest"):
                    self._orchestrators.submit(self._orchestrate, item)
                elif item.HasField("activityRequest"):
                    self._start_activity(item)
        except grpc.RpcError as ended:
            if ended.code() != grpc.StatusCode.CANCELLED:
                logger.error("the engine's stream ended: %s", ended.code())

    def _orchestrate(self, item: Any) -> None:
        request = item.orchestratorRequest
        step = advance(
            self._app.orchestrators,
            request.instanceId,
            self._engine.parent_of(request.instanceId),
            request.pastEvents,
            request.newEvents,
        )
        response = pb.OrchestratorResponse(
            instanceId=request.instanceId, completionToken=item.completionToken, actions=step.actions
        )
        if step.custom_status is not None:
            response.customStatus.value = step.custom_status
        try:
            self._stub.CompleteOrchestratorTask(response)
            for orphan in step.orphans:
                self._stub.TerminateInstance(pb.TerminateRequest(instanceId=orphan))
        except (
            grpc.RpcError,
            ValueError,
        ) as closed:  # ValueError: the channel is closed, the host is stopping
            logger.debug("an orchestrator's step was lost: %s", closed)
        for action in step.actions:
            if action.completeOrchestration.HasField("failureDetails"):
                message = action.completeOrchestration.failureDetails.errorMessage
                logger.error(
                    "orchestration failed", extra={"instance": request.instanceId, "reason": message}
                )

    def _start_activity(self, item: Any) -> None:
        request = item.activityRequest
        instance_id, token = request.orchestrationInstance.instanceId, int(item.completionToken)
        response = pb.ActivityResponse(
            instanceId=instance_id, taskId=request.taskId, completionToken=item.completionToken
        )

        def done(outcome: str | Failure) -> None:
            if isinstance(outcome, Failure):
                response.failureDetails.errorType = outcome.type
                response.failureDetails.errorMessage = (
                    f"Activity function '{request.name}' failed: {outcome.type}: {outcome.message}"
                )
                response.failureDetails.stackTrace.value = outcome.stack
            else:
                response.result.value = outcome
            self._stub.CompleteActivityTask(response)

        if request.name not in self._app.activities:
            done(Failure("NotFound", "the app has no activity of this name"))
            return
        self._pool.submit(
            Work(
                function=request.name,
                payload=request.input.value,
                invocation_id=new_invocation_id(),
                wanted=lambda: self._engine.awaits(instance_id, token),
                done=done,
            )
        )
