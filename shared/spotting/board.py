"""Readings of a scoreboard -> its score and clock as text on the timeline (pure)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import numpy as np

from shared.contracts import BoardResult, TextSpan, Timeline
from shared.models import LABELS, Scores, Track

# ---------------------------------------------------------------- readings -> score


def settled(track: Track) -> Track:
    """A track of boards with its score made steady; any other as it is."""
    if track.labels != LABELS:
        return track
    return Track(track.grid, track.labels, track.first, steady(track.scores))


def steady(scores: Scores) -> Scores:
    """The score at every sample, freed of misreadings: float32 (n, 4) as LABELS, of a whole track.

    A reading counts where the next or the last one (rows of NaN between do not matter) says the same;
    and since goals only rise, of those the largest set is kept in which neither side ever falls, so a
    disallowed goal that stood for less time than the rest of the match is none. The score holds until
    the next one that is kept; before the first it is NaN. clock_s stays as it was read.
    """
    out = np.array(scores, np.float32)
    out[:, [0, 1, 3]] = np.nan
    read = np.flatnonzero(np.isfinite(scores[:, :2]).all(axis=1))
    pairs = [(int(home), int(away)) for home, away in scores[read, :2]]
    twice = [
        k for k, pair in enumerate(pairs) if pair in (pairs[k - 1] if k else None, *pairs[k + 1 : k + 2])
    ]
    kept = [(int(read[twice[k]]), pairs[twice[k]]) for k in _rising([pairs[k] for k in twice])]
    starts = [sample for sample, _ in kept]
    for sample in range(starts[0] if starts else len(out), len(out)):
        home, away = kept[bisect_right(starts, sample) - 1][1]
        out[sample, [0, 1, 3]] = home, away, home + away
    return out


def _rising(pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Places of the largest subsequence in which neither number falls; of equals the one ending first."""
    best: dict[tuple[int, int], tuple[int, int]] = {}  # pair -> length, place of the last one
    before: list[int] = []
    for k, pair in enumerate(pairs):
        below = [one for last, one in best.items() if last[0] <= pair[0] and last[1] <= pair[1]]
        length, place = max(below, key=lambda one: (one[0], -one[1]), default=(0, -1))
        before.append(place)
        best[pair] = (length + 1, k)
    _, place = max(best.values(), key=lambda one: (one[0], -one[1]), default=(0, -1))
    chain = []
    while place >= 0:
        chain.append(place)
        place = before[place]
    return chain[::-1]


# ---------------------------------------------------------------- score -> text


def board_of(tracks: Mapping[str, Track], timeline: Timeline) -> BoardResult | None:
    """Score and clock of the first settled track of boards, by name, as text; None without one.

    A sample tells of the timeline from its own frame, floor(sample * the timeline's rate / the model's),
    to the next one's.
    """
    boards = [track for _, track in sorted(tracks.items()) if track.labels == LABELS]
    if not boards:
        return None
    track = boards[0]
    edges = [
        timeline.clip(timeline.frame_at(track.grid.anchor_s(window)))
        for window in range(track.first, track.end + 1)
    ]
    goals, clocks = track.scores[:, :2].tolist(), track.scores[:, 2].tolist()
    return BoardResult(
        score=_spans(edges, (None if home != home else f"{home:.0f}-{away:.0f}" for home, away in goals)),
        clock=_spans(edges, (None if s != s else f"{int(s) // 60:02d}:{int(s) % 60:02d}" for s in clocks)),
    )


def _spans(edges: Sequence[int], texts: Iterable[str | None]) -> tuple[TextSpan, ...]:
    """Text k stands in [edges[k], edges[k + 1]); None is no text; the same text again goes on."""
    spans = []
    for text, run in groupby(zip(texts, edges, edges[1:], strict=False), key=lambda one: one[0]):
        shown = list(run)
        start, end = shown[0][1], shown[-1][2]
        if text is not None and start < end:
            spans.append(TextSpan(start_frame=start, end_frame=end, text=text))
    return tuple(spans)
