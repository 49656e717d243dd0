"""Estimate what a cascade missed, from the spans that it looked at by chance."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from fractions import Fraction
from math import comb

from shared.contracts import Audit, Event, LookedSpan
from shared.spotting.events import Basis, spot
from shared.spotting.proposals import reach_of

CONFIDENCE = 0.95


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
    judged = max(Fraction(1), (span_s - 2 * reach_of(basis.profile, grids)) * timeline.rate)
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
