from __future__ import annotations

import warnings
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts import Timeline
from shared.errors import ModelRefused
from shared.models import Grid, Track, load_profile
from shared.settings import ROOT
from shared.spotting._signals import climb, moving_mean, on_grid, point_count, robust_z, signal_values
from tests.support.scores import NAN, NTSC, PAL, make_signal, make_track


def test_points_lie_before_the_end_of_the_timeline() -> None:
    assert 4 == point_count(Timeline(PAL, 50), Fraction(2))  # 0, 0.5, 1 and 1.5 s of 2 s
    assert 5 == point_count(Timeline(PAL, 51), Fraction(2))
    assert 0 == point_count(Timeline(PAL, 0), Fraction(2))
    assert 3 == point_count(Timeline(NTSC, 60), Fraction(1))  # 60 frames last 2.002 s


def test_a_track_on_the_grid_is_taken_as_it_is() -> None:
    np.testing.assert_array_equal([1, 2, 3], on_grid(make_track([1, 2, 3]), 0, Fraction(1), 3))


def test_a_finer_track_is_averaged_over_the_centred_cell() -> None:
    # Four windows a second: the cell of 1 s is [0.5, 1.5) s and holds windows 2 to 5.
    track = make_track([0, 1, 2, 3, 4, 5, 6, 7], 4)
    np.testing.assert_array_equal([0.5, 3.5], on_grid(track, 0, Fraction(1), 2))


def test_a_coarser_track_gives_each_point_its_nearest_window_and_no_further() -> None:
    # Anchors at 2, 4 and 6 s; 3 and 5 s are as near to two of them, 0 s has none within 1 s.
    track = Track(Grid(Fraction(1, 2), 2, 1, 1), ("level",), 0, np.array([[1], [2], [3]], np.float32))
    np.testing.assert_array_equal([NAN, NAN, 1, 1, 2, 2, 3, 3, NAN], on_grid(track, 0, Fraction(1), 9))


def test_native_ntsc_windows_fall_into_exact_cells() -> None:
    # Frame 15 is at 0.5005 s and belongs to the point at 1 s; frame 14 at 0.467 s does not.
    values = on_grid(make_track(range(90), NTSC), 0, Fraction(1), 3)
    np.testing.assert_array_equal([7.0, np.mean(range(15, 45)), np.mean(range(45, 75))], values)


def test_gaps_and_infinite_scores_are_nan_without_a_warning() -> None:
    track = make_track([1, NAN, float("inf"), NAN, 5, 7], 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal([1, NAN, 5], on_grid(track, 0, Fraction(1), 3))
        np.testing.assert_array_equal([NAN, NAN], on_grid(make_track([]), 0, Fraction(1), 2))
        np.testing.assert_array_equal([], on_grid(make_track([1]), 0, Fraction(1), 0))


def test_a_track_that_starts_late_keeps_its_place() -> None:
    np.testing.assert_array_equal([NAN, NAN, 8, 9], on_grid(make_track([8, 9], first=2), 0, Fraction(1), 4))


def test_a_signal_of_the_original_is_the_mean_of_126_frames_dated_by_the_sixtieth() -> None:
    profile = load_profile(ROOT / "models", "original")
    frames = np.random.default_rng(1).uniform(0, 1, 300).astype(np.float32)
    for signal in profile.signals:
        plain = signal.model_copy(update={"transform": "level", "low": 0.0, "high": 1.0})
        values = signal_values(plain, make_track(frames, PAL, label=signal.label), profile.grid, 12)
        expected = [frames[max(0, 25 * k - 60) : 25 * k + 66].astype(np.float64).mean() for k in range(12)]
        np.testing.assert_allclose(expected, values, rtol=1e-12)


_REACHES = st.fractions(min_value=0, max_value=5, max_denominator=25)


@given(
    st.fractions(min_value=Fraction(1, 5), max_value=60, max_denominator=1001),
    st.integers(1, 4),
    st.integers(0, 6),
    st.fractions(min_value=Fraction(1, 2), max_value=8, max_denominator=4),
    _REACHES,
    _REACHES,
)
def test_every_cell_holds_exactly_the_windows_that_fractions_put_there(
    rate: Fraction, stride: int, anchor: int, grid: Fraction, before_s: Fraction, after_s: Fraction
) -> None:
    placed = Grid(rate, anchor + 1, stride, anchor)
    track = Track(placed, ("level",), 0, np.arange(40, dtype=np.float32)[:, None])
    half = max(1 / grid, stride / rate) / 2
    before, after = max(half, before_s), max(half, after_s)
    expected: list[float] = []
    for point in range(12):
        held = [j for j in range(40) if -before <= placed.anchor_s(j) - point / grid < after]
        expected.append(float(np.mean(held)) if held else NAN)
    np.testing.assert_allclose(on_grid(track, 0, grid, 12, before_s, after_s), expected, rtol=1e-12)


def test_robust_z_is_hampels_by_hand() -> None:
    # Median of (1, 2, 3, 4, 100) is 3, the deviations 2, 1, 0, 1, 97 have the median 1.
    z = robust_z(np.array([1.0, 2, 3, 4, 100]), 4, 1e-3)
    np.testing.assert_allclose(z, np.array([-2, -1, 0, 1, 97]) / 1.4826)


def test_robust_z_windows_are_centred_and_clipped_at_the_ends() -> None:
    # Windows (1 2) (1 2 9) (2 9 9) (9 9): medians 1.5 2 9 9, deviations' medians 0.5 1 0 0.
    z = robust_z(np.array([1.0, 2, 9, 9]), 1, 0.5)
    np.testing.assert_allclose(z, [-0.5 / (1.4826 * 0.5), 0, 0, 0])


@given(st.lists(st.one_of(st.just(NAN), st.integers(-50, 50)), min_size=1, max_size=30), st.integers(0, 6))
def test_robust_z_agrees_with_a_plain_loop(numbers: list[float], reach: int) -> None:
    values = np.array(numbers, float)
    expected: list[float] = []
    for index, value in enumerate(values):
        near = values[max(0, index - reach) : index + reach + 1]
        near = near[~np.isnan(near)]
        if np.isnan(value):
            expected.append(NAN)
            continue
        median = np.median(near)
        expected.append(float((value - median) / max(1.4826 * np.median(np.abs(near - median)), 1.0)))
    np.testing.assert_allclose(robust_z(values, reach, 1.0), expected)


def test_a_constant_stays_at_zero_even_with_the_smallest_floor() -> None:
    np.testing.assert_array_equal(np.zeros(50), robust_z(np.full(50, -23.7), 10, 1e-9))


def test_a_rise_is_seen_coming_for_its_seconds_and_then_is_over() -> None:
    rise = make_signal(transform="rise", baseline_s=Decimal(3))
    values = [NAN, 0, 0, 0, 0, 0, 1, 1, 3, 3, NAN]
    expected = [NAN, 0, 0, 1, 1, 1, 1, 1, 0, 0, NAN]
    np.testing.assert_array_equal(expected, signal_values(rise, make_track(values), Fraction(1), 11))
    np.testing.assert_array_equal([1, 1, 3, 2, 2, 0], climb(np.array([0.0, 0, 0, 1, 1, 3]), 3))
    assert 0 == len(climb(np.empty(0), 3))


@given(st.lists(st.floats(-5, 5) | st.just(NAN), max_size=30), st.integers(0, 9))
def test_a_climb_agrees_with_a_plain_loop(numbers: list[float], reach: int) -> None:
    expected = [
        max(x for x in numbers[k : k + reach + 1] if x == x) - v if v == v else NAN
        for k, v in enumerate(numbers)
    ]
    np.testing.assert_array_equal(expected, climb(np.array(numbers, float), reach))


def test_moving_mean_skips_gaps_and_leaves_them() -> None:
    np.testing.assert_array_equal([2, NAN, 4, 4], moving_mean(np.array([2.0, NAN, 3, 5]), 1))
    np.testing.assert_array_equal([1, 2], moving_mean(np.array([1.0, 2]), 0))


def test_low_and_high_become_zero_and_one_either_way_round() -> None:
    track = make_track([0, 1, 2, 3, 4])
    rising = signal_values(make_signal(low=1.0, high=3.0), track, Fraction(1), 5)
    falling = signal_values(make_signal(low=3.0, high=1.0), track, Fraction(1), 5)
    np.testing.assert_array_equal([0, 0, 0.5, 1, 1], rising)
    np.testing.assert_array_equal([1, 1, 0.5, 0, 0], falling)


def test_smoothing_reaches_half_of_its_seconds_to_either_side() -> None:
    values = signal_values(make_signal(smooth_s=Decimal(2)), make_track([0, 0, 3, 0, 0]), Fraction(1), 5)
    np.testing.assert_array_equal([0, 1, 1, 1, 0], values)


def test_an_unknown_label_names_the_signal_and_what_there_is() -> None:
    with pytest.raises(ModelRefused, match="signal loud reads 'roar'; its model gives level"):
        signal_values(make_signal(label="roar"), make_track([1]), Fraction(1), 1)
