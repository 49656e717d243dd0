"""A small night: the whole measurement, and what is made of its figures."""

from __future__ import annotations

import pytest

from bench.clips import clip
from bench.load import Night, Sample, Wait, figures, growth, run
from bench.polls import Polled


def test_every_clip_is_another_one_and_the_same_each_time() -> None:
    assert 5 == len({clip(number, 1) for number in range(5)})
    assert clip(1, 1) == clip(1, 1)


def test_quantiles_are_of_the_polls_asked_for() -> None:
    polled = Polled(times_ms={"running": [float(n) for n in range(1, 101)], "list": [1000.0]})
    assert 51.0 == polled.quantile_ms(0.5, "running")
    assert 100.0 == polled.quantile_ms(0.99, "running")
    assert 1000.0 == polled.quantile_ms(1.0)
    assert 0.0 == polled.quantile_ms(0.5, "batch")


def test_only_200_and_202_are_answers() -> None:
    polled = Polled(statuses={"200": 5, "202": 7, "503": 2, "404": 1, "TimeoutError": 3})
    assert 6 == polled.errors


def test_growth_is_the_slope_behind_the_first_fifth() -> None:
    start = [Sample(n, {"host": 1.0}, {}) for n in range(0, 100, 10)]
    later = [Sample(n, {"host": 100 + n / 50}, {}) for n in range(100, 501, 10)]
    assert 2.0 == pytest.approx(growth([*start, *later], "host"))
    assert 0.0 == growth(start[:1], "host")


def test_a_video_without_an_answer_is_lost_and_fails_the_goal() -> None:
    samples = (Sample(0, {}, {}), Sample(8, {}, {}))
    polled = Polled(asked=10, wall_s=1.0, statuses={"200": 10}, times_ms={"ended": [1.0] * 10})
    wait = Wait(0.1, 0.2, 0.3)
    night = Night(10, {"Completed": 7, "Scoring": 1}, 1, 60.0, samples, wait, wait, polled)
    assert 2 == night.lost
    met = {figure.figure: figure.met for figure in figures(night, polls=10, workers=2)}
    assert met["lost, 10 videos, 2 workers"] is False
    assert met["status polls with an error or none in 30 s"] is True


@pytest.mark.e2e
@pytest.mark.azurite
@pytest.mark.timeout(300)
def test_a_small_night_loses_nothing() -> None:
    night = run(videos=6, polls=10, workers=1)
    assert ({"Completed": 6}, 0, 0) == (night.states, night.refused, night.lost)
    assert 0 == night.polled.errors
    kinds = set(night.polled.times_ms)
    assert kinds >= {"batch", "list"}
    assert kinds & {"running", "ended"}  # so few jobs may have ended before the first of them is asked for
    assert 0 < night.meanwhile.accepted_s < night.meanwhile.first_s <= night.meanwhile.end_s
    assert {"host", "workers", "azurite"} <= set(night.samples[-1].mib)
