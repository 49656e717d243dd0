"""Synthetic durable histories, replayed through the SDK as the Functions host would.

A host in miniature, which shares nothing with infra/local but the loading of the app: it calls
the app's own orchestrator with the history so far, lets `answer` carry out the new actions, appends
their events, and calls again. Each call replays from the beginning, and `replayed_events` counts that work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from azure.durable_functions.models.actions.ActionType import ActionType
from azure.durable_functions.models.history import HistoryEventType as Kind

from infra.local.app import load

ORCHESTRATORS = load("function_app").orchestrators

Answer = Callable[[str, Any], Any]
"""(activity, input) -> its result. Raises Crash where the process that runs it dies."""


class Crash(Exception):
    pass


class Stop(Exception):
    """Raised by an answer to end the run there, as terminate does."""


@dataclass
class Replay:
    """One orchestration, and its sub-orchestrations, run to their end."""

    answer: Answer
    output: Any = None
    custom: list[Any] = field(default_factory=list)
    """Every custom status of the parent, in order, without repetitions."""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    scheduled: list[int] = field(default_factory=list)
    """How many actions each step of the orchestration scheduled, in order."""
    subs: list[str] = field(default_factory=list)
    pauses: list[str] = field(default_factory=list)
    """When its timers are to fire."""
    replayed_events: int = 0
    largest_history: int = 0
    histories: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def run(self, name: str, instance: str, input_: Any, parent: str | None = None) -> Any:
        history = self.histories[instance] = [
            _event(Kind.ORCHESTRATOR_STARTED),
            _event(Kind.EXECUTION_STARTED, Name=name, Input=json.dumps(input_), Version=None),
        ]
        done_actions = 0
        while True:
            self.replayed_events += len(history)
            self.largest_history = max(self.largest_history, len(history))
            state = json.loads(ORCHESTRATORS[name](json.dumps(_context(history, instance, parent, input_))))
            status = state.get("customStatus")
            if parent is None and status and (not self.custom or self.custom[-1] != status):
                self.custom.append(status)
            if state["isDone"]:
                return state.get("output")
            actions = list(_flat(action for batch in state["actions"] for action in batch))
            new, done_actions = actions[done_actions:], len(actions)
            assert new, "the orchestrator waits for something that was never scheduled"
            self.scheduled.append(len(new))
            first = done_actions - len(new)
            self.pauses += [a["fireAt"] for a in new if a["actionType"] == ActionType.CREATE_TIMER]
            scheduled = [_scheduled(first + index, action) for index, action in enumerate(new)]
            history += [*scheduled, _event(Kind.ORCHESTRATOR_COMPLETED)]
            # As on the real host, every completion is an episode of its own: the worst case.
            for index, action in enumerate(new):
                completed = self._completed(first + index, action, instance)
                history += [_event(Kind.ORCHESTRATOR_STARTED), completed]
                if index < len(new) - 1:
                    self.replayed_events += len(history)
                    self.largest_history = max(self.largest_history, len(history))
                    again = json.loads(
                        ORCHESTRATORS[name](json.dumps(_context(history, instance, parent, input_)))
                    )
                    assert not again["isDone"], "ended before all of the fan-out had answered"
                    history.append(_event(Kind.ORCHESTRATOR_COMPLETED))

    def _completed(self, task_id: int, action: dict[str, Any], instance: str) -> dict[str, Any]:
        if action["actionType"] == ActionType.CREATE_TIMER:
            return _event(Kind.TIMER_FIRED, TimerId=task_id, FireAt=action["fireAt"])
        is_sub = action["actionType"] == ActionType.CALL_SUB_ORCHESTRATOR
        value = json.loads(action["input"])
        try:
            if is_sub:
                self.subs.append(action["instanceId"])
                result = self.run(action["functionName"], action["instanceId"], value, parent=instance)
            else:
                self.calls.append((action["functionName"], value))
                result = self.answer(action["functionName"], value)
        except Crash as crash:
            kind = Kind.SUB_ORCHESTRATION_INSTANCE_FAILED if is_sub else Kind.TASK_FAILED
            return _event(kind, TaskScheduledId=task_id, Reason=str(crash), Details="")
        kind = Kind.SUB_ORCHESTRATION_INSTANCE_COMPLETED if is_sub else Kind.TASK_COMPLETED
        return _event(kind, TaskScheduledId=task_id, Result=json.dumps(result))


def _event(kind: Kind, event_id: int = -1, **fields: Any) -> dict[str, Any]:
    return {
        "EventType": int(kind),
        "EventId": event_id,
        "IsPlayed": False,
        "Timestamp": "2026-01-01T20:45:00.000000Z",
        **fields,
    }


def _scheduled(task_id: int, action: dict[str, Any]) -> dict[str, Any]:
    if action["actionType"] == ActionType.CREATE_TIMER:
        return _event(Kind.TIMER_CREATED, task_id, FireAt=action["fireAt"])
    is_sub = action["actionType"] == ActionType.CALL_SUB_ORCHESTRATOR
    kind = Kind.SUB_ORCHESTRATION_INSTANCE_CREATED if is_sub else Kind.TASK_SCHEDULED
    return _event(kind, task_id, Name=action["functionName"], Input=action["input"])


def _flat(actions: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for action in actions:
        if action["actionType"] in (ActionType.WHEN_ALL, ActionType.WHEN_ANY):
            yield from _flat(iter(action["compoundActions"]))
        else:
            yield action


def _context(history: list[dict[str, Any]], instance: str, parent: str | None, input_: Any) -> dict[str, Any]:
    return {
        "history": history,
        "input": json.dumps(input_),
        "instanceId": instance,
        "isReplaying": False,
        "parentInstanceId": parent,
        "upperSchemaVersion": 1,
        "upperSchemaVersionNew": 2,
    }
