"""Timer functions on a running host."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from infra.local.app import AppError, load
from infra.local.embedded import EmbeddedHost
from infra.local.timers.triggers import Timer
from tests.support.processes import still_running
from tests.support.tiny import api_of
from tests.support.waiting import LIMIT_S, read_if_there, until

TIMED = "tests.infra.local.apps.timed.function_app"


@dataclasses.dataclass
class Timed:
    host: EmbeddedHost
    folder: Path

    def runs(self, name: str, count: int) -> list[dict[str, Any]]:
        """The first runs of a function, once there are so many."""

        def lines() -> list[str]:
            return read_if_there(self.folder / name).splitlines()

        until(lambda: len(lines()) >= count, lambda: (name, lines(), self.host.log.read_text()[-2000:]))
        return [json.loads(line) for line in lines()[:count]]

    def logged(self, message: str, function: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.host.log.read_text().splitlines() if line[:1] == "{"]
        return [line for line in lines if (line["message"], line.get("function")) == (message, function)]


@pytest.fixture(scope="module")
def timed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Timed]:
    folder = tmp_path_factory.mktemp("timed")
    settings = {"TIMED_FOLDER": str(folder), "BEAT": "* * * * * *"}
    with EmbeddedHost(app=TIMED, workers=1, storage="UseDevelopmentStorage=true", env=settings) as running:
        yield Timed(running, folder)


@pytest.mark.e2e
def test_a_timer_function_runs_at_each_moment_of_the_schedule_that_a_setting_names(timed: Timed) -> None:
    runs = timed.runs("beat", 5)[1:]  # the first has to start the process
    for before, run in pairwise(runs):
        announced = datetime.fromisoformat(before["status"]["Next"]).timestamp()
        assert 0 <= run["start"] - announced < LIMIT_S
        assert 0 <= before["start"] - datetime.fromisoformat(run["status"]["Last"]).timestamp() < LIMIT_S
    assert 1 == len({run["pid"] for run in runs})


@pytest.mark.e2e
def test_a_function_that_runs_on_startup_starts_an_orchestration_and_leaves_no_process(
    timed: Timed,
) -> None:
    (run,) = timed.runs("at_start", 1)
    assert ("by-timer", False) == (run["started"], run["past_due"])
    with api_of(timed.host) as api:
        seen = api.wait("by-timer")
    assert ("Completed", 1) == (seen["runtimeStatus"], seen["output"])
    assert [] == still_running([run["pid"]])
    assert "0001-01-01T00:00:00+00:00" == run["status"]["Last"]
    assert run["status"]["Next"].endswith("-01-01T00:00:00+00:00")


@pytest.mark.e2e
def test_a_run_that_is_longer_than_its_interval_ends_before_the_next_begins(timed: Timed) -> None:
    runs = timed.runs("slow", 4)
    assert [True] * 3 == [before["end"] <= after["start"] for before, after in pairwise(runs)]
    assert [True] * 3 == [run["past_due"] for run in runs[1:]]


@pytest.mark.e2e
def test_a_run_that_fails_is_logged_and_the_next_ones_come(timed: Timed) -> None:
    runs = timed.runs("stumble", 3)
    failures = timed.logged("a timer function failed", "stumble")
    assert {"ValueError: no good today"} == {failure["reason"] for failure in failures}
    assert "in stumble" in failures[0]["stack"]
    assert 1 == len({run["pid"] for run in runs})


@pytest.mark.e2e
def test_a_run_whose_process_is_killed_costs_itself_only(timed: Timed) -> None:
    runs = timed.runs("die", 3)
    assert 3 == len({run["pid"] for run in runs})
    failures = timed.logged("a timer function failed", "die")
    assert failures[0]["reason"].endswith("the process that ran it died: signal SIGKILL")


@pytest.mark.e2e
def test_a_run_that_is_going_on_ends_with_the_host(tmp_path: Path) -> None:
    (tmp_path / "hang").touch()
    settings = {"TIMED_FOLDER": str(tmp_path), "BEAT": "0 0 0 1 1 *"}
    with EmbeddedHost(app=TIMED, workers=1, storage="UseDevelopmentStorage=true", env=settings) as running:
        timed = Timed(running, tmp_path)
        timed.runs("hangs", 1)
        pid = int((tmp_path / "hangs").read_text())
        assert 0 == running.stop(LIMIT_S)
        assert [] == still_running([pid])
        assert [] == timed.logged("a timer function failed", "slow")


def test_a_schedule_that_cannot_be_read_is_refused_with_the_functions_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    function = load(TIMED).timers["beat"]
    monkeypatch.delenv("BEAT", raising=False)
    with pytest.raises(AppError, match=r"Function beat: its schedule needs the setting BEAT\."):
        Timer.of(function)
    monkeypatch.setenv("BEAT", "99 * * * * *")
    with pytest.raises(AppError, match=r"Function beat: .* 99 is not from 0 to 59 in the field second\."):
        Timer.of(function)
