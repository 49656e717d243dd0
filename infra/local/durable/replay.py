"""Replay of orchestrators, as the Functions extension does it between engine and SDK. Pure.

One step: protobuf history -> the JSON that the SDK's orchestrator handle takes -> the handle's action list ->
the engine's actions. Actions are matched by position: of the actions that take a task id (all but external
events), action i has task id i. Actions that are already in history are not sent again.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from azure.durable_functions.models.actions.ActionType import ActionType
from azure.durable_functions.models.history import HistoryEventType
from azure.durable_functions.models.ReplaySchema import ReplaySchema
from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as pb

Handle = Callable[[str], str]
"""An orchestrator as the SDK registers it: context JSON -> state JSON; raises where it failed."""

_FAILURE_LABEL = "$OutOfProcData$:"
_KINDS = {
    "executionStarted": HistoryEventType.EXECUTION_STARTED,
    "executionCompleted": HistoryEventType.EXECUTION_COMPLETED,
    "executionTerminated": HistoryEventType.EXECUTION_TERMINATED,
    "taskScheduled": HistoryEventType.TASK_SCHEDULED,
    "taskCompleted": HistoryEventType.TASK_COMPLETED,
    "taskFailed": HistoryEventType.TASK_FAILED,
    "subOrchestrationInstanceCreated": HistoryEventType.SUB_ORCHESTRATION_INSTANCE_CREATED,
    "subOrchestrationInstanceCompleted": HistoryEventType.SUB_ORCHESTRATION_INSTANCE_COMPLETED,
    "subOrchestrationInstanceFailed": HistoryEventType.SUB_ORCHESTRATION_INSTANCE_FAILED,
    "timerCreated": HistoryEventType.TIMER_CREATED,
    "timerFired": HistoryEventType.TIMER_FIRED,
    "orchestratorStarted": HistoryEventType.ORCHESTRATOR_STARTED,
    "orchestratorCompleted": HistoryEventType.ORCHESTRATOR_COMPLETED,
    "eventRaised": HistoryEventType.EVENT_RAISED,
    "executionSuspended": HistoryEventType.EXECUTION_SUSPENDED,
    "executionResumed": HistoryEventType.EXECUTION_RESUMED,
}
_RECORDED = {
    "taskScheduled": ActionType.CALL_ACTIVITY,
    "subOrchestrationInstanceCreated": ActionType.CALL_SUB_ORCHESTRATOR,
    "timerCreated": ActionType.CREATE_TIMER,
}


@dataclass(frozen=True)
class Step:
    """The outcome of one work item. A custom_status of None leaves the status unchanged."""

    actions: list[pb.OrchestratorAction] = field(default_factory=list)
    custom_status: str | None = None
    orphans: tuple[str, ...] = ()
    """Sub-orchestrations that a terminated instance leaves behind."""


def advance(
    orchestrators: Mapping[str, Handle],
    instance_id: str,
    parent_id: str | None,
    past: Sequence[pb.HistoryEvent],
    new: Sequence[pb.HistoryEvent],
) -> Step:
    """Run the orchestrator function on its history. Any error fails the instance, never the host."""
    events = [*past, *new]
    terminated = [event.executionTerminated for event in new if event.HasField("executionTerminated")]
    if terminated:
        ended = _complete(pb.ORCHESTRATION_STATUS_TERMINATED, terminated[0].input.value or None)
        return Step([ended], orphans=_open_children(events))
    if _suspended(events):
        return Step()
    started = next(event.executionStarted for event in events if event.HasField("executionStarted"))
    try:
        state = _run(orchestrators, started, instance_id, parent_id, past, new)
        actions = [] if "error" in state else _to_send(state, _execution_id(instance_id, events), events)
    except Exception as unexpected:
        state, actions = {"error": str(unexpected) or repr(unexpected)}, []
    status = json.dumps(state["customStatus"]) if "customStatus" in state else None
    if "error" in state:
        reason = f"Orchestrator function '{started.name}' failed: {state['error']}"
        details = pb.TaskFailureDetails(errorType="OrchestratorFailed", errorMessage=reason)
        actions = [_complete(pb.ORCHESTRATION_STATUS_FAILED, json.dumps(reason), details)]
    return Step(actions, status)


def _run(
    orchestrators: Mapping[str, Handle],
    started: pb.ExecutionStartedEvent,
    instance_id: str,
    parent_id: str | None,
    past: Sequence[pb.HistoryEvent],
    new: Sequence[pb.HistoryEvent],
) -> dict[str, Any]:
    handle = orchestrators.get(started.name)
    if handle is None:
        return {
            "error": f"the app has no orchestrator of this name; it has {', '.join(sorted(orchestrators))}"
        }
    context = {
        "history": to_json(past, new),
        "input": json.loads(started.input.value) if started.input.value else None,
        "instanceId": instance_id,
        "isReplaying": bool(past),
        "parentInstanceId": parent_id,
        # The extension names V2 here, and its true version in the next field.
        "upperSchemaVersion": ReplaySchema.V2.value,
        "upperSchemaVersionNew": ReplaySchema.V3.value,
    }
    try:
        state: dict[str, Any] = json.loads(handle(json.dumps(context)))
    except Exception as failure:
        message, label, data = str(failure).rpartition(_FAILURE_LABEL)
        return json.loads(data) if label else {"error": data or message or repr(failure)}
    return state


def to_json(past: Sequence[pb.HistoryEvent], new: Sequence[pb.HistoryEvent]) -> list[dict[str, Any]]:
    """History as the SDK reads it; `past` has been played. Timers of an earlier execution are left out.

    The engine stamps only the first event of an episode; the others get that stamp.
    """
    timers: dict[int, Any] = {}
    history = []
    stamp = datetime.fromtimestamp(0, UTC)
    for position, event in enumerate([*past, *new]):
        kind = event.WhichOneof("eventType")
        body = getattr(event, kind)
        if event.timestamp.seconds:
            stamp = event.timestamp.ToDatetime(UTC)
        if kind == "timerCreated":
            timers[event.eventId] = body.fireAt
        elif kind == "timerFired" and timers.get(body.timerId) != body.fireAt:
            continue
        history.append(
            {
                "EventType": int(_KINDS.get(kind, HistoryEventType.GENERIC_EVENT)),
                "EventId": event.eventId,
                "IsPlayed": position < len(past),
                "Timestamp": iso(stamp),
                **_fields(kind, body),
            }
        )
    return history


def _fields(kind: str, body: Any) -> dict[str, Any]:
    match kind:
        case "executionStarted":
            return {"Name": body.name, "Input": _text(body, "input"), "Version": _text(body, "version")}
        case "taskScheduled":
            return {"Name": body.name, "Input": _text(body, "input")}
        case "subOrchestrationInstanceCreated":
            return {"Name": body.name, "InstanceId": body.instanceId, "Input": _text(body, "input")}
        case "taskCompleted" | "subOrchestrationInstanceCompleted":
            return {"TaskScheduledId": body.taskScheduledId, "Result": _text(body, "result")}
        case "taskFailed" | "subOrchestrationInstanceFailed":
            details = body.failureDetails
            return {
                "TaskScheduledId": body.taskScheduledId,
                "Reason": details.errorMessage,
                "Details": details.stackTrace.value or details.errorType,
            }
        case "timerCreated":
            return {"FireAt": iso(body.fireAt.ToDatetime(UTC))}
        case "timerFired":
            return {"TimerId": body.timerId, "FireAt": iso(body.fireAt.ToDatetime(UTC))}
        case "eventRaised":
            return {"Name": body.name, "Input": _text(body, "input")}
        case "executionCompleted":
            return {"Result": _text(body, "result"), "OrchestrationStatus": body.orchestrationStatus}
    return {}


def _to_send(
    state: Mapping[str, Any], execution_id: str, events: Sequence[pb.HistoryEvent]
) -> list[pb.OrchestratorAction]:
    actions = list(_in_order(action for batch in state["actions"] for action in batch))
    if state["isDone"]:
        if actions and actions[-1]["actionType"] == ActionType.CONTINUE_AS_NEW:
            new_input = json.dumps(actions[-1]["input"])
            return [_complete(pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW, new_input)]
        return [_complete(pb.ORCHESTRATION_STATUS_COMPLETED, json.dumps(state.get("output")))]
    recorded = {
        event.eventId: (_RECORDED[kind], getattr(getattr(event, kind), "name", None))
        for event in events
        if (kind := event.WhichOneof("eventType")) in _RECORDED
    }
    for task_id, action in enumerate(actions):
        seen = recorded.get(task_id)
        if seen and seen != (action["actionType"], action.get("functionName")):
            raise ValueError(
                f"it is not deterministic: task {task_id} was {seen[0].name} {seen[1] or ''} in history,"
                f" and is {ActionType(action['actionType']).name} {action.get('functionName', '')} now"
            )
    return [
        _to_engine(task_id, action, execution_id)
        for task_id, action in enumerate(actions)
        if task_id not in recorded and not action.get("isCanceled")
    ]


def _in_order(actions: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The actions that take a task id, in the order in which the SDK numbers them."""
    for action in actions:
        if action["actionType"] in (ActionType.WHEN_ALL, ActionType.WHEN_ANY):
            yield from _in_order(iter(action["compoundActions"]))
        elif action["actionType"] != ActionType.WAIT_FOR_EXTERNAL_EVENT:
            yield action


def _to_engine(task_id: int, action: Mapping[str, Any], execution_id: str) -> Any:
    match action["actionType"]:
        case ActionType.CALL_ACTIVITY:
            return helpers.new_schedule_task_action(task_id, action["functionName"], action["input"], None)
        case ActionType.CALL_SUB_ORCHESTRATOR:
            return helpers.new_create_sub_orchestration_action(
                task_id,
                action["functionName"],
                action["instanceId"] or f"{execution_id}:{task_id}",
                # The extension stores an orchestrator's input as a JSON string that holds JSON.
                json.dumps(action["input"]),
                action["version"],
            )
        case ActionType.CREATE_TIMER:
            return helpers.new_create_timer_action(task_id, datetime.fromisoformat(action["fireAt"]))
    raise NotImplementedError(f"the embedded host has no {ActionType(action['actionType']).name}")


def _complete(status: int, result: str | None, failure: pb.TaskFailureDetails | None = None) -> Any:
    return helpers.new_complete_orchestration_action(-1, status, result, failure)


def _execution_id(instance_id: str, events: Sequence[pb.HistoryEvent]) -> str:
    """An id that differs between executions of an instance id, and is the same at each replay."""
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{instance_id} {events[0].timestamp.ToNanoseconds()}").hex


def _suspended(events: Sequence[pb.HistoryEvent]) -> bool:
    for event in reversed(events):
        if event.HasField("executionSuspended") or event.HasField("executionResumed"):
            return bool(event.HasField("executionSuspended"))
    return False


def _open_children(events: Sequence[pb.HistoryEvent]) -> tuple[str, ...]:
    children: dict[int, str] = {}
    for event in events:
        kind = event.WhichOneof("eventType")
        if kind == "subOrchestrationInstanceCreated":
            children[event.eventId] = event.subOrchestrationInstanceCreated.instanceId
        elif kind in ("subOrchestrationInstanceCompleted", "subOrchestrationInstanceFailed"):
            children.pop(getattr(event, kind).taskScheduledId, None)
    return tuple(children.values())


def _text(body: Any, name: str) -> str | None:
    return getattr(body, name).value if body.HasField(name) else None


def iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
