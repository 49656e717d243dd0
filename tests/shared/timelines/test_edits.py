from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts import CutDefaults, CutOptions, Event, Timeline
from shared.timelines import cut_settings, make_edits
from shared.timelines.edits import seconds_to_frames
from tests.support.scores import CUT, NTSC, PAL


def event(start: int, end: int) -> Event:
    return Event(
        label="highlight",
        anchor_frame=start,
        anchor_s=Fraction(start, 25),
        start_frame=start,
        end_frame=end,
        confidence=0.5,
        evidence=(),
    )


def test_the_request_overrides_only_what_it_names() -> None:
    expected = CutDefaults(pre_roll_s=Decimal(2), post_roll_s=Decimal(0), merge_gap_s=Decimal(1))
    assert expected == cut_settings(CUT, CutOptions(post_roll_s=Decimal(0), title="x"))
    assert CUT == cut_settings(CUT, CutOptions())


@pytest.mark.parametrize(
    ("seconds", "rate", "expected"),
    [
        ("0.1", PAL, 3),  # 2.5 frames
        ("0.3", PAL, 8),  # 7.5 frames
        ("0.02", PAL, 1),
        ("0.019", PAL, 0),
        ("5", NTSC, 150),  # 149.85 frames
        ("1.001", NTSC, 30),
        ("600", NTSC, 17982),
    ],
)
def test_seconds_become_the_nearest_frame_halves_up(seconds: str, rate: Fraction, expected: int) -> None:
    assert expected == seconds_to_frames(Decimal(seconds), rate)


def test_an_edit_is_the_event_with_pre_and_post_roll() -> None:
    (edit,) = make_edits([event(100, 120)], CUT, Timeline(PAL, 1000))
    assert (1, 50, 145, (0,)) == (edit.number, edit.source_in_frame, edit.source_out_frame, edit.events)


def test_rolls_are_clamped_to_the_source() -> None:
    (edit,) = make_edits([event(10, 90)], CUT, Timeline(PAL, 100))
    assert (0, 100) == (edit.source_in_frame, edit.source_out_frame)


def test_edits_one_merge_gap_apart_become_one_and_a_frame_more_keeps_them_two() -> None:
    # The first ends at 120 + 25; the gap is 25 frames; the second begins 50 before its event.
    joined = make_edits([event(100, 120), event(220, 230)], CUT, Timeline(PAL, 1000))
    apart = make_edits([event(100, 120), event(221, 230)], CUT, Timeline(PAL, 1000))
    assert [(50, 255, (0, 1))] == [(e.source_in_frame, e.source_out_frame, e.events) for e in joined]
    assert [(1, 50, 145), (2, 171, 255)] == [(e.number, e.source_in_frame, e.source_out_frame) for e in apart]


def test_an_event_inside_another_does_not_shorten_the_edit() -> None:
    (edit,) = make_edits([event(120, 130), event(100, 400)], CUT, Timeline(PAL, 1000))
    assert (50, 425, (0, 1)) == (edit.source_in_frame, edit.source_out_frame, edit.events)


def test_touching_edits_merge_without_a_merge_gap() -> None:
    cut = CutDefaults(pre_roll_s=Decimal(0), post_roll_s=Decimal(0), merge_gap_s=Decimal(0))
    assert 1 == len(make_edits([event(0, 10), event(10, 20)], cut, Timeline(PAL, 100)))
    assert 2 == len(make_edits([event(0, 10), event(11, 20)], cut, Timeline(PAL, 100)))


def test_no_events_give_no_edits() -> None:
    assert () == make_edits([], CUT, Timeline(PAL, 100))


seconds = st.decimals(min_value=0, max_value=10, places=2)


@given(
    st.lists(st.tuples(st.integers(0, 999), st.integers(1, 300)), max_size=20),
    seconds,
    seconds,
    seconds,
    st.sampled_from([PAL, NTSC]),
)
def test_edits_are_sorted_apart_inside_and_hold_every_event_once(
    spans: list[tuple[int, int]], before: Decimal, after: Decimal, gap: Decimal, rate: Fraction
) -> None:
    duration = 1000
    events = [event(start, min(duration, start + length)) for start, length in spans]
    cut = CutDefaults(pre_roll_s=before, post_roll_s=after, merge_gap_s=gap)
    edits = make_edits(events, cut, Timeline(rate, duration))

    assert list(range(1, len(edits) + 1)) == [edit.number for edit in edits]
    assert list(range(len(events))) == sorted(index for edit in edits for index in edit.events)
    for edit in edits:
        assert 0 <= edit.source_in_frame < edit.source_out_frame <= duration
        for index in edit.events:
            assert edit.source_in_frame <= events[index].start_frame
            assert events[index].end_frame <= edit.source_out_frame
    for left, right in pairwise(edits):
        assert right.source_in_frame - left.source_out_frame > seconds_to_frames(gap, rate)
