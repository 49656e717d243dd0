"""Readings of a scoreboard: misreadings dropped, and what is left told as text on the timeline."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts import BoardResult, TextSpan, Timeline
from shared.models import LABELS, Grid, Scores, Track
from shared.spotting import make_board, steady_board
from shared.spotting.board import steady_scores
from tests.support.scores import NTSC, PAL, make_track

# ---------------------------------------------------------------- readings -> score


def track(*readings: tuple[int, int] | None) -> Scores:
    rows = [(np.nan, np.nan, 60.0, np.nan) if r is None else (*r, 60.0, sum(r)) for r in readings]
    return np.array(rows, np.float32).reshape(-1, 4)


def scores_of(rows: Scores) -> list[tuple[int, int] | None]:
    return [None if np.isnan(row[0]) else (int(row[0]), int(row[1])) for row in rows]


def test_a_single_misreading_is_dropped_and_gaps_are_bridged() -> None:
    read = track(None, (0, 0), (0, 0), None, (8, 0), (0, 0), None, (1, 0), None, (1, 0), None)
    expected = [None, *[(0, 0)] * 6, *[(1, 0)] * 4]
    assert expected == scores_of(steady_scores(read))


def test_a_misreading_that_stays_a_while_gives_way_to_the_longer_truth() -> None:
    read = track(*[(0, 0)] * 5, *[(0, 8)] * 3, *[(0, 0)] * 4, *[(0, 1)] * 5)
    assert [*[(0, 0)] * 12, *[(0, 1)] * 5] == scores_of(steady_scores(read))


def test_one_reading_or_none_is_no_score() -> None:
    assert [None] * 3 == scores_of(steady_scores(track(None, (2, 1), None)))
    assert [None] * 2 == scores_of(steady_scores(track((2, 1), (1, 1))))
    assert (0, 4) == steady_scores(track()).shape


readings = st.lists(st.none() | st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=40)


@given(readings)
def test_a_steady_score_never_falls_was_read_and_stays(read: list[tuple[int, int] | None]) -> None:
    given_track = track(*read)
    kept = steady_scores(given_track)
    goals = [pair for pair in scores_of(kept) if pair is not None]
    assert all(a <= c and b <= d for (a, b), (c, d) in pairwise(goals))
    assert set(goals) <= set(read)
    assert np.array_equal(kept[:, 2], given_track[:, 2])
    assert np.array_equal(kept[:, 3], kept[:, 0] + kept[:, 1], equal_nan=True)
    if any(np.isfinite(kept[:-1, 0])):  # at least two samples, so each score that stays two is steady
        assert not np.isnan(kept[int(np.flatnonzero(np.isfinite(kept[:, 0]))[0]) :, 0]).any()


@given(st.lists(st.tuples(st.booleans(), st.integers(2, 5), st.integers(0, 2)), max_size=8))
def test_a_match_that_is_read_right_is_kept_as_it_is(goals: list[tuple[bool, int, int]]) -> None:
    home = away = 0
    read: list[tuple[int, int] | None] = []
    expected: list[tuple[int, int] | None] = []
    for is_home, times, gap in goals:
        home, away = home + is_home, away + (not is_home)
        read += [(home, away)] * times + [None] * gap
        expected += [(home, away)] * (times + gap)
    assert expected == scores_of(steady_scores(track(*read)))


# ---------------------------------------------------------------- score -> text


EVERY_5_S = Grid(Fraction(1, 5), 1, 1, 0)


def boards(*readings: tuple[int, int] | None) -> Track:
    return Track(EVERY_5_S, LABELS, 0, track(*readings))


def test_only_tracks_of_boards_are_settled_and_told() -> None:
    other = make_track([3, 1])
    assert other is steady_board(other)
    assert None is make_board({"other": other}, Timeline(PAL, 50))
    read = boards((0, 0), (0, 0), (8, 0), (0, 0))
    assert [(0, 0)] * 4 == scores_of(steady_board(read).scores)
    assert steady_board(steady_board(read)).scores.tobytes() == steady_board(read).scores.tobytes()


def test_score_and_clock_are_text_from_sample_to_sample() -> None:
    read = boards(None, (0, 0), (0, 0), (1, 0), (1, 0))
    read.scores[:, 2] = [np.nan, 59, 59, 3605, np.nan]
    told = make_board({"scoreboard": steady_board(read)}, Timeline(PAL, 600))
    assert (
        BoardResult(
            score=(
                TextSpan(start_frame=125, end_frame=375, text="0-0"),
                TextSpan(start_frame=375, end_frame=600, text="1-0"),
            ),
            clock=(
                TextSpan(start_frame=125, end_frame=375, text="00:59"),
                TextSpan(start_frame=375, end_frame=500, text="60:05"),
            ),
        )
        == told
    )


def test_a_board_that_was_never_read_is_told_without_text() -> None:
    empty = BoardResult(score=(), clock=())
    blank = Track(EVERY_5_S, LABELS, 0, np.full((3, 4), np.nan, np.float32))
    assert empty == make_board({"scoreboard": steady_board(blank)}, Timeline(PAL, 300))
    assert empty == make_board({"scoreboard": Track(EVERY_5_S, LABELS, 0, track())}, Timeline(PAL, 300))


@given(readings, st.integers(0, 900))
def test_spans_of_text_are_in_order_within_the_video_and_say_what_the_samples_say(
    read: list[tuple[int, int] | None], duration: int
) -> None:
    kept = steady_board(boards(*read))
    told = make_board({"scoreboard": kept}, Timeline(NTSC, duration))
    assert told is not None
    assert all(a.end_frame <= b.start_frame for a, b in pairwise(told.score))
    assert all(0 <= span.start_frame < span.end_frame <= duration for span in told.score)
    for sample, pair in enumerate(scores_of(kept.scores)):
        frame = int(sample * 5 * NTSC)
        here = [span.text for span in told.score if span.start_frame <= frame < span.end_frame]
        assert here == ([f"{pair[0]}-{pair[1]}"] if pair and frame < duration else [])
