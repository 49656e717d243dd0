"""The extension's JSON for an instance and its history, which the management routes return. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC
from typing import Any

from azure.durable_functions.models.history import HistoryEventType
from durabletask.internal import orchestrator_service_pb2 as pb

from infra.local.durable import to_json

STATUS_NAMES: dict[int, str] = {
    number: "".join(part.title() for part in name.removeprefix("ORCHESTRATION_STATUS_").split("_"))
    for name, number in pb.OrchestrationStatus.items()
}
_SCHEDULED = {
    "TaskCompleted": "TaskScheduled",
    "TaskFailed": "TaskScheduled",
    "SubOrchestrationInstanceCompleted": "SubOrchestrationInstanceCreated",
    "SubOrchestrationInstanceFailed": "SubOrchestrationInstanceCreated",
}
_UNSHOWN = ("OrchestratorStarted", "OrchestratorCompleted")


def status(state: Any, show_input: bool) -> dict[str, Any]:
    """The payload of one instance, without historyEvents."""
    return {
        "name": state.name,
        "instanceId": state.instanceId,
        "runtimeStatus": STATUS_NAMES[state.orchestrationStatus],
        "input": _decoded(state.input.value) if show_input else None,
        "customStatus": _decoded(state.customStatus.value),
        "output": _decoded(state.output.value),
        "createdTime": _whole_seconds(state.createdTimestamp),
        "lastUpdatedTime": _whole_seconds(state.lastUpdatedTimestamp),
    }


def history(events: Sequence[Any], show_input: bool, show_output: bool) -> list[dict[str, Any]]:
    """The payload's historyEvents. A scheduled task and its answer become one entry, the answer's."""
    entries = [(_kind(entry), entry) for entry in to_json(events, [])]
    asked = {(kind, entry["EventId"]): entry for kind, entry in entries if kind in _SCHEDULED.values()}
    answers = {(_SCHEDULED[kind], entry["TaskScheduledId"]) for kind, entry in entries if kind in _SCHEDULED}
    return [
        _shown(
            kind,
            entry,
            asked.get((_SCHEDULED.get(kind, ""), entry.get("TaskScheduledId"))),
            show_input,
            show_output,
        )
        for kind, entry in entries
        if kind not in _UNSHOWN and (kind, entry["EventId"]) not in answers
    ]


def _shown(
    kind: str, entry: dict[str, Any], asked: dict[str, Any] | None, show_input: bool, show_output: bool
) -> dict[str, Any]:
    left_out = {"EventId", "IsPlayed", "TaskScheduledId", "TimerId", "Version", "Result"}
    shown = {
        "EventType": kind,
        **{key: value for key, value in entry.items() if key not in left_out | {"EventType"}},
    }
    if asked:
        shown |= {"ScheduledTime": asked["Timestamp"], "FunctionName": asked["Name"], "Input": asked["Input"]}
    if kind == "ExecutionStarted":
        shown["FunctionName"] = shown.pop("Name")
    if kind == "ExecutionCompleted":
        shown["OrchestrationStatus"] = STATUS_NAMES[shown["OrchestrationStatus"]]
    if show_output and "Result" in entry:
        shown["Result"] = _decoded(entry["Result"])
    if not show_input:
        shown.pop("Input", None)
    return shown


def _kind(entry: dict[str, Any]) -> str:
    return "".join(part.title() for part in HistoryEventType(entry["EventType"]).name.split("_"))


def _decoded(text: str | None) -> Any:
    return json.loads(text) if text else None


def _whole_seconds(stamp: Any) -> str:
    return f"{stamp.ToDatetime(UTC):%Y-%m-%dT%H:%M:%SZ}"
