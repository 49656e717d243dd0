"""Tracks -> signals: each model's column on one grid, made comparable, 0 to 1. Pure.

All arrays are float64 of shape (points,); point k lies at k / grid seconds. NaN is an unknown value, and
stays NaN through every step: no step fills a gap.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import ceil, floor, lcm

import numpy as np
import numpy.typing as npt

from shared.contracts import Signal, Timeline
from shared.errors import ModelRefused
from shared.models import Grid, Track

Values = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

MAD_TO_SIGMA = 1.4826
"""1 / Phi^-1(3/4): makes the median absolute deviation of a normal sample its standard deviation."""

_NONE = Fraction(0)

_BLOCK = 4096
"""Rows of windows sorted at a time: bounds memory at any length, changes no value."""


def point_count(timeline: Timeline, grid: Fraction) -> int:
    """The number of points k = 0, 1, ... with k / grid seconds before the timeline's end."""
    return ceil(timeline.duration_s * grid)


def signal_values(signal: Signal, track: Track, grid: Fraction, points: int) -> Values:
    """One signal on the grid: take each cell's mean, transform, smooth, map low..high to 0..1, clip.

    The windows of baseline and smoothing reach baseline_s / 2 and smooth_s / 2 to either side, and are cut
    off at the ends. Raises ModelRefused where the track has no column of the signal's label.
    """
    column = column_of(track, signal.label, f"signal {signal.name}")
    values = on_grid(track, column, grid, points, Fraction(signal.before_s), Fraction(signal.after_s))
    if signal.transform == "baseline":
        values = robust_z(values, _reach(signal.baseline_s, grid), signal.floor)
    elif signal.transform == "rise":
        values = climb(values, floor(Fraction(signal.baseline_s) * grid))
    values = moving_mean(values, _reach(signal.smooth_s, grid))
    return np.clip((values - signal.low) / (signal.high - signal.low), 0.0, 1.0)


def column_of(track: Track, label: str, reader: str) -> int:
    """The column of a label. `reader`: names it in the error. Raises ModelRefused where it is missing."""
    if label not in track.labels:
        raise ModelRefused(f"{reader} reads {label!r}; its model gives {', '.join(track.labels)}")
    return track.labels.index(label)


def cell_s(track: Grid, grid: Fraction, before_s: Fraction, after_s: Fraction) -> tuple[Fraction, Fraction]:
    """(before, after): how far a point's cell reaches to either side, in seconds. At least half a hop of the
    grid and of the track."""
    half = max(1 / grid, track.stride / track.rate) / 2
    return max(half, before_s), max(half, after_s)


def on_grid(
    track: Track,
    column: int,
    grid: Fraction,
    points: int,
    before_s: Fraction = _NONE,
    after_s: Fraction = _NONE,
) -> Values:
    """A column on the grid: each point gets the mean of the windows whose anchors lie in its cell.

    The cell is [k / grid - before, k / grid + after) seconds, see cell_s. So a fine track is averaged, and a
    coarse track gives each point its nearest window (of two as near the earlier), at most half a hop away.
    A cell without a finite score is NaN. Cell edges are computed in integers, so no rounding moves a window.
    """
    rate, stride = track.grid.rate, track.grid.stride
    before, after = cell_s(track.grid, grid, before_s, after_s)
    step = rate / (grid * stride)
    first = _ceil_line(step, (-before * rate - track.grid.anchor) / stride, points)
    end = _ceil_line(step, (after * rate - track.grid.anchor) / stride, points)
    if points == 0 or len(track.scores) == 0:
        return np.full(points, np.nan)
    window = first[:, None] + np.arange(int((end - first).max()))
    held = (window < end[:, None]) & (window >= track.first) & (window < track.end)
    scores = track.scores[:, column].astype(np.float64)
    scores[~np.isfinite(scores)] = np.nan
    return _mean(np.where(held, scores[np.clip(window - track.first, 0, len(scores) - 1)], np.nan))


def robust_z(values: Values, reach: int, floor_: float) -> Values:
    """(x - median) / max(1.4826 * MAD, floor_), median and MAD over the points at most `reach` away.

    The Hampel identifier: Hampel, "The influence curve and its role in robust estimation",
    JASA 69 (1974) 383-393; Davies and Gather, "The identification of multiple outliers",
    JASA 88 (1993) 782-792. Median and MAD hardly move until half of the window is unusual, so an event does
    not raise the baseline that it is compared with.
    """
    if len(values) == 0:
        return values
    windows = _windows(values, reach)
    z = np.empty_like(values)
    for start in range(0, len(values), _BLOCK):
        rows = windows[start : start + _BLOCK]
        median = _median(rows)
        mad = _median(np.abs(rows - median[:, None]))
        z[start : start + _BLOCK] = (values[start : start + _BLOCK] - median) / np.maximum(
            MAD_TO_SIGMA * mad, floor_
        )
    return z


def climb(values: Values, reach: int) -> Values:
    """How far the values rise: the highest of a point and the `reach` points after it, minus the point's own
    value. NaN stays NaN."""
    if len(values) == 0:
        return values
    ahead = np.pad(values, (0, reach), constant_values=np.nan)
    highest = np.fmax.reduce(np.lib.stride_tricks.sliding_window_view(ahead, reach + 1), axis=1)
    return np.asarray(highest - values)


def moving_mean(values: Values, reach: int) -> Values:
    """Mean of the known points at most `reach` away; NaN stays NaN."""
    if reach == 0 or len(values) == 0:
        return values
    return np.where(np.isnan(values), np.nan, _mean(_windows(values, reach)))


def _reach(seconds: Decimal, grid: Fraction) -> int:
    return floor(Fraction(seconds) * grid / 2)


def _windows(values: Values, reach: int) -> Values:
    """(points, 2 * reach + 1), NaN beyond the ends: a view, no copy."""
    return np.lib.stride_tricks.sliding_window_view(
        np.pad(values, reach, constant_values=np.nan), 2 * reach + 1
    )


def _mean(rows: Values) -> Values:
    """Mean of each row's numbers; NaN for a row of NaN, without numpy's warning."""
    known = ~np.isnan(rows)
    count = known.sum(axis=1)
    total = np.where(known, rows, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _median(rows: Values) -> Values:
    """Median of each row's numbers; NaN for a row of NaN. np.nanmedian is slower, and warns."""
    ordered = np.sort(rows, axis=1)  # NaN goes last
    count = (~np.isnan(rows)).sum(axis=1)
    row = np.arange(len(rows))
    return np.asarray((ordered[row, (count - 1) // 2] + ordered[row, count // 2]) / 2)


def _ceil_line(step: Fraction, offset: Fraction, points: int) -> Indices:
    """ceil(step * k + offset) for k = 0 .. points - 1, exactly."""
    whole = lcm(step.denominator, offset.denominator)
    line = np.arange(points, dtype=np.int64) * int(step * whole) + int(offset * whole)
    return -(-line // whole)
