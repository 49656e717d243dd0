from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts import Timeline
from tests.support.scores import NTSC, PAL


def test_seconds_are_exact() -> None:
    assert Fraction(1001, 500) == Timeline(NTSC, 60).duration_s
    assert Fraction(1001, 30000) == Timeline(NTSC, 60).time_s(1)


@given(st.sampled_from([PAL, NTSC, Fraction(7)]), st.integers(-1000, 1000))
def test_a_frame_is_on_the_screen_from_its_own_time_until_the_next_ones(rate: Fraction, frame: int) -> None:
    timeline = Timeline(rate, 100)
    assert frame == timeline.frame_at(timeline.time_s(frame))
    assert frame == timeline.frame_at(timeline.time_s(frame + 1) - Fraction(1, 10**6))


@pytest.mark.parametrize(("frame", "expected"), [(-1, 0), (0, 0), (40, 40), (100, 100), (101, 100)])
def test_a_span_ends_with_the_timeline_at_the_latest(frame: int, expected: int) -> None:
    assert expected == Timeline(PAL, 100).clip(frame)
