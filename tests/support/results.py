"""A video and a result to change in one place and check in another."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from shared.contracts import JobOptions, Lineage, Result, State, Timing, VideoResult
from shared.steps._cost import cost_of


def a_video(**changes: Any) -> VideoResult:
    """Ten minutes at 25 frames a second, with sound."""
    video = VideoResult(
        name="match.mp4",
        url="https://account.example/videos/match.mp4",
        etag="0x1",
        length_bytes=1000,
        container="mov,mp4,m4a,3gp,3g2,mj2",
        codec="h264",
        rate=Fraction(25),
        frames_decoded=15_000,
        duration_frames=15_000,
        duration_s=Fraction(600),
        start_timecode="00:00:00:00",
        drop_frame=False,
        display_width=1280,
        display_height=720,
        audio=True,
        decode_errors=0,
    )
    return video.model_copy(update=changes)


def a_result(video: VideoResult | None = None, **changes: Any) -> Result:
    """A completed job in which nothing was found."""
    result = Result(
        job="m-0123456789abcdef01234567",
        state=State.COMPLETED,
        title="match",
        video=video or a_video(),
        profile="soccer",
        models=(),
        events=(),
        edits=(),
        shot_changes=(),
        gaps=(),
        lineage=Lineage(service="0.1.0", preprocessing="2", profile="0" * 64, options=JobOptions()),
        timing=Timing(stages={}, units_cached=0, units_scored=0),
        cost=cost_of((), None),
    )
    return result.model_copy(update=changes)
