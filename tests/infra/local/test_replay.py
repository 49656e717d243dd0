"""History to JSON, the SDK's replay, and actions by position: no engine, no host."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as pb
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.local.app import App
from infra.local.durable import to_json
from infra.local.durable.replay import Step, advance

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def begin(name: str, value: Any) -> list[Any]:
    return [
        helpers.new_orchestrator_started_event(NOON),
        helpers.new_execution_started_event(name, "i", json.dumps(json.dumps(value))),
    ]


def step(app: App, past: list[Any], new: list[Any]) -> Step:
    return advance(app.orchestrators, "i", "above", past, new)


def scheduled(made: Step) -> list[tuple[int, str, str]]:
    return [(a.id, a.scheduleTask.name, a.scheduleTask.input.value) for a in made.actions]


def ended(made: Step) -> tuple[int, Any]:
    (action,) = made.actions
    done = action.completeOrchestration
    return done.orchestrationStatus, json.loads(done.result.value)


def test_each_task_is_sent_once_with_its_position_as_id(tiny: App) -> None:
    made = step(tiny, [], begin("fan_out", 3))
    assert [(0, "double", "0"), (1, "double", "1"), (2, "double", "2")] == scheduled(made)
    assert json.dumps({"asked": 3}) == made.custom_status


@settings(max_examples=25)
@given(order=st.permutations(range(5)), batch=st.integers(1, 5))
def test_answers_keep_their_order_whatever_order_they_come_in(
    tiny: App, order: list[int], batch: int
) -> None:
    past, made = begin("fan_out", 5), step(tiny, [], begin("fan_out", 5))
    while order:
        past += [helpers.new_task_scheduled_event(a.id, a.scheduleTask.name, "0") for a in made.actions]
        now, order = order[:batch], order[batch:]
        new = [helpers.new_orchestrator_started_event(NOON + timedelta(seconds=len(past)))]
        new += [helpers.new_task_completed_event(n, str(10 * n)) for n in now]
        made = step(tiny, past, new)
        past += new
    assert (pb.ORCHESTRATION_STATUS_COMPLETED, [0, 10, 20, 30, 40]) == ended(made)


def test_a_task_that_has_failed_raises_what_its_reason_says(tiny: App) -> None:
    past = [*begin("one", {"activity": "fail", "input": 1}), helpers.new_task_scheduled_event(0, "fail")]
    failed = helpers.new_task_failed_event(0, ValueError("no good"))
    made = step(tiny, past, [helpers.new_orchestrator_started_event(NOON), failed])
    status, output = ended(made)
    assert pb.ORCHESTRATION_STATUS_COMPLETED == status
    assert output["error"].startswith("no good")


def test_an_exception_of_the_orchestrator_fails_it_and_keeps_its_status(tiny: App) -> None:
    past = [*begin("careless", None), helpers.new_task_scheduled_event(0, "fail")]
    failed = helpers.new_task_failed_event(0, ValueError("no good"))
    made = step(tiny, past, [helpers.new_orchestrator_started_event(NOON), failed])
    status, output = ended(made)
    assert pb.ORCHESTRATION_STATUS_FAILED == status
    assert output.startswith("Orchestrator function 'careless' failed: no good")
    assert '"before"' == made.custom_status


def test_sub_orchestrations_without_an_id_get_the_executions_own(tiny: App) -> None:
    made = step(tiny, [], begin("parent", {"blocks": 2, "each": 4}))
    again = step(tiny, [], begin("parent", {"blocks": 2, "each": 4}))
    ids = [action.createSubOrchestration.instanceId for action in made.actions]
    assert ids == [action.createSubOrchestration.instanceId for action in again.actions]
    assert 2 == len(set(ids))
    assert [":0", ":1"] == [text[32:] for text in ids]


def test_external_events_take_no_task_id(tiny: App) -> None:
    (timer,) = step(tiny, [], begin("approval", 60)).actions
    assert 0 == timer.id
    assert NOON + timedelta(minutes=1) == timer.createTimer.fireAt.ToDatetime(UTC)


def test_a_timer_of_an_earlier_execution_is_left_out() -> None:
    fire = NOON + timedelta(seconds=5)
    own = [helpers.new_timer_created_event(0, fire), helpers.new_timer_fired_event(0, fire)]
    stale = [helpers.new_timer_fired_event(0, NOON), helpers.new_timer_fired_event(7, fire)]
    assert to_json(own, []) == to_json(own, stale)


def test_history_tells_what_was_played_and_when_each_episode_began() -> None:
    past = [helpers.new_orchestrator_started_event(NOON), helpers.new_task_completed_event(0, "1")]
    new = [helpers.new_orchestrator_started_event(NOON + timedelta(seconds=1))]
    history = to_json(past, new)
    assert [True, True, False] == [event["IsPlayed"] for event in history]
    assert [12, 5, 12] == [event["EventType"] for event in history]
    assert ["00", "00", "01"] == [event["Timestamp"][17:19] for event in history]


def test_an_orchestrator_that_calls_something_else_on_replay_is_failed(tiny: App) -> None:
    past = [*begin("wavering", None), helpers.new_task_scheduled_event(0, "double")]
    done = helpers.new_task_completed_event(0, "2")
    status, output = ended(step(tiny, past, [helpers.new_orchestrator_started_event(NOON), done]))
    assert pb.ORCHESTRATION_STATUS_FAILED == status
    assert "not deterministic: task 0 was CALL_ACTIVITY double" in output


def test_what_the_host_does_not_have_fails_the_instance_and_is_named(tiny: App) -> None:
    status, output = ended(step(tiny, [], begin("retrying", None)))
    assert pb.ORCHESTRATION_STATUS_FAILED == status
    assert "the embedded host has no CALL_ACTIVITY_WITH_RETRY" in output


def test_an_unknown_orchestrator_fails_the_instance_and_names_the_known_ones(tiny: App) -> None:
    status, output = ended(step(tiny, [], begin("nobody", None)))
    assert pb.ORCHESTRATION_STATUS_FAILED == status
    assert "fan_out" in output


def test_a_suspended_instance_sends_nothing_and_catches_up_when_resumed(tiny: App) -> None:
    past = [*begin("one", {"activity": "double", "input": 1}), helpers.new_task_scheduled_event(0, "double")]
    held = [helpers.new_suspend_event(), helpers.new_task_completed_event(0, "2")]
    assert Step() == step(tiny, past, held)
    resumed = step(tiny, [*past, *held], [helpers.new_resume_event()])
    assert (pb.ORCHESTRATION_STATUS_COMPLETED, {"answer": 2}) == ended(resumed)


def test_a_terminated_instance_names_the_children_it_leaves(tiny: App) -> None:
    past = [
        *begin("parent", {"blocks": 2, "each": 1}),
        helpers.new_sub_orchestration_created_event(0, "block", "first"),
        helpers.new_sub_orchestration_created_event(1, "block", "second"),
        helpers.new_sub_orchestration_completed_event(0, "1"),
    ]
    made = step(tiny, past, [helpers.new_terminated_event(encoded_output='"enough"')])
    assert (pb.ORCHESTRATION_STATUS_TERMINATED, "enough") == ended(made)
    assert ("second",) == made.orphans
