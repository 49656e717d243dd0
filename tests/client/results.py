"""A result of 25 frames a second with two cuts and one gap."""

from __future__ import annotations

from fractions import Fraction

from shared.contracts import Edit, Gap, Result, State, Timing, VideoResult


def a_result(gaps: bool = False) -> Result:
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
        start_timecode="01:00:00:00",
        drop_frame=False,
        display_width=1280,
        display_height=720,
        audio=True,
        decode_errors=0,
    )
    gap = Gap(
        start_frame=1500, end_frame=3000, kind="video", models=("grass", "motion"), code="segment_failed"
    )
    return Result(
        job="m-0123456789abcdef01234567",
        state=State.COMPLETED_WITH_GAPS if gaps else State.COMPLETED,
        title="match",
        video=video,
        profile="soccer",
        models=(),
        events=(),
        edits=(
            Edit(number=1, source_in_frame=3150, source_out_frame=3350, events=()),
            Edit(number=2, source_in_frame=5375, source_out_frame=5525, events=()),
        ),
        shot_changes=(),
        gaps=(gap,) if gaps else (),
        timing=Timing(stages={}, units_cached=0, units_scored=10),
    )
