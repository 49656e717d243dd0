"""Estimate how many events a cascade missed, from the spans that it looked at because they were drawn."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from fractions import Fraction
from math import comb

from shared.contracts import Audit, Event, LookedSpan
from shared.spotting.events import Basis, spot
from shared.spotting.proposals import longest_reach_s

CONFIDENCE = 0.95


def make_audit(
    events: Sequence[Event],
    basis: Basis,
    looks: Collection[str],
    spans: Sequence[LookedSpan],
    seed: int,
) -> Audit:
    """Estimate, from the audit's spans, how many events lie in the rest of the video, where no model looked.

    events: those spotted with all spans. looks: the models that looked; a model without a track drops out.
    seed: the one that drew the spans.

    A hit is an audited span with an event that exists only because the audit looked there. Signals need time
    to either side of a point, so a span judges only its middle. The rest of the video holds so many middles;
    the bounds on the share of hits, times that number, bound what was missed.
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
    judged = max(Fraction(1), (span_s - 2 * longest_reach_s(basis.profile, grids)) * timeline.rate)
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


def clopper_pearson(hits: int, spans: int) -> tuple[float, float]:
    """Exact 95 % bounds on a share, from `hits` in `spans` draws, to four digits.

    Clopper and Pearson, Biometrika 26 (1934) 404-413; the binomial's tails are inverted by bisection.
    """
    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if hits == 0 else _solve(lambda p: _at_least(hits, spans, p) < tail)
    high = 1.0 if hits == spans else _solve(lambda p: _at_least(hits + 1, spans, p) < 1 - tail)
    return low, high


def _at_least(hits: int, spans: int, p: float) -> float:
    """The probability of `hits` or more in `spans` draws, each a hit with probability p."""
    return sum(comb(spans, k) * p**k * (1 - p) ** (spans - k) for k in range(hits, spans + 1))


def _solve(below: Callable[[float], bool]) -> float:
    """Where in [0, 1] `below` turns from true to false, to four digits."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return round(low, 4)
