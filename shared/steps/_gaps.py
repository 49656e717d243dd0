"""The gaps of a result: spans that were not scored, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from shared.contracts import Gap, Plan, Unit
from shared.steps.scores import Scored

Missing = tuple[int, str, Sequence[str]]
"""(first timeline frame, error code, models): a gap that runs to the end of its unit."""


def gaps_of(scored: Scored, frames: int) -> tuple[Gap, ...]:
    """Gaps of four kinds: units that failed, models that were refused in a unit, sound that stops decoding,
    and frames that a cut-off file declares but lacks. frames: the timeline's length."""
    gaps = []
    for unit in scored.units:
        end = frames if unit.end_frame is None else min(unit.end_frame, frames)
        for start, code, models in _missing(scored, unit):
            if start < end:
                kind: Literal["audio", "video"] = (
                    "audio" if set(models) <= set(scored.plan.sound) else "video"
                )
                gaps.append(Gap(start_frame=start, end_frame=end, kind=kind, models=tuple(models), code=code))
    return (*gaps, *_cut_off(scored.plan, frames))


def _missing(scored: Scored, unit: Unit) -> Iterator[Missing]:
    if unit.index in scored.failed:
        yield unit.start_frame, scored.failed[unit.index], unit.models
        return
    summary, plan = scored.summaries[unit.index], scored.plan
    if summary.refused:
        yield unit.start_frame, "model_refused", sorted(summary.refused)
    if summary.facts.sound_errors and not plan.video.missing_sound:
        heard = -1 if summary.facts.heard_frame is None else summary.facts.heard_frame
        yield heard + 1, "damaged", plan.sound


def _cut_off(plan: Plan, frames: int) -> Iterator[Gap]:
    """The picture and the sound that a cut-off file lacks at its end."""
    info = plan.video
    seeing = tuple(model.name for model in plan.models if model.name not in plan.sound)
    if info.missing_picture and frames < info.missing_picture[1]:
        yield _early_end(frames, info.missing_picture[1], "video", seeing)
    if info.missing_sound and plan.sound:
        yield _early_end(*info.missing_sound, "audio", plan.sound)


def _early_end(start: int, end: int, kind: Literal["audio", "video"], models: tuple[str, ...]) -> Gap:
    return Gap(start_frame=start, end_frame=end, kind=kind, models=models, code="file_ends_early")
