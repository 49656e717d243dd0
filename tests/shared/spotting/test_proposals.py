"""What a cascade looks at: nothing that could be an event is dismissed, and what was missed is bounded."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contracts import Audit, Cascade, CutDefaults, LabelRule, LookedSpan, Profile, Signal, Timeline
from shared.models import Grid, Track
from shared.spotting import Basis, make_audit, propose_spans, spot
from shared.spotting.audit import clopper_pearson

RATE, SECONDS = Fraction(25), 60
FRAMES = SECONDS * 25
TIMELINE = Timeline(RATE, FRAMES)
SWEPT, SLOW, FAST = Grid(Fraction(2), 1, 1, 0), Grid(Fraction(25), 16, 50, 8), Grid(Fraction(5), 2, 5, 0)
LOOKS = {"slow": SLOW, "fast": FAST}


def signal(name: str, model: str, smooth_s: int = 0) -> Signal:
    return Signal(name=name, model=model, label="x", low=0.0, high=1.0, smooth_s=Decimal(smooth_s))


def profile(most_share: float = 1.0, audit_spans: int = 0, **weights: float) -> Profile:
    given = {"loud": 2.0, "grass": -1.0, "goal": 1.0, "bench": -0.5, "people": 0.5} | weights
    return Profile(
        name="test",
        description="",
        grid=Fraction(2),
        models=("swept", "slow", "fast"),
        signals=(
            signal("loud", "swept", 2),
            signal("grass", "swept"),
            signal("goal", "slow", 2),
            signal("bench", "slow"),
            signal("people", "fast", 1),
        ),
        rules=(
            LabelRule(label="shot", weights=given, threshold=0.5, release=0.4, min_gap_s=Decimal(3)),
            LabelRule(label="roar", weights={"loud": 1}, threshold=0.7, release=0.4, min_gap_s=Decimal(3)),
        ),
        shots=None,
        cascade=Cascade(
            most_share=most_share, least_s=Decimal(0), audit_spans=audit_spans, audit_span_s=Decimal(6)
        ),
        cut=CutDefaults(pre_roll_s=Decimal(0), post_roll_s=Decimal(0), merge_gap_s=Decimal(0)),
    )


def track(grid: Grid, seed: int, spread: float) -> Track:
    """Steps of random height that last a few windows, between 0 and 1."""
    count = int((SECONDS * grid.rate - grid.window) / grid.stride) + 1
    random = np.random.default_rng(seed)
    steps = np.repeat(random.random(count // 3 + 1), 3)[:count]
    return Track(grid, ("x",), 0, (steps**spread)[:, None].astype(np.float32))


def seen(whole: Track, spans: tuple[LookedSpan, ...]) -> Track:
    """The windows that the looked spans own; NaN elsewhere."""
    scores = np.full_like(whole.scores, np.nan)
    for window in range(len(scores)):
        anchor = whole.grid.anchor_s(window) * RATE
        if any(span.start_frame <= anchor < span.end_frame for span in spans):
            scores[window] = whole.scores[window]
    return Track(whole.grid, whole.labels, 0, scores)


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), spread=st.sampled_from([0.5, 1.0, 3.0]), goal=st.sampled_from([0.3, 1.0]))
def test_without_a_budget_a_cascade_spots_exactly_what_an_exhaustive_job_spots(
    seed: int, spread: float, goal: float
) -> None:
    rules = profile(goal=goal)
    whole = {
        "swept": track(SWEPT, seed, spread),
        "slow": track(SLOW, seed + 1, 0.5),
        "fast": track(FAST, seed + 2, 0.5),
    }
    expected = spot(Basis(rules, whole, TIMELINE))
    found = propose_spans(rules, LOOKS, {"swept": whole["swept"]}, TIMELINE, seed)
    partly = {name: seen(one, found.spans) if name in LOOKS else one for name, one in whole.items()}
    actual = spot(Basis(rules, partly, TIMELINE), found.spans, LOOKS)
    told = [
        [(event.label, event.anchor_frame, event.confidence) for event in of] for of in (expected, actual)
    ]
    assert told[0] == told[1]


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), share=st.sampled_from([0.0, 0.1, 0.4]))
def test_no_more_is_looked_at_than_the_profile_allows_and_the_same_each_time(seed: int, share: float) -> None:
    swept = {"swept": track(SWEPT, seed, 0.5)}
    found = propose_spans(profile(share, audit_spans=3), LOOKS, swept, TIMELINE, seed)
    proposed = sum(s.end_frame - s.start_frame for s in found.spans if s.why == "proposed")
    assert proposed <= share * FRAMES + 1
    assert proposed <= found.proposed_frames
    assert all(a.end_frame <= b.start_frame for a, b in zip(found.spans, found.spans[1:], strict=False))
    assert found == propose_spans(profile(share, audit_spans=3), LOOKS, swept, TIMELINE, seed)


def test_where_the_sweep_knows_nothing_the_spans_are_spread_by_chance() -> None:
    found = propose_spans(profile(0.2), LOOKS, {}, TIMELINE, 5)
    assert found.proposed_frames == FRAMES
    assert len(found.spans) > 1
    assert found != propose_spans(profile(0.2), LOOKS, {}, TIMELINE, 6)


def test_an_audit_is_drawn_from_what_nobody_looks_at() -> None:
    silent = Track(SWEPT, ("x",), 0, np.zeros((SECONDS * 2, 1), np.float32))
    found = propose_spans(profile(1.0, audit_spans=4), LOOKS, {"swept": silent}, TIMELINE, 1)
    assert found.proposed_frames == 0
    assert [(s.why, s.end_frame - s.start_frame) for s in found.spans] == [("audit", 150)] * 4


def audited(rules: Profile, tracks: dict[str, Track], spans: tuple[LookedSpan, ...]) -> Audit:
    basis = Basis(rules, tracks, TIMELINE)
    return make_audit(spot(basis, spans, LOOKS), basis, LOOKS, spans, 7)


def test_an_audit_counts_the_events_that_nobody_would_have_seen_and_bounds_them() -> None:
    spans = tuple(
        LookedSpan(start_frame=start, end_frame=start + 150, why=why)  # type: ignore[arg-type]
        for start, why in ((0, "audit"), (300, "proposed"), (600, "audit"))
    )
    # Loud throughout, so that "roar" is the sweep's alone and no hit; "shot" needs the look.
    whole = {
        "swept": Track(SWEPT, ("x",), 0, np.full((SECONDS * 2, 1), 0.6, np.float32)),
        "slow": track(SLOW, 1, 0.5),
        "fast": track(FAST, 2, 0.5),
    }
    for name in LOOKS:
        whole[name].scores[:] = 1.0
    partly = {name: seen(one, spans) if name in LOOKS else one for name, one in whole.items()}
    rules = profile(audit_spans=2, bench=0.0, grass=0.0)
    audit = audited(rules, partly, spans)
    assert (audit.spans, audit.hits, audit.low, audit.high) == (2, 2, 0.1581, 1.0)
    assert audit.missed_high > (FRAMES - 450) / 150
    loud = {name: one for name, one in partly.items() if name == "swept"}
    assert audited(rules, loud, spans).hits == 0


@pytest.mark.parametrize(
    ("hits", "spans", "low", "high"),
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (3, 20, 0.0321, 0.3789), (0, 0, 0.0, 1.0)],
)
def test_the_bounds_are_those_of_clopper_and_pearson(hits: int, spans: int, low: float, high: float) -> None:
    assert (low, high) == clopper_pearson(hits, spans)
