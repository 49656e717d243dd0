"""Split a video into segments, and plan the units of an exhaustive job. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from math import ceil
from typing import Literal

from shared import fan_out
from shared.contracts import Choice, JobRequest, Timeline, Unit, VideoInfo
from shared.settings import Settings

Span = tuple[int, int | None]


def segments(timeline: Timeline, segment_s: int, key_frames: Sequence[int] = ()) -> tuple[Span, ...]:
    """Half-open spans of frames that cover the timeline once, each about segment_s seconds long.

    key_frames: timeline frames, ascending. An edge lies on a key frame where one is nearer than half a
    segment, since decoding starts there anyway; scores do not depend on where edges lie. The last span has no
    end: it runs to wherever decoding ends, so a container that understates its length loses nothing. A rest
    shorter than half a segment joins the span before it.
    """
    length = max(1, round(segment_s * timeline.rate))
    count = max(1, (timeline.frames + length // 2) // length)
    edges = [0]
    for index in range(1, count):
        edge = _nearest(key_frames, index * length, most_away=(length - 1) // 2)
        if edges[-1] < edge < timeline.frames:
            edges.append(edge)
    return tuple(zip(edges, [*edges[1:], None], strict=True))


def _nearest(key_frames: Sequence[int], target: int, most_away: int) -> int:
    """The key frame nearest to target, of two the earlier; target itself where none is so near."""
    place = bisect_left(key_frames, target)
    near = [key for key in key_frames[max(0, place - 1) : place + 1] if abs(key - target) <= most_away]
    return min(near, key=lambda key: (abs(key - target), key), default=target)


def plan_exhaustive(
    settings: Settings,
    request: JobRequest,
    info: VideoInfo,
    choice: Choice,
    key_frames: Sequence[int],
    first: int = 0,
    sound: bool = True,
) -> list[Unit]:
    """The units that score everything: the sound first, if asked for, since it is the longest unit; then the
    segments of the picture. first: the index of the first unit."""
    kinds: list[tuple[Literal["audio", "video"], int, int | None, tuple[str, ...]]] = []
    if sound and info.audio_stream is not None and (hearing := choice.of(sound=True)):
        kinds.append(("audio", 0, None, hearing))
    # Without reliable time stamps there is no seeking: one segment, counted from the beginning.
    spans: Sequence[tuple[int, int | None]] = [(0, None)]
    if info.numbering == "pts":
        least_s = ceil(info.planned_frames / info.rate / (fan_out.MAX_UNITS - 1))
        length_s = max(request.segment_s or settings.segment_s, least_s)
        spans = segments(info.planned, length_s, key_frames)
    kinds += [("video", start, end, choice.of(sound=False)) for start, end in spans]
    return [
        Unit(index=index, kind=kind, start_frame=start, end_frame=end, models=models)
        for index, (kind, start, end, models) in enumerate(kinds, first)
    ]
