"""A result of 25 frames a second with two cuts and one gap."""

from __future__ import annotations

from shared.contracts import Edit, Gap, Result, State
from tests.support import results


def a_result(gaps: bool = False) -> Result:
    gap = Gap(
        start_frame=1500, end_frame=3000, kind="video", models=("grass", "motion"), code="segment_failed"
    )
    edits = (
        Edit(number=1, source_in_frame=3150, source_out_frame=3350, events=()),
        Edit(number=2, source_in_frame=5375, source_out_frame=5525, events=()),
    )
    return results.a_result(
        results.a_video(start_timecode="01:00:00:00"),
        state=State.COMPLETED_WITH_GAPS if gaps else State.COMPLETED,
        edits=edits,
        gaps=(gap,) if gaps else (),
    )
