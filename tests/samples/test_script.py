from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from samples.course import shots_expected
from samples.script import Script, write_script

SCRIPTS = [write_script(seed, 30 + seed * 3) for seed in range(25)]


@settings(max_examples=8)
@given(st.integers(0, 10**6))
def test_the_same_seed_gives_the_same_script(seed: int) -> None:
    one, two = write_script(seed, 30), write_script(seed, 30)
    assert np.array_equal(one.world.players, two.world.players)
    assert np.array_equal(one.world.ball, two.world.ball)
    assert (one.takes, one.swells, one.speech) == (two.takes, two.swells, two.speech)


def test_another_seed_gives_another_script() -> None:
    assert not np.array_equal(write_script(1, 30).world.ball, write_script(2, 30).world.ball)


@pytest.mark.parametrize("script", SCRIPTS)
def test_takes_cover_the_match_without_a_hole(script: Script) -> None:
    edges = [take.start_tick for take in script.takes] + [script.takes[-1].end_tick]
    assert (0, script.seconds * 10) == (edges[0], edges[-1])
    assert all(take.end_tick == after.start_tick for take, after in pairwise(script.takes))
    assert all(low < high for low, high in pairwise(edges))


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_shot_is_seen_live_by_the_main_camera(script: Script) -> None:
    for strike in script.world.strikes:
        (take,) = [t for t in script.takes if t.start_tick <= strike.tick < t.end_tick]
        assert take.camera == "main"
        assert strike.end_tick <= take.end_tick


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_decoy_holds_a_shot(script: Script) -> None:
    ticks = [strike.tick for strike in script.world.strikes]
    assert not [d for d in script.decoys if any(d.start_tick <= tick < d.end_tick for tick in ticks)]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_replay_begins_before_the_strike_it_shows_again(script: Script) -> None:
    for take in script.takes:
        if take.replay:
            shown = take.world_tick + (take.end_tick - take.start_tick) * take.speed
            assert any(take.world_tick < s.tick < shown for s in script.world.strikes)
            assert shown < take.end_tick


def test_ball_is_struck_within_reach_of_the_goal_and_nobody_flies() -> None:
    for script in SCRIPTS:
        world = script.world
        speed = np.linalg.norm(np.diff(world.players, axis=0), axis=2) * 10
        assert np.percentile(speed, 99.9) < 10
        for strike in world.strikes:
            x, y = world.ball[strike.tick, :2]
            assert np.hypot(strike.side * 52.5 - x, y) < 36


def test_a_long_match_has_the_shots_of_a_long_match_and_starts_with_the_kick_off() -> None:
    script = write_script(5, 2700)
    assert (3.5, 27) == (shots_expected(90), round(shots_expected(5400)))
    assert abs(len(script.world.strikes) - shots_expected(2700)) <= 3
    assert script.clock_from_s == 0


@pytest.mark.parametrize("seconds", [29, 5401])
def test_a_length_outside_half_a_minute_to_ninety_is_refused(seconds: int) -> None:
    with pytest.raises(ValueError, match="30 s to 90 min"):
        write_script(1, seconds)
