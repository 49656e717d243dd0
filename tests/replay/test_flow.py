"""The orchestration, replayed through the SDK with synthetic histories."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from shared import fan_out, names
from shared.errors import BlobNotFound, NotAVideo, StorageUnavailable
from tests.support.history import Crash, Replay, Stop

JOB = "m-0123"


class Service:
    """Answers as the activities would; `trouble` decides what happens to a unit's n-th try."""

    def __init__(self, units: int, trouble: Any = None, looks: int = 0, later: int = 0) -> None:
        self.units = units
        self.later = later
        self.looks = looks
        self.trouble = trouble or (lambda unit, attempt: None)
        self.tries: Counter[int] = Counter()
        self.closed: list[dict[str, Any]] = []
        self.cut: list[dict[str, list[int]]] = []
        self.swept: list[dict[str, list[int]]] = []

    def __call__(self, activity: str, task: Any) -> Any:
        if activity == names.PLAN_JOB:
            return {"ok": True, "job": JOB, "units": self.units, "later": self.later, "media_s": 60.0}
        if activity == names.PLAN_LOOK:
            self.swept.append(task["failed"])
            return {"ok": True, "job": JOB, "units": self.looks}
        if activity == names.SCORE_SEGMENT:
            unit = task["unit"]
            self.tries[unit] += 1
            trouble = self.trouble(unit, self.tries[unit])
            if trouble == "crash":
                raise Crash("the worker was killed")
            if trouble is not None:
                return {"ok": False, "job": JOB, "unit": unit, "error": trouble.record()}
            return {"ok": True, "job": JOB, "unit": unit, "cached": False, "frames": 1500}
        if activity == names.START_NEXT:
            return {"ok": True, "turn": 1}
        if activity == names.WRITE_CUT:
            self.cut.append(task["failed"])
            return {"ok": True, "state": "CompletedWithGaps" if task["failed"] else "Completed"}
        assert activity == names.CLOSE_JOB
        self.closed.append(task["error"])
        return {"ok": True, "state": "Failed"}


def run(service: Any) -> tuple[Replay, Any]:
    replay = Replay(service)
    return replay, replay.run(names.JOB, JOB, {"job": JOB})


def test_a_job_plans_scores_every_unit_once_and_cuts() -> None:
    service = Service(5)
    replay, output = run(service)
    assert output == {"state": "Completed"}
    assert [name for name, _ in replay.calls] == [
        names.PLAN_JOB,
        *[names.SCORE_SEGMENT] * 5,
        names.PLAN_LOOK,
        names.WRITE_CUT,
    ]
    assert dict.fromkeys(range(5), 1) == dict(service.tries)
    assert [status["state"] for status in replay.custom] == ["Planning", "Scoring", "Cutting", "Completed"]


def test_a_unit_that_fails_once_is_run_again_and_only_that_one() -> None:
    busy = StorageUnavailable("Storage answered 503.")
    service = Service(5, lambda unit, attempt: busy if (unit, attempt) == (3, 1) else None)
    _, output = run(service)
    assert output == {"state": "Completed"}
    assert dict(service.tries) == {0: 1, 1: 1, 2: 1, 3: 2, 4: 1}
    assert service.cut == [{}]


def test_a_unit_whose_storage_stays_away_is_given_up_after_longer_and_longer_pauses_and_named() -> None:
    busy = StorageUnavailable("Storage answered 503.")
    service = Service(5, lambda unit, attempt: busy if unit == 3 else None)
    replay, output = run(service)
    assert output == {"state": "CompletedWithGaps"}
    assert service.tries[3] == 6
    assert service.cut == [{"storage_unavailable": [3]}]
    # The synthetic clock stands still at 20:45.
    times = ["20:45:02", "20:45:15", "20:46:00", "20:50:00", "21:00:00"]
    assert times == [pause[11:19] for pause in replay.pauses]


def test_storage_that_was_away_takes_no_try_from_a_unit_whose_process_dies() -> None:
    busy = StorageUnavailable("Storage answered 503.")
    trouble = {1: busy, 2: "crash", 3: busy, 4: "crash"}
    service = Service(3, lambda unit, attempt: trouble.get(attempt) if unit == 1 else None)
    _, output = run(service)
    assert output == {"state": "Completed"}
    assert service.tries[1] == 5


def test_a_step_waits_for_storage_longer_than_for_a_process_that_dies() -> None:
    healthy = Service(1)
    tries: Counter[str] = Counter()

    def service(activity: str, task: Any) -> Any:
        tries[activity] += 1
        if activity == names.PLAN_LOOK and tries[activity] < 6:
            return {"ok": False, "error": StorageUnavailable("Storage answered 503.").record()}
        if activity == names.WRITE_CUT:
            raise Crash("the worker was killed")
        return healthy(activity, task)

    _, output = run(service)
    assert output == {"state": "Failed", "code": "segment_failed"}
    assert (6, 3) == (tries[names.PLAN_LOOK], tries[names.WRITE_CUT])


def test_a_failure_that_will_not_pass_is_not_tried_again() -> None:
    service = Service(5, lambda unit, attempt: BlobNotFound("gone") if unit == 1 else None)
    _, output = run(service)
    assert output == {"state": "CompletedWithGaps"}
    assert service.tries[1] == 1
    assert service.cut == [{"blob_not_found": [1]}]


def test_a_worker_that_dies_costs_its_unit_a_try_and_no_other_answer() -> None:
    service = Service(6, lambda unit, attempt: "crash" if attempt == 1 and unit in (0, 2) else None)
    _, output = run(service)
    assert output == {"state": "Completed"}
    assert dict(service.tries) == {0: 2, 1: 1, 2: 2, 3: 1, 4: 1, 5: 1}


def test_a_worker_that_always_dies_becomes_a_gap() -> None:
    service = Service(3, lambda unit, attempt: "crash" if unit == 1 else None)
    _, output = run(service)
    assert output == {"state": "CompletedWithGaps"}
    assert service.cut == [{"segment_failed": [1]}]


def test_a_video_that_cannot_be_planned_fails_the_job_with_its_code() -> None:
    closed = []

    def service(activity: str, task: Any) -> Any:
        if activity == names.PLAN_JOB:
            return {"ok": False, "error": NotAVideo("No container.").record()}
        assert activity == names.CLOSE_JOB
        closed.append(task["error"]["code"])
        return {"ok": True, "state": "Failed"}

    replay, output = run(service)
    assert output == {"state": "Failed", "code": "not_a_video"}
    assert closed == ["not_a_video"]
    assert [name for name, _ in replay.calls] == [names.PLAN_JOB, names.CLOSE_JOB]


def test_a_planner_that_dies_twice_is_tried_a_third_time() -> None:
    healthy = Service(1)
    deaths: list[int] = []

    def service(activity: str, task: Any) -> Any:
        if activity == names.PLAN_JOB and len(deaths) < 2:
            deaths.append(1)
            raise Crash("the worker was killed")
        return healthy(activity, task)

    _, output = run(service)
    assert output == {"state": "Completed"}


@pytest.mark.parametrize(("units", "blocks"), [(100, 0), (101, 3), (400, 8)])
def test_above_a_hundred_units_sub_orchestrations_share_the_work(units: int, blocks: int) -> None:
    service = Service(units)
    replay, output = run(service)
    assert output == {"state": "Completed"}
    assert [fan_out.block_id(JOB, block) for block in fan_out.blocks(0, units)] == replay.subs
    assert blocks == len(replay.subs)
    assert dict.fromkeys(range(units), 1) == dict(service.tries)


@pytest.mark.parametrize(("units", "looks", "blocks"), [(1, 40, 0), (1, 101, 3), (101, 150, 6)])
def test_what_is_found_in_the_first_fan_out_is_scored_in_a_second(
    units: int, looks: int, blocks: int
) -> None:
    service = Service(units, looks=looks)
    replay, output = run(service)
    assert output == {"state": "Completed"}
    assert dict.fromkeys(range(units + looks), 1) == dict(service.tries)
    assert blocks == len(set(replay.subs))
    totals = [status["total"] for status in replay.custom if status["state"] == "Scoring"]
    assert totals == [units, units + looks]


def test_a_second_fan_out_that_is_planned_from_the_beginning_counts_from_the_beginning() -> None:
    service = Service(5, looks=1, later=1)
    replay, output = run(service)
    assert output == {"state": "Completed"}
    assert dict.fromkeys(range(6), 1) == dict(service.tries)
    assert [status["total"] for status in replay.custom if "total" in status] == [6, 6, 6, 6]


def test_failures_of_both_fan_outs_reach_the_cut_and_those_of_the_first_the_look() -> None:
    trouble = {0: BlobNotFound("gone"), 3: BlobNotFound("gone"), 4: NotAVideo("text")}
    service = Service(2, lambda unit, attempt: trouble.get(unit), looks=3)
    _, output = run(service)
    assert output == {"state": "CompletedWithGaps"}
    assert service.swept == [{"blob_not_found": [0]}]
    assert service.cut == [{"blob_not_found": [0, 3], "not_a_video": [4]}]


def test_failures_in_blocks_reach_the_cut() -> None:
    service = Service(101, lambda unit, attempt: BlobNotFound("gone") if unit in (7, 100) else None)
    _, output = run(service)
    assert output == {"state": "CompletedWithGaps"}
    assert service.cut == [{"blob_not_found": [7, 100]}]


def test_a_block_that_is_lost_gives_up_its_units_and_no_others() -> None:
    class Losing(Replay):
        def run(self, name: str, instance: str, input_: Any, parent: str | None = None) -> Any:
            if parent and input_["first"] == 50:
                raise Crash("the sub-orchestration was terminated")
            return super().run(name, instance, input_, parent)

    service = Service(120)
    assert Losing(service).run(names.JOB, JOB, {"job": JOB}) == {"state": "CompletedWithGaps"}
    assert service.cut == [{"segment_failed": list(range(50, 100))}]


def test_terminating_ends_the_orchestration_where_it_stands() -> None:
    """Cancel: the host drops the instance; what was asked for until then is all that ran."""
    service = Service(5)

    def answer(activity: str, task: Any) -> Any:
        if activity == names.SCORE_SEGMENT and task["unit"] == 2:
            raise Stop
        return service(activity, task)

    replay = Replay(answer)
    with pytest.raises(Stop):
        replay.run(names.JOB, JOB, {"job": JOB})
    assert [1, 1] == [service.tries[0], service.tries[1]]
    assert service.cut == []


def test_units_that_see_the_cancel_marker_are_not_tried_again() -> None:
    from shared.errors import Cancelled

    service = Service(4, lambda unit, attempt: Cancelled("The job was cancelled.") if unit > 1 else None)
    run(service)
    assert dict.fromkeys(range(4), 1) == dict(service.tries)


@pytest.fixture(scope="module")
def thousand() -> Replay:
    return run(Service(1000))[0]


def test_history_and_status_hold_references_only_and_stay_small(thousand: Replay) -> None:
    replay = thousand
    for history in replay.histories.values():
        for event in history:
            assert len(json.dumps(event)) < 4096
    assert all(len(json.dumps(status)) < 4096 for status in replay.custom)


def test_replay_work_grows_linearly_with_segments(thousand: Replay) -> None:
    """Events replayed per segment: with blocks of 50 it does not grow from 300 to 1,000 segments."""
    at_300 = run(Service(300))[0].replayed_events / 300
    assert thousand.replayed_events / 1000 <= 1.1 * at_300


def test_a_job_of_a_batch_puts_few_units_in_front_of_others_and_starts_the_next() -> None:
    service = Service(10, looks=3)
    replay = Replay(service)
    assert {"state": "Completed"} == replay.run(names.JOB, JOB, {"job": JOB, "batch": True, "leads": True})
    assert names.START_NEXT == replay.calls[-1][0]
    assert [1, 4, 4, 2, 1, 3, 1, 1] == replay.scheduled
    assert dict.fromkeys(range(13), 1) == dict(service.tries)


def test_a_job_of_a_batch_that_fails_starts_the_next_all_the_same() -> None:
    calls = []

    def service(activity: str, task: Any) -> Any:
        calls.append(activity)
        if activity == names.PLAN_JOB:
            return {"ok": False, "error": NotAVideo("No container.").record()}
        return {"ok": True}

    Replay(service).run(names.JOB, JOB, {"job": JOB, "batch": True, "leads": True})
    assert [names.PLAN_JOB, names.CLOSE_JOB, names.START_NEXT] == calls


def test_a_batch_is_expanded_block_by_block_and_jobs_start_meanwhile() -> None:
    calls = []

    def service(activity: str, task: Any) -> Any:
        calls.append((activity, task.get("first")))
        if activity == names.EXPAND_BATCH and task["first"] == 25:
            return {"ok": False, "error": StorageUnavailable("Storage answered 503.").record()}
        return {"ok": True}

    assert {"lost": 1} == Replay(service).run(names.BATCH, "b-1", {"total": 60})
    assert [0, *[25] * 6, 50] == [first for name, first in calls if name == names.EXPAND_BATCH]
    assert 3 == sum(name == names.START_NEXT for name, _ in calls)


def test_a_callback_is_tried_again_after_the_time_that_its_last_attempt_says() -> None:
    answers = [("pending", 5), ("pending", 30), ("delivered", 0)]

    def service(activity: str, task: Any) -> Any:
        assert (names.CALL_BACK, JOB) == (activity, task["job"])
        state, wait_s = answers[task["attempt"] - 1]
        return {"ok": True, "state": state, "wait_s": wait_s}

    replay = Replay(service)
    assert {"state": "delivered"} == replay.run(names.CALLBACK, f"{JOB}-callback", {"job": JOB})
    assert [1, 2, 3] == [task["attempt"] for _, task in replay.calls]
    assert 2 == len(replay.pauses)


def test_a_callback_whose_record_cannot_be_read_is_left_to_whoever_tends() -> None:
    def service(activity: str, task: Any) -> Any:
        return {"ok": False, "error": StorageUnavailable("Storage answered 503.").record()}

    assert {"state": "unknown"} == Replay(service).run(names.CALLBACK, f"{JOB}-callback", {"job": JOB})
