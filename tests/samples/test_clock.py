from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samples.clock import frame_at, frames_in, samples_until, tick_of

RATES = [Fraction(25), Fraction(30000, 1001), Fraction(50), Fraction(60000, 1001)]


@given(st.integers(0, 54000), st.sampled_from(RATES))
def test_frame_at_is_the_first_frame_not_before_the_tick(tick: int, rate: Fraction) -> None:
    frame = frame_at(tick, rate)
    assert tick_of(frame, rate) >= tick
    assert frame == 0 or tick_of(frame - 1, rate) < tick


@pytest.mark.parametrize(
    ("seconds", "rate", "frames", "samples"),
    [
        (90, Fraction(25), 2250, 4320000),
        (30, Fraction(30000, 1001), 899, 1439838),
        (30, Fraction(50), 1500, 1440000),
        (5400, Fraction(60000, 1001), 323676, 259199741),
    ],
)
def test_a_match_has_whole_frames_and_as_much_sound(
    seconds: int, rate: Fraction, frames: int, samples: int
) -> None:
    assert frames == frames_in(seconds, rate)
    assert samples == samples_until(frames, rate, 48000)
