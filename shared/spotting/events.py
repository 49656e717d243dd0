"""Signals -> fused scores -> peaks -> events. Pure.

Excitement as a weighted sum of sound and motion, each against its own baseline, follows Hanjalic,
"Adaptive extraction of highlights from a sport video based on excitement modeling", IEEE
Trans. Multimedia 7 (2005) 1114-1122. Everything is float64 in a fixed order: the same tracks
give the same events.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from shared.contracts import Event, Evidence, LabelRule, LookedSpan, Profile, Signal, Timeline
from shared.models import Grid, Track
from shared.spotting._peaks import find_stretches, limit_length, points_spanning, suppress
from shared.spotting._signals import Values, cell_s, point_count, signal_values
from shared.spotting.shots import changing_frames

DIGITS = 6
"""Scores are rounded to so many digits before they are compared: the printed scores decide."""


class Fused(NamedTuple):
    """One rule's score on the grid, NaN where too little is known, and its support."""

    score: Values
    support: Values
    """Share of the rule's positive weight that is present, 0 to 1."""


class Sampled(NamedTuple):
    """A signal on the grid, and the points where a cascade did not look; `values` is NaN there."""

    signal: Signal
    values: Values
    unseen: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Basis:
    """Everything that events follow from."""

    profile: Profile
    tracks: Mapping[str, Track]
    """By model name; a model without a track drops out."""
    timeline: Timeline
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """By label; they override the rules' own."""


def spot(
    basis: Basis, looked: Sequence[LookedSpan] | None = None, looks: Collection[str] = ()
) -> tuple[Event, ...]:
    """The events of every rule, ordered by anchor, then label.

    looked: the spans in which the models `looks` of a cascade saw the picture; None for an exhaustive job.
    Where these models did not see all that a signal needs, the signal counts with its worst value for the
    rule: an event is spotted there only if the other signals suffice. Every event has
    0 <= start_frame <= anchor_frame < end_frame <= basis.timeline.frames.
    Raises ModelRefused where a track lacks the label that a signal reads.
    """
    profile, tracks, timeline = basis.profile, basis.tracks, basis.timeline
    points = point_count(timeline, profile.grid)
    cuts = changing_frames(profile.shots, tracks, timeline)
    signals = []
    for signal in profile.signals:
        if signal.model in tracks:
            track = tracks[signal.model]
            whole = _whole_shots(track, cuts, timeline) if signal.whole_shots else track
            values = signal_values(signal, whole, profile.grid, points)
            unseen = np.zeros(points, bool)
            if looked is not None and signal.model in looks:
                unseen = _unseen(signal, track.grid, looked, profile.grid, timeline)
            signals.append(Sampled(signal, np.where(unseen, np.nan, values), unseen))
    events = [event for rule in profile.rules for event in _spot_rule(rule, signals, basis)]
    return tuple(sorted(events, key=lambda event: (event.anchor_frame, event.label)))


def reach_s(signal: Signal, grid: Grid, points: Fraction) -> Fraction:
    """How far to either side of a point its value depends on the picture, in seconds: half the smoothing, the
    point's cell, and one window. `points`: points of the grid per second."""
    cell = max(cell_s(grid, points, Fraction(signal.before_s), Fraction(signal.after_s)))
    return Fraction(signal.smooth_s) / 2 + cell + grid.window / grid.rate


def _unseen(
    signal: Signal,
    grid: Grid,
    looked: Sequence[LookedSpan],
    points_per_s: Fraction,
    timeline: Timeline,
) -> npt.NDArray[np.bool_]:
    """bool (points,): true where no looked span holds everything that the signal's value depends on."""
    reach, points = reach_s(signal, grid, points_per_s), point_count(timeline, points_per_s)
    unseen = np.ones(points, bool)
    for span in looked:
        first_s, last_s = timeline.time_s(span.start_frame) + reach, timeline.time_s(span.end_frame) - reach
        start = 0 if span.start_frame == 0 else ceil(first_s * points_per_s)
        end = points if span.end_frame >= timeline.frames else floor(last_s * points_per_s) + 1
        unseen[start : max(start, end)] = False
    return unseen


def _whole_shots(track: Track, cuts: Sequence[int], timeline: Timeline) -> Track:
    """The track with NaN for the windows that hold a shot change: such a window shows no shot alone."""
    grid, scores = track.grid, track.scores.copy()
    for cut in cuts:
        # Samples before and at the cut: j * stride < cut * r / R <= j * stride + window - 1.
        at = timeline.time_s(cut) * grid.rate
        first = max(ceil((at - grid.window + 1) / grid.stride), track.first)
        end = min(ceil(at / grid.stride), track.end)
        if first < end:
            scores[first - track.first : end - track.first] = np.nan
    return Track(grid, track.labels, track.first, scores)


def _spot_rule(rule: LabelRule, signals: list[Sampled], basis: Basis) -> list[Event]:
    grid, timeline = basis.profile.grid, basis.timeline
    weighed = [sampled for sampled in signals if rule.weights.get(sampled.signal.name)]
    if not weighed or set(rule.needs) - {sampled.signal.name for sampled in weighed}:
        return []
    known = [(sampled.signal, sampled.values) for sampled in weighed]
    support = fuse(rule, known).support
    worst = [
        (
            sampled.signal,
            np.where(sampled.unseen, float(rule.weights[sampled.signal.name] < 0), sampled.values),
        )
        for sampled in weighed
    ]
    score = fuse(rule, worst).score
    stretches = find_stretches(score, basis.thresholds.get(rule.label, rule.threshold), rule.release)
    peaks = np.array([stretch.peak for stretch in stretches], np.int64)
    kept = suppress(peaks, score[peaks], points_spanning(rule.min_gap_s, grid))
    longest = max(1, floor(Fraction(rule.max_span_s) * grid))

    def frame(point: int) -> int:
        return timeline.frame_at(point / grid)

    events = []
    for stretch in (limit_length(stretches[index], longest) for index in kept):
        anchor = frame(stretch.peak)
        events.append(
            Event(
                label=rule.label,
                anchor_frame=anchor,
                anchor_s=timeline.time_s(anchor),
                start_frame=frame(stretch.start),
                # A grid finer than the frames could end the span on the anchor's own frame.
                end_frame=timeline.clip(max(frame(stretch.end), anchor + 1)),
                confidence=round(float(score[stretch.peak] * support[stretch.peak]), DIGITS),
                evidence=_evidence(rule, known, stretch.peak),
            )
        )
    return events


def fuse(rule: LabelRule, signals: Iterable[tuple[Signal, Values]]) -> Fused:
    """Late fusion by a weighted sum over the signals present at each point, clipped to [0, 1].

    score = sum(weight * signal) / sum(|weight|), the sum rule of Kittler et al., "On combining
    classifiers", IEEE Trans. PAMI 20 (1998) 226-239. A signal that is NaN drops out and the
    weights renormalise. Three guards keep that honest:

    - Quorum. A point has no score where less than half of the positive weight that this video offers
      anywhere is present. So the picture alone spots nothing inside a gap of the sound.
    - Needs. A point has no score where a signal that the rule needs is missing.
    - Support. An event's confidence is its score times the share of the rule's whole positive weight that
      was present, as if each missing signal were 0. So a video without sound is spotted by its motion, and
      its events keep a low confidence. Thresholds apply to the score.
    """
    weighted = [(signal.name, values) for signal, values in signals]
    weights = np.array([rule.weights[name] for name, _ in weighted])[:, None]
    needed = np.array([name in rule.needs for name, _ in weighted])
    values = np.stack([values for _, values in weighted])
    present = ~np.isnan(values)
    positive = np.maximum(weights, 0.0)
    backing = (positive * present).sum(axis=0)
    offered = (positive * present.any(axis=1, keepdims=True)).sum()
    quorum = (backing > 0) & (2 * backing >= offered) & present[needed].all(axis=0)
    total = (np.abs(weights) * present).sum(axis=0)
    score = (weights * np.where(present, values, 0.0)).sum(axis=0) / np.where(quorum, total, 1.0)
    whole = sum(sorted(weight for weight in rule.weights.values() if weight > 0))
    return Fused(
        np.where(quorum, np.round(np.clip(score, 0.0, 1.0), DIGITS), np.nan),
        np.minimum(backing / whole, 1.0) if whole else backing,
    )


def _evidence(rule: LabelRule, signals: Iterable[tuple[Signal, Values]], point: int) -> tuple[Evidence, ...]:
    """The value of each signal present at the point, the strongest in the event's favour first."""
    evidence = [
        Evidence(
            model=signal.model,
            signal=signal.name,
            value=round(float(values[point]), DIGITS),
            weight=rule.weights[signal.name],
        )
        for signal, values in signals
        if not np.isnan(values[point])
    ]
    return tuple(sorted(evidence, key=lambda item: (-item.weight * item.value, item.signal)))
