"""What a cascade looks at: spans that follow from the profile's own rules (floor 2, pure).

A sweep scores some of a rule's signals on everything. What the others could still add bounds the
score from above; where the bound stays below the rule's threshold, no look can make an event, so none is
needed. Filtering by a bound that dismisses nothing falsely follows Faloutsos, Ranganathan and
Manolopoulos, "Fast subsequence matching in time-series databases", SIGMOD 1994.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, comb

import numpy as np
import numpy.typing as npt

from shared.contracts import Audit, Event, LabelRule, LookedSpan, Profile, Timeline
from shared.models import Grid, Track
from shared.signals import Values, point_count, signal_values
from shared.spotting import DIGITS, Basis, find_stretches, reach_s, spot

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Proposals:
    """Ordered, disjoint spans, and how many frames the sweep would have had looked at."""

    spans: tuple[LookedSpan, ...]
    proposed_frames: int


NOTHING = Proposals((), 0)


def propose(
    profile: Profile,
    looks: Mapping[str, Grid],
    tracks: Mapping[str, Track],
    timeline: Timeline,
    seed: int,
) -> Proposals:
    """The spans to look at, and the audit's, of a profile with a cascade.

    looks: the models that look, with their grids. tracks: the sweep's. A point is proposed where some
    rule's bound reaches the rule's own threshold, and as far as it stays above the release: what is
    proposed does not depend on a request. The most
    promising points come first, each with the time around it that its signals need, until most_share of
    the video is used (or least_s). Of points that promise the same, as all do where the sweep knows
    nothing, some are drawn at random.
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
    reach = _reach(profile, looks)
    frames = _Frames(profile.grid, timeline, reach)
    # The one stream of numpy's that no release may change: the same video gives the same spans.
    random = np.random.RandomState(list(divmod(seed, 2**32)))
    order = np.lexsort((random.permutation(points), -best))
    most, least = Fraction(cascade.most_share) * timeline.frames, Fraction(cascade.least_s) * timeline.rate
    wanted, seen = np.zeros(timeline.frames, bool), np.zeros(timeline.frames, bool)
    room = ceil(max(most, least))
    for point in order[proposed[order]]:
        span = frames.around(int(point))
        wanted[span] = True
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
    return Proposals(tuple(sorted(spans, key=lambda span: span.start_frame)), int(wanted.sum()))


def upper_bound(rule: LabelRule, swept: Mapping[str, Values], added: Iterable[float], points: int) -> Values:
    """The highest score the rule can reach at each point, whatever the signals with the weights `added`
    say, and if some of them say nothing: those in favour say 1, those against say nothing.

    (sum w v + sum of added w > 0) / (sum |w| + sum of added w > 0), over the swept signals present.
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
    # Sums in another order may round to the next digit.
    return np.asarray(np.clip(np.round(bound, DIGITS) + 10.0**-DIGITS, 0.0, 1.0))


def audit_of(
    events: Sequence[Event],
    basis: Basis,
    looks: Collection[str],
    spans: Sequence[LookedSpan],
    seed: int,
) -> Audit:
    """What the audit's spans tell of the rest at which nobody looked. events: what was spotted with them.
    looks: the models that looked; one without a track drops out.

    A hit is a span with an event that is there only because the audit looked. A span tells of its middle
    only, since signals need some time to either side; so many middles the rest has, and bounds of their
    number that hold an event are what was missed.
    """
    audited = [span for span in spans if span.why == "audit"]
    proposed = [span for span in spans if span.why != "audit"]
    without = spot(basis, proposed, looks)
    known = {(event.label, event.anchor_frame) for event in without}
    new = [event.anchor_frame for event in events if (event.label, event.anchor_frame) not in known]
    hits = sum(any(span.start_frame <= frame < span.end_frame for frame in new) for span in audited)
    low, high = clopper_pearson(hits, len(audited))
    cascade, timeline = basis.profile.cascade, basis.timeline
    span_s = Fraction(cascade.audit_span_s) if cascade else Fraction(0)
    grids = {name: basis.tracks[name].grid for name in looks if name in basis.tracks}
    judged = max(Fraction(1), (span_s - 2 * _reach(basis.profile, grids)) * timeline.rate)
    unseen = timeline.frames - sum(span.frames for span in spans)
    rest = float(max(0, unseen) / judged)
    return Audit(
        seed=seed,
        spans=len(audited),
        hits=hits,
        low=low,
        high=high,
        missed_low=round(low * rest, 1),
        missed_high=round(high * rest, 1),
    )


def _reach(profile: Profile, looks: Mapping[str, Grid]) -> Fraction:
    """How far to either side of a point its signals need the picture."""
    signals = [signal for signal in profile.signals if signal.model in looks]
    reaches = [reach_s(signal, looks[signal.model], profile.grid) for signal in signals]
    return max(reaches, default=Fraction(0))


def clopper_pearson(hits: int, spans: int) -> tuple[float, float]:
    """Exact 95 % bounds of a share of which `hits` of `spans` were found, to four digits.

    Clopper and Pearson, Biometrika 26 (1934) 404-413; the binomial's tails are inverted by bisection.
    """
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if hits == 0 else _solve(lambda p: _at_least(hits, spans, p) < tail)
    high = 1.0 if hits == spans else _solve(lambda p: _at_least(hits + 1, spans, p) < 1 - tail)
    return low, high


def _at_least(hits: int, spans: int, p: float) -> float:
    return sum(comb(spans, k) * p**k * (1 - p) ** (spans - k) for k in range(hits, spans + 1))


def _solve(below: Callable[[float], bool]) -> float:
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return round(low, 4)


@dataclass(frozen=True)
class _Frames:
    grid: Fraction
    timeline: Timeline
    reach: Fraction

    def around(self, point: int) -> slice:
        """The frames that the signals at a point need."""
        start = self.timeline.frame_at(point / self.grid - self.reach)
        end = ceil((point / self.grid + self.reach) * self.timeline.rate) + 1
        return slice(self.timeline.clip(start), self.timeline.clip(end))


def _stretches(chosen: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _tiles(free: npt.NDArray[np.bool_], length: int) -> list[tuple[int, int]]:
    """Spans of `length` frames, one after the other, in what is free."""
    return [
        (start, start + length) for a, b in _stretches(free) for start in range(a, b - length + 1, length)
    ]
