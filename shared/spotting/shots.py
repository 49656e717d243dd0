"""Camera changes, from the scores of a shot model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from shared.contracts import ShotRule, Timeline
from shared.models import Track
from shared.spotting._peaks import local_maxima, points_spanning, suppress
from shared.spotting._signals import column_of


def shot_changes(rule: ShotRule | None, tracks: Mapping[str, Track], timeline: Timeline) -> tuple[int, ...]:
    """Timeline frames that begin a new shot, ascending; empty where the rule's model did not run.

    A change is a local maximum of the pair model's score at or above the threshold; a plateau counts as its
    first window, and a window beside one that was not scored is no maximum. Of changes less than min_gap_s
    apart the highest stays. A change's frame is the one on screen at its anchor sample:
    floor(sample * the timeline's rate / the model's). Raises ModelRefused where the track lacks the rule's
    label.
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


def changing_frames(rule: ShotRule | None, tracks: Mapping[str, Track], timeline: Timeline) -> list[int]:
    """Timeline frames of every window at or above the rule's threshold, ascending; empty where its model did
    not run. Unlike the maxima among them, these do not depend on windows outside a looked span."""
    if rule is None or rule.model not in tracks:
        return []
    track = tracks[rule.model]
    scores = track.scores[:, column_of(track, rule.label, "shots")]
    return [_frame(track, int(window), timeline) for window in np.flatnonzero(scores >= rule.threshold)]


def _frame(track: Track, row: int, timeline: Timeline) -> int:
    """The timeline frame on screen at the anchor of a row's window."""
    return timeline.frame_at(track.grid.anchor_s(track.first + row))
