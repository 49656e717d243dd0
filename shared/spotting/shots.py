"""Camera changes, from the scores of a shot model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from shared.contracts import ShotRule, Timeline
from shared.models import Track
from shared.spotting._peaks import local_maxima, points_spanning, suppress
from shared.spotting._signals import column_of


def shot_changes(rule: ShotRule | None, tracks: Mapping[str, Track], timeline: Timeline) -> tuple[int, ...]:
    """Timeline frames that begin a new shot, ascending.

    A change is a local maximum of the pair model at or above the threshold (of a plateau the
    first window), thinned by min_gap_s, the highest first; beside what was not scored none is known to be
    a maximum. Its frame is the one on the screen at the
    anchor sample: floor(sample * the timeline's rate / the model's). None where the model did not run.
    Raises ModelRefused where the track lacks the rule's label.
    """
    if rule is None or rule.model not in tracks:
        return ()
    track = tracks[rule.model]
    scores = track.scores[:, column_of(track, rule.label, "shots")].astype(np.float64)
    maxima = local_maxima(scores)
    maxima = maxima[scores[maxima] >= rule.threshold]
    hops_per_second = track.grid.rate / track.grid.stride
    kept = suppress(maxima, scores[maxima], points_spanning(rule.min_gap_s, hops_per_second))
    frames = {_frame(track, int(maxima[index]), timeline) for index in kept}
    return tuple(sorted(frame for frame in frames if frame < timeline.frames))


def changing_at(rule: ShotRule | None, tracks: Mapping[str, Track], timeline: Timeline) -> list[int]:
    """Timeline frames of every window at or above the threshold, ascending: unlike the maxima among
    them, these do not depend on what lies beyond a looked span."""
    if rule is None or rule.model not in tracks:
        return []
    track = tracks[rule.model]
    scores = track.scores[:, column_of(track, rule.label, "shots")]
    return [_frame(track, int(window), timeline) for window in np.flatnonzero(scores >= rule.threshold)]


def _frame(track: Track, row: int, timeline: Timeline) -> int:
    """The timeline frame on the screen at the anchor of a row's window."""
    return timeline.frame_at(track.grid.anchor_s(track.first + row))
