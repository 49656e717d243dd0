from __future__ import annotations

import warnings
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts import Event, Profile, Timeline
from shared.errors import ModelRefused
from shared.models import Grid, Track, stitch_tracks
from shared.spotting import Basis, shot_changes, spot
from shared.spotting._peaks import find_stretches, local_maxima, suppress
from shared.spotting.events import fuse
from tests.support.scores import (
    NAN,
    NTSC,
    PAL,
    make_profile,
    make_rule,
    make_shot_rule,
    make_signal,
    make_track,
)


def spot_scores(
    *values: float,
    profile: Profile | None = None,
    rate: Fraction = PAL,
    thresholds: Mapping[str, float] | None = None,
) -> tuple[Event, ...]:
    """Spot on one track of one score a second."""
    timeline = Timeline(rate, int(len(values) * rate))
    basis = Basis(profile or make_profile(), {"crowd": make_track(values)}, timeline, thresholds or {})
    return spot(basis)


def spans(events: tuple[Event, ...]) -> list[tuple[int, int, int]]:
    return [(event.start_frame, event.anchor_frame, event.end_frame) for event in events]


# ---------------------------------------------------------------- fusion


def test_a_rule_says_nothing_where_what_it_needs_is_not_there() -> None:
    rule = make_rule(weights={"loud": 3.0, "score": 1.0}, needs=["score"])
    profile = make_profile(rule, [make_signal(), make_signal("score", "board")])
    loud = make_track([0, 1, 0, 0, 0, 1, 0, 0])
    read = make_track([NAN, NAN, NAN, 0, 0, 0, 0, 0])

    def anchors(profile: Profile, **tracks: Track) -> list[int]:
        return [event.anchor_frame for event in spot(Basis(profile, tracks, Timeline(PAL, 200)))]

    assert [125] == anchors(profile, crowd=loud, board=read)
    assert [] == anchors(profile, crowd=loud)
    without = profile.model_copy(update={"rules": (rule.model_copy(update={"needs": ()}),)})
    assert [25, 125] == anchors(without, crowd=loud, board=read) == anchors(without, crowd=loud)


WEIGHTS = {"loud": 3.0, "motion": 1.0, "off-pitch": -1.0}
SIGNALS = [make_signal(name) for name in WEIGHTS]


def fused(loud: float, motion: float, off_pitch: float) -> tuple[float, float]:
    """Score and support of one point, in a video that has all three signals at a later point."""
    values = [np.array([value, 0.0]) for value in (loud, motion, off_pitch)]
    score, support = fuse(make_rule(weights=WEIGHTS), list(zip(SIGNALS, values, strict=True)))
    return float(score[0]), float(support[0])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1.0, 1.0, 0.0), (0.8, 1.0)),
        ((1.0, 1.0, 1.0), (0.6, 1.0)),
        ((0.5, 0.5, 0.0), (0.4, 1.0)),
        ((0.0, 0.0, 1.0), (0.0, 1.0)),  # clipped: -1 / 5
        ((1.0, NAN, 0.0), (0.75, 0.75)),  # 3 / 4 of what is there
        ((1.0, 1.0, NAN), (1.0, 1.0)),
        ((NAN, 1.0, 0.0), (NAN, 0.25)),  # 1 of 4 is no quorum
        ((NAN, NAN, 1.0), (NAN, 0.0)),
        ((NAN, NAN, NAN), (NAN, 0.0)),
    ],
)
def test_fusion_is_the_weighted_mean_of_what_is_present(
    values: tuple[float, float, float], expected: tuple[float, float]
) -> None:
    np.testing.assert_array_equal(expected, fused(*values))


def test_a_video_without_sound_is_scored_by_the_rest_at_a_lower_support() -> None:
    silent = [(SIGNALS[1], np.array([1.0, 0.5])), (SIGNALS[2], np.array([0.0, 0.0]))]
    score, support = fuse(make_rule(weights=WEIGHTS), silent)
    np.testing.assert_array_equal([0.5, 0.25], score)
    np.testing.assert_array_equal([0.25, 0.25], support)


# ---------------------------------------------------------------- stretches and suppression


def test_a_stretch_lasts_from_release_to_release_around_a_peak() -> None:
    score = np.array([0.2, 0.3, 0.6, 0.9, 0.9, 0.25, 0.2, 0.4, 0.4, 0.1, 0.5])
    assert [(1, 3, 6), (10, 10, 11)] == find_stretches(score, 0.5, 0.25)


def test_nan_ends_a_stretch() -> None:
    assert [(0, 0, 1), (2, 2, 3)] == find_stretches(np.array([0.9, NAN, 0.8]), 0.5, 0.25)


def test_a_threshold_below_the_release_lowers_it() -> None:
    assert [(1, 2, 3)] == find_stretches(np.array([0.0, 0.1, 0.2, 0.0]), 0.1, 0.25)


def test_of_two_near_places_the_lower_goes_and_of_equals_the_later() -> None:
    places = np.array([0, 3, 6, 10])
    assert [1, 3] == suppress(places, np.array([0.5, 0.9, 0.8, 0.1]), 4)
    assert [0, 2] == suppress(places[:3], np.array([0.5, 0.5, 0.5]), 4)
    assert [0, 1, 2, 3] == suppress(places, np.array([0.5, 0.9, 0.8, 0.1]), 0)


@given(st.dictionaries(st.integers(0, 60), st.integers(0, 4), max_size=25), st.integers(0, 12))
def test_suppression_keeps_distance_and_drops_only_what_something_higher_is_near(
    scored: dict[int, int], distance: int
) -> None:
    places = np.array(sorted(scored), np.int64)
    heights = np.array([float(scored[int(place)]) for place in places])
    kept = [int(places[index]) for index in suppress(places, heights, distance)]
    for left, right in pairwise(kept):
        assert right - left >= distance

    def rank(place: int) -> tuple[int, int]:
        return (-scored[place], place)

    for place in set(scored) - set(kept):
        assert any(abs(other - place) < distance and rank(other) < rank(place) for other in kept)


# ---------------------------------------------------------------- events


def test_an_event_spans_its_stretch_and_is_anchored_at_the_first_maximum() -> None:
    (event,) = spot_scores(0, 0.3, 0.9, 0.9, 0.3, 0)
    assert [(25, 50, 125)] == spans((event,))
    assert ("highlight", Fraction(2), 0.9) == (event.label, event.anchor_s, event.confidence)
    (said,) = event.evidence
    assert ("crowd", "loud", 0.9, 1.0) == (said.model, said.signal, said.value, said.weight)


def test_frames_at_29_97_are_those_on_the_screen_at_the_point() -> None:
    # 1, 2 and 3 s lie in frames 29.97, 59.94 and 89.91.
    (event,) = spot_scores(0, 0.3, 0.9, 0, rate=NTSC)
    assert [(29, 59, 89)] == spans((event,))
    assert Fraction(59 * 1001, 30000) == event.anchor_s


def test_an_event_at_the_end_stops_with_the_video() -> None:
    events = spot(Basis(make_profile(), {"crowd": make_track([0, 0, 0.9])}, Timeline(PAL, 60)))
    assert [(50, 50, 60)] == spans(events)


def test_a_grid_finer_than_the_frames_still_gives_a_frame_to_every_event() -> None:
    track = make_track([0, 0, 0, 0, 0, 0.9, 0, 0], 100)
    events = spot(Basis(make_profile(grid=100), {"crowd": track}, Timeline(PAL, 2)))
    assert [(1, 1, 2)] == spans(events)


def test_a_long_stretch_is_limited_around_its_peak() -> None:
    profile = make_profile(make_rule(max_span_s=Decimal(3)))
    plateau = [0.4, 0.4, 0.4, 0.4, 0.9, 0.4, 0.4]
    assert [(75, 100, 150)] == spans(spot_scores(*plateau, profile=profile))
    assert [(0, 0, 75)] == spans(spot_scores(*plateau[4:], 0.4, 0.4, profile=profile))
    assert [(50, 100, 125)] == spans(spot_scores(*plateau[:5], profile=profile))


def test_of_two_events_nearer_than_the_gap_the_lower_goes() -> None:
    rule = make_rule(min_gap_s=Decimal(3))
    assert [75] == [e.anchor_frame for e in spot_scores(0, 0.8, 0, 0.9, 0, profile=make_profile(rule))]
    assert [25, 100] == [e.anchor_frame for e in spot_scores(0, 0.8, 0, 0, 0.9, profile=make_profile(rule))]


def test_a_threshold_of_the_request_replaces_the_rules() -> None:
    assert [] == spans(spot_scores(0, 0.45, 0))
    assert [(25, 25, 50)] == spans(spot_scores(0, 0.45, 0, thresholds={"highlight": 0.4}))
    assert [] == spans(spot_scores(0, 0.9, 0, thresholds={"highlight": 0.95, "goal": 0.1}))


def test_events_of_two_rules_are_ordered_by_anchor_then_label() -> None:
    rules = (make_rule(label="shot"), make_rule(label="goal", threshold=0.8))
    events = spot_scores(0, 0.7, 0, 0.9, 0, profile=make_profile(rules=rules))
    assert [(25, "shot"), (75, "goal"), (75, "shot")] == [(e.anchor_frame, e.label) for e in events]


def test_evidence_is_ordered_by_what_it_contributed_and_leaves_out_the_absent() -> None:
    weights = {"a-against": -1.0, "b-some": 1.0, "c-most": 4.0, "d-some": 1.0, "e-absent": 1.0}
    signals = [make_signal(name, name) for name in weights]
    tracks = {name: make_track([0, 0.5, 0]) for name in weights if name not in ("c-most", "e-absent")}
    tracks |= {"c-most": make_track([0, 1.0, 0]), "e-absent": make_track([NAN, NAN, NAN])}
    (event,) = spot(Basis(make_profile(make_rule(weights=weights), signals), tracks, Timeline(PAL, 75)))
    assert ["c-most", "b-some", "d-some", "a-against"] == [said.signal for said in event.evidence]
    # (4 + 0.5 + 0.5 - 0.5) / 7, and 6 of the 7 positive parts were there.
    assert round(round(4.5 / 7, 6) * 6 / 7, 6) == event.confidence


def test_a_motion_only_video_is_spotted_with_less_confidence() -> None:
    signals = [make_signal("loud", "crowd"), make_signal("motion", "motion")]
    profile = make_profile(make_rule(weights={"loud": 3.0, "motion": 1.0}), signals)
    motion = make_track([0, 0, 0.8, 0])
    (alone,) = spot(Basis(profile, {"motion": motion}, Timeline(PAL, 100)))
    assert (50, 0.2) == (alone.anchor_frame, alone.confidence)
    assert () == spot(
        Basis(profile, {"motion": motion, "crowd": make_track([0, 0, 0, 0])}, Timeline(PAL, 100))
    )
    # The sound has a gap just there: the picture does not spot alone.
    assert () == spot(
        Basis(profile, {"motion": motion, "crowd": make_track([0, 0, NAN, 0])}, Timeline(PAL, 100))
    )


def test_the_order_of_tracks_and_weights_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    names = ["a", "b", "c"]
    signals = [make_signal(name, name) for name in names]
    tracks = {name: make_track(rng.random(200)) for name in names}
    weights = {"a": 0.1, "b": 0.7, "c": 0.3}
    turned_tracks, turned_weights = dict(reversed(tracks.items())), dict(reversed(weights.items()))
    one = spot(Basis(make_profile(make_rule(weights=weights), signals), tracks, Timeline(PAL, 5000)))
    two = spot(
        Basis(make_profile(make_rule(weights=turned_weights), signals), turned_tracks, Timeline(PAL, 5000))
    )
    assert len(one) > 5
    assert [event.model_dump_json() for event in one] == [event.model_dump_json() for event in two]


@pytest.mark.parametrize("level", [0.0, -120.0, -23.7])
def test_silence_and_any_constant_give_no_events(level: float) -> None:
    signal = make_signal(transform="baseline", low=1.0, high=5.0, baseline_s=Decimal(20))
    profile = make_profile(signals=[signal], grid=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert () == spot(Basis(profile, {"crowd": make_track([level] * 100)}, Timeline(PAL, 2500)))


def test_gaps_and_missing_tracks_give_no_events_and_no_warnings() -> None:
    profile = make_profile(signals=[make_signal(transform="baseline", smooth_s=Decimal(2))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert () == spot(Basis(profile, {"crowd": make_track([NAN] * 50)}, Timeline(PAL, 1250)))
        assert () == spot(Basis(profile, {"crowd": make_track([])}, Timeline(PAL, 1250)))
        assert () == spot(Basis(profile, {}, Timeline(PAL, 1250)))
        assert () == spot(Basis(profile, {"crowd": make_track([1.0])}, Timeline(PAL, 0)))


decibels = st.integers(-480, 0).map(lambda eighths: eighths / 8)  # exact in float32


@given(st.lists(decibels, min_size=5, max_size=80), st.integers(-80, 80))
def test_a_louder_recording_gives_the_same_events(levels: list[float], gain: int) -> None:
    signal = make_signal(transform="baseline", baseline_s=Decimal(20), floor=1.0, low=1.0, high=5.0)
    profile = make_profile(signals=[signal])
    louder = [level + gain / 8 for level in levels]
    assert spot_scores(*levels, profile=profile) == spot_scores(*louder, profile=profile)


scores = st.one_of(st.just(NAN), st.floats(0, 1, width=32))


@given(st.lists(scores, min_size=1, max_size=80), st.lists(st.integers(0, 80), max_size=4), st.booleans())
def test_a_track_split_and_stitched_gives_the_same_events(
    values: list[float], cuts: list[int], drop_first: bool
) -> None:
    whole = make_track(values, 2, anchor=1)
    edges = sorted({0, len(values), *(min(cut, len(values)) for cut in cuts)})
    parts = [
        Track(whole.grid, whole.labels, start, whole.scores[start:end]) for start, end in pairwise(edges)
    ]
    if drop_first and len(parts) > 1:  # a late start and a gap at the start are the same
        whole.scores[: parts[1].first] = NAN
        parts = parts[1:]
    profile = make_profile(signals=[make_signal(smooth_s=Decimal(2))])
    expected = spot(Basis(profile, {"crowd": whole}, Timeline(PAL, 1000)))
    assert expected == spot(Basis(profile, {"crowd": stitch_tracks(parts[::-1])}, Timeline(PAL, 1000)))
    if len(parts) == 1:
        assert expected == spot(Basis(profile, {"crowd": parts[0]}, Timeline(PAL, 1000)))


@given(
    st.lists(scores, max_size=120),
    st.sampled_from([PAL, NTSC, Fraction(7)]),
    st.integers(0, 1500),
    st.integers(0, 8),
    st.integers(1, 6),
)
def test_events_lie_in_the_video_keep_their_distance_and_do_not_overlap(
    values: list[float], rate: Fraction, duration: int, gap: int, longest: int
) -> None:
    rule = make_rule(min_gap_s=Decimal(gap), max_span_s=Decimal(longest))
    events = spot(
        Basis(make_profile(rule, grid=2), {"crowd": make_track(values, 2)}, Timeline(rate, duration))
    )
    for event in events:
        assert 0 <= event.start_frame <= event.anchor_frame < event.end_frame <= duration
        assert event.confidence >= rule.threshold
    for left, right in pairwise(events):
        assert left.end_frame <= right.start_frame
        # Anchors are floored to frames: the points are at least the gap apart.
        assert right.anchor_frame - left.anchor_frame > gap * rate - 1


# ---------------------------------------------------------------- shot changes


def test_local_maxima_take_the_first_of_a_plateau_and_no_shoulder() -> None:
    values = np.array([0.9, 0.1, 0.5, 0.5, 0.7, 0.7, 0.2, NAN, 0.3, NAN, 0.4, 0.3, 0.5, 0.5])
    assert [0, 4, 12] == local_maxima(values).tolist()
    assert [] == local_maxima(np.array([])).tolist()
    assert [] == local_maxima(np.array([NAN, NAN])).tolist()


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.7, 0.9]), st.booleans()), max_size=40))
def test_what_was_not_scored_makes_no_maximum(windows: list[tuple[float, bool]]) -> None:
    values = np.array([value for value, _ in windows])
    seen = np.array([value if looked else NAN for value, looked in windows])
    assert set(local_maxima(seen).tolist()) <= set(local_maxima(values).tolist())


@pytest.mark.parametrize(
    ("sample_rate", "rate", "expected"),
    [
        (PAL, PAL, 31),
        (NTSC, NTSC, 31),
        (Fraction(5), PAL, 155),  # 6.2 s
        (Fraction(5), NTSC, 185),  # 6.2 s lie in frame 185.81
        (Fraction(25, 2), PAL, 62),
    ],
)
def test_a_shot_begins_at_the_frame_of_the_anchor_sample(
    sample_rate: Fraction, rate: Fraction, expected: int
) -> None:
    # Window 30 compares samples 30 and 31; the new shot begins with sample 31.
    values = [0.0] * 30 + [0.9] + [0.0] * 30
    tracks = {"shot-change": make_track(values, sample_rate, label="cut", anchor=1)}
    assert (expected,) == shot_changes(make_shot_rule(), tracks, Timeline(rate, 1000))
    assert () == shot_changes(make_shot_rule(), tracks, Timeline(rate, expected))


def test_shots_nearer_than_the_gap_are_thinned_the_highest_first() -> None:
    values = [0.0, 0.7, 0.0, 0.9, 0.0, 0.8, 0.0, 0.6, 0.5, 0.0, 0.49]
    tracks = {"shot-change": make_track(values, 25, label="cut", anchor=1)}
    assert (2, 4, 6, 8) == shot_changes(make_shot_rule(), tracks, Timeline(PAL, 100))
    assert (4, 8) == shot_changes(make_shot_rule(min_gap_s=Decimal("0.12")), tracks, Timeline(PAL, 100))


def test_no_rule_and_no_track_give_no_shots() -> None:
    assert () == shot_changes(None, {}, Timeline(PAL, 100))
    assert () == shot_changes(make_shot_rule(), {}, Timeline(PAL, 100))
    assert () == shot_changes(
        make_shot_rule(), {"shot-change": make_track([], label="cut")}, Timeline(PAL, 100)
    )


def test_an_unknown_shot_label_is_refused() -> None:
    track = Track(Grid(PAL, 2, 1, 1), ("dissolve",), 0, np.zeros((3, 1), np.float32))
    with pytest.raises(ModelRefused, match="shots reads 'cut'; its model gives dissolve"):
        shot_changes(make_shot_rule(), {"shot-change": track}, Timeline(PAL, 100))
