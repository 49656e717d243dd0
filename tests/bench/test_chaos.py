"""One run of `make chaos` with one job, and what its plans are."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.chaos import KILLED, RUNS, figures, plan_of
from bench.faults import Schedule
from bench.trial import CUT, Kill, Outcome, Plan, make_template, run
from infra.local.azurite import Azurite
from tests.support.in_process import InProcessService


def test_a_seed_is_a_plan_and_fifty_of_them_hold_every_trouble() -> None:
    plans = [plan_of(seed) for seed in range(RUNS)]
    assert plans == [plan_of(seed) for seed in range(RUNS)]
    for what in KILLED:
        assert sum(any(kill.what == what for kill in plan.kills) for plan in plans) >= RUNS // 3
    assert sum(plan.scratch_full_s is not None for plan in plans) == RUNS // 5
    assert sum(plan.cascade for plan in plans) == RUNS // 10
    assert sum(plan.faults.outage[1] - plan.faults.outage[0] > 62 for plan in plans) == RUNS // 10
    assert all(plan.faults.share >= 0.02 for plan in plans)


def test_a_broken_promise_is_a_goal_that_is_missed() -> None:
    kept = Outcome(0, accepted=4, states={"Completed": 4}, units=30, in_flight=2, twice=2)
    broken = Outcome(1, accepted=4, states={"Completed": 3}, lost=1, secrets=1, wrong=["lost jobs: 1"])

    def missed(*outcomes: Outcome) -> set[str]:
        return {figure.figure for figure in figures(outcomes) if figure.met is False}

    assert {"runs"} == missed(kept)
    assert {
        "runs",
        "runs that kept every promise",
        "jobs Completed",
        "lost jobs",
        "secrets in the log",
    } == missed(kept, broken)


@pytest.mark.e2e
@pytest.mark.azurite
def test_a_job_ends_with_the_same_bytes_though_host_worker_and_storage_are_killed(
    azurite: Azurite, tmp_path: Path
) -> None:
    template = make_template(tmp_path / "template")
    service = InProcessService(azurite.connection_string)
    url = service.upload((tmp_path / "template" / "match.mp4").read_bytes())
    job, _ = service.run(url, cut=CUT)
    undisturbed = service.file(job, "cut.edl")
    assert b"FROM CLIP NAME" in undisturbed
    plan = Plan(
        seed=1,
        faults=Schedule(seed=1, share=0.03, until_s=30, kinds=("500", "lost", "reset after", "cut")),
        kills=(Kill(1.0, "worker", 0), Kill(2.0, "storage", 0.5), Kill(3.0, "host", 0.1)),
        few=True,
    )
    outcome, edls = run(plan, tmp_path / "run", template, {0: undisturbed})
    assert [] == outcome.wrong
    assert {0: undisturbed} == edls
    assert {"worker": 1, "storage": 1, "host": 1} == outcome.kills
    assert (1, {"Completed": 1}) == (outcome.accepted, outcome.states)
    assert outcome.twice <= outcome.in_flight + outcome.gave_up
    assert outcome.units == 11
    assert outcome.deliveries >= 1
