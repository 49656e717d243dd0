"""The spans that a cascade looks at, derived from the profile's own rules. Pure.

A sweep scores some of a rule's signals everywhere. The most that the other signals could add bounds the
rule's score from above. Where the bound stays below the rule's threshold, no look can make an event, so none
is needed. Filtering by a bound that never dismisses an event falsely follows Faloutsos, Ranganathan and
Manolopoulos, "Fast subsequence matching in time-series databases", SIGMOD 1994.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np
import numpy.typing as npt

from shared.contracts import LabelRule, LookedSpan, Profile, Timeline
from shared.models import Grid, Track
from shared.spotting._peaks import find_stretches
from shared.spotting._signals import Values, point_count, signal_values
from shared.spotting.events import DIGITS, reach_s


@dataclass(frozen=True)
class Proposals:
    """Ordered, disjoint spans; and how many frames would be looked at if there were no limit."""

    spans: tuple[LookedSpan, ...]
    proposed_frames: int


NOTHING = Proposals((), 0)


def propose_spans(
    profile: Profile,
    looks: Mapping[str, Grid],
    tracks: Mapping[str, Track],
    timeline: Timeline,
    seed: int,
) -> Proposals:
    """The spans to look at, and the audit's spans, of a profile with a cascade; NOTHING without one.

    looks: the models that look, with their grids. tracks: the sweep's. seed: of every draw.

    Points are proposed where some rule's bound reaches the rule's own threshold, and around them as long as
    the bound stays above the release. The thresholds of a request do not matter. The points with the highest
    bounds come first, each with the time around it that its signals need, until most_share of the video (at
    least least_s) is used up. Points with equal bounds are drawn at random; all are equal where the sweep
    knows nothing.
    """
    cascade = profile.cascade
    if cascade is None:
        return NOTHING
    points = point_count(timeline, profile.grid)
    swept = {
        signal.name: signal_values(signal, tracks[signal.model], profile.grid, points)
        for signal in profile.signals
        if signal.model in tracks
    }
    looked = [signal for signal in profile.signals if signal.model in looks]
    best, proposed = np.full(points, -np.inf), np.zeros(points, bool)
    for rule in profile.rules:
        added = [rule.weights[s.name] for s in looked if rule.weights.get(s.name)]
        if added:
            bound = upper_bound(rule, swept, added, points)
            # An event lasts as long as its score stays at or above the release.
            for stretch in find_stretches(bound, rule.threshold, rule.release):
                proposed[stretch.start : stretch.end] = True
            best = np.maximum(best, bound - rule.threshold)
    frames = _Frames(profile.grid, timeline, longest_reach_s(profile, looks))
    # RandomState is numpy's one stream that no release may change: the same video gives the same spans.
    random = np.random.RandomState(list(divmod(seed, 2**32)))
    order = np.lexsort((random.permutation(points), -best))
    most, least = Fraction(cascade.most_share) * timeline.frames, Fraction(cascade.least_s) * timeline.rate
    unlimited, seen = np.zeros(timeline.frames, bool), np.zeros(timeline.frames, bool)
    room = ceil(max(most, least))
    for point in order[proposed[order]]:
        span = frames.around(int(point))
        unlimited[span] = True
        new = int((~seen[span]).sum())
        if new <= room:
            seen[span] = True
            room -= new
        else:
            room = 0
    audit = _tiles(~seen, ceil(Fraction(cascade.audit_span_s) * timeline.rate))
    drawn = random.permutation(len(audit))[: cascade.audit_spans]
    spans = [LookedSpan(start_frame=a, end_frame=b, why="proposed") for a, b in _stretches(seen)]
    spans += [LookedSpan(start_frame=audit[i][0], end_frame=audit[i][1], why="audit") for i in sorted(drawn)]
    return Proposals(tuple(sorted(spans, key=lambda span: span.start_frame)), int(unlimited.sum()))


def upper_bound(rule: LabelRule, swept: Mapping[str, Values], added: Iterable[float], points: int) -> Values:
    """The highest score that the rule can reach at each point, float64 (points,).

    swept: the sweep's signals by name, of weights w and values v. added: the weights of the signals that a
    look would add; each may be absent. The best case: those in favour are 1, those against absent. So, over
    the swept signals present, the bound is

        (sum of w v + sum of added w > 0) / (sum of |w| + sum of added w > 0)
    """
    total, weights = np.zeros(points), np.zeros(points)
    for name, weight in rule.weights.items():
        if name in swept:
            known = ~np.isnan(swept[name])
            total += weight * np.where(known, swept[name], 0.0)
            weights += abs(weight) * known
    favour = sum(weight for weight in added if weight > 0)
    whole = weights + favour
    # Without any signal in favour to come, the bound is the score itself.
    bound = np.where(whole > 0, (total + favour) / np.where(whole > 0, whole, 1.0), 1.0)
    # The rule sums in another order, which may round up to the next digit.
    return np.asarray(np.clip(np.round(bound, DIGITS) + 10.0**-DIGITS, 0.0, 1.0))


def longest_reach_s(profile: Profile, looks: Mapping[str, Grid]) -> Fraction:
    """How far to either side of a point the signals of the models `looks` depend on the picture, in seconds:
    the longest reach_s of any; 0 without signals."""
    signals = [signal for signal in profile.signals if signal.model in looks]
    reaches = [reach_s(signal, looks[signal.model], profile.grid) for signal in signals]
    return max(reaches, default=Fraction(0))


@dataclass(frozen=True)
class _Frames:
    grid: Fraction
    timeline: Timeline
    reach_s: Fraction

    def around(self, point: int) -> slice:
        """The frames on which the signals at a point depend."""
        start = self.timeline.frame_at(point / self.grid - self.reach_s)
        end = ceil((point / self.grid + self.reach_s) * self.timeline.rate) + 1
        return slice(self.timeline.clip(start), self.timeline.clip(end))


def _stretches(chosen: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The maximal spans [start, end) of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _tiles(free: npt.NDArray[np.bool_], length: int) -> list[tuple[int, int]]:
    """Spans of `length` free frames, packed from the start of each free stretch."""
    return [
        (start, start + length) for a, b in _stretches(free) for start in range(a, b - length + 1, length)
    ]
