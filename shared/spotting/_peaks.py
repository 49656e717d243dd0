"""Stretches and peaks of a signal, float64 (points,) with NaN where it is unknown."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import NamedTuple

import numpy as np

from shared.spotting._signals import Indices, Values


class Stretch(NamedTuple):
    """Points [start, end) at or above the release; `peak` is the highest of them, of equals the first."""

    start: int
    peak: int
    end: int


def find_stretches(score: Values, threshold: float, release: float) -> list[Stretch]:
    """Maximal stretches at or above the release that reach the threshold: hysteresis with two
    thresholds, as in Canny, IEEE Trans. PAMI 8 (1986) 679-698. NaN ends a stretch. A threshold
    below the release lowers the release with it.
    """
    above = np.concatenate([[False], score >= min(release, threshold), [False]])
    edges = np.flatnonzero(above[1:] != above[:-1]).reshape(-1, 2)
    stretches = (Stretch(int(a), int(a + np.argmax(score[a:b])), int(b)) for a, b in edges)
    return [stretch for stretch in stretches if score[stretch.peak] >= threshold]


def suppress(places: Indices, scores: Values, distance: int) -> list[int]:
    """Non-maximum suppression: indices into `places` of the places that stay, ascending.

    Places are taken from the highest score down, of equals the earlier first. A place stays if it lies at
    least `distance` from every place kept so far. Greedy, as in Neubeck and Van Gool, "Efficient non-maximum
    suppression", ICPR 2006.
    """
    free = np.ones(len(places), bool)
    kept = []
    for index in np.lexsort((places, -scores)):
        if free[index]:
            kept.append(int(index))
            free &= np.abs(places - places[index]) >= distance
    return sorted(kept)


def limit_length(stretch: Stretch, longest: int) -> Stretch:
    """The stretch cut to `longest` points, as nearly centred on its peak as the stretch allows."""
    if stretch.end - stretch.start <= longest:
        return stretch
    start = min(max(stretch.start, stretch.peak - longest // 2), stretch.end - longest)
    return Stretch(start, stretch.peak, start + longest)


def points_spanning(seconds: Decimal, per_second: Fraction) -> int:
    """Fewest points that span at least `seconds`."""
    return ceil(Fraction(seconds) * per_second)


def local_maxima(values: Values) -> Indices:
    """Indices of the values above both neighbours; a plateau counts as its first point.

    Beyond the ends everything counts as lower. NaN may hide any value, so a point beside it is no maximum.
    """
    level = np.concatenate([[-np.inf], np.where(np.isnan(values), np.inf, values), [-np.inf]])
    steps = np.flatnonzero(level[1:] != level[:-1])
    rises = level[steps + 1] > level[steps]
    found = steps[:-1][rises[:-1] & ~rises[1:]]
    return np.asarray(found[~np.isnan(values[found])], np.int64)
