"""Readings of a scoreboard -> its score and clock as text on the timeline. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

import numpy as np

from shared.contracts import BoardResult, TextSpan, Timeline
from shared.models import LABELS, Scores, Track

# ---------------------------------------------------------------- readings -> score


def steady_board(track: Track) -> Track:
    """A scoreboard's whole track without misread scores, see steady_scores; any other track unchanged."""
    if track.labels != LABELS:
        return track
    return Track(track.grid, track.labels, track.first, steady_scores(track.scores))


def steady_scores(scores: Scores) -> Scores:
    """The match's score at every sample, without misreadings. Of a whole track: float32 (n, 4), columns as in
    LABELS.

    A reading counts where the reading before or after it says the same; rows of NaN between them do not
    matter. Goals only rise, so of these readings the largest set is kept in which neither side's goals ever
    fall. A disallowed goal that stood for less time than the rest of the match is thus dropped. Each kept
    score holds until the next; before the first the score is NaN. clock_s stays as it was read.
    """
    out = np.array(scores, np.float32)
    out[:, [0, 1, 3]] = np.nan
    read = np.flatnonzero(np.isfinite(scores[:, :2]).all(axis=1))
    pairs = [(int(home), int(away)) for home, away in scores[read, :2]]
    confirmed = [
        k for k, pair in enumerate(pairs) if pair in (pairs[k - 1] if k else None, *pairs[k + 1 : k + 2])
    ]
    rising = [confirmed[k] for k in _rising([pairs[k] for k in confirmed])]
    kept = [(int(read[k]), pairs[k]) for k in rising]
    starts = [sample for sample, _ in kept]
    for sample in range(starts[0] if starts else len(out), len(out)):
        home, away = kept[bisect_right(starts, sample) - 1][1]
        out[sample, [0, 1, 3]] = home, away, home + away
    return out


def _rising(pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Indices of the longest subsequence in which neither number falls; of equals the one that ends first."""
    best: dict[tuple[int, int], tuple[int, int]] = {}  # last pair -> length of its chain, index of that pair
    previous: list[int] = []
    for index, pair in enumerate(pairs):
        below = [chain for last, chain in best.items() if last[0] <= pair[0] and last[1] <= pair[1]]
        length, place = max(below, key=lambda chain: (chain[0], -chain[1]), default=(0, -1))
        previous.append(place)
        best[pair] = (length + 1, index)
    _, place = max(best.values(), key=lambda chain: (chain[0], -chain[1]), default=(0, -1))
    longest = []
    while place >= 0:
        longest.append(place)
        place = previous[place]
    return longest[::-1]


# ---------------------------------------------------------------- score -> text


def make_board(tracks: Mapping[str, Track], timeline: Timeline) -> BoardResult | None:
    """Score and clock as text on the timeline, from the first scoreboard's track by name; None without one.

    tracks: by model, those of scoreboards steady. A sample holds from its own frame,
    floor(sample * the timeline's rate / the model's), to the next sample's.
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
    """Text k holds in the frames [edges[k], edges[k + 1]); None is no text; equal neighbours are one span."""
    spans = []
    for text, group in groupby(zip(texts, edges, edges[1:], strict=False), key=lambda cell: cell[0]):
        cells = list(group)
        start, end = cells[0][1], cells[-1][2]
        if text is not None and start < end:
            spans.append(TextSpan(start_frame=start, end_frame=end, text=text))
    return tuple(spans)
