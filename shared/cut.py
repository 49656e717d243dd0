"""From score files to the result and its timelines: the last step of a job (floor 4)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from shared import names
from shared.contracts import (
    EndRecord,
    Gap,
    Plan,
    Result,
    StageTiming,
    State,
    StoredRequest,
    Timing,
    Unit,
    UnitSummary,
    VideoResult,
)
from shared.edits import cut_settings, make_edits
from shared.errors import SegmentFailed
from shared.profiles import load_profile
from shared.settings import Settings
from shared.spotting import shot_changes, spot
from shared.steps import close_job, load_plan, load_request, metered
from shared.storage import BlobStore
from shared.timecode import frame_to_timecode, start_of_timeline
from shared.timelines import FORMATS, write_timeline
from shared.tracks import Track, from_npz, stitch


def run_cut(settings: Settings, store: BlobStore, job: str, failed: Mapping[int, str]) -> EndRecord:
    """Stitch the tracks, spot, make the edits, write every timeline and the job's last word.

    failed: unit -> error code of the units that were given up. They, and models that were
    refused, become declared gaps. Raises SegmentFailed where nothing of the picture was scored.
    """
    stored, plan = load_request(store, job), load_plan(store, job)
    with metered() as meter:
        summaries = _summaries(store, plan, failed)
        tracks = _tracks(store, summaries)
        result = _result(settings, stored, plan, summaries, failed, tracks)
    spent = StageTiming(cpu_s=meter.cpu_s, wall_s=meter.wall_s, bytes_read=0)
    timing = result.timing.model_copy(update={"stages": {**result.timing.stages, "cut": spent}})
    result = result.model_copy(update={"timing": timing})
    files = []
    for name in dict.fromkeys(("json", *stored.request.cut.formats)):
        form = FORMATS[name]
        store.put(names.file_path(job, form.file_name), write_timeline(result, name), form.media_type)
        files.append(form.file_name)
    return close_job(store, job, result.state, files=files)


def _summaries(store: BlobStore, plan: Plan, failed: Mapping[int, str]) -> dict[int, UnitSummary]:
    return {
        unit.index: UnitSummary.model_validate_json(store.get(names.summary_path(plan.job, unit.index)))
        for unit in plan.units
        if unit.index not in failed
    }


def _tracks(store: BlobStore, summaries: Mapping[int, UnitSummary]) -> dict[str, Track]:
    parts: dict[str, list[Track]] = defaultdict(list)
    for summary in summaries.values():
        for model, key in summary.scores.items():
            parts[model].append(from_npz(store.get(names.score_path(key))))
    return {model: stitch(tracks) for model, tracks in sorted(parts.items())}


def _result(
    settings: Settings,
    stored: StoredRequest,
    plan: Plan,
    summaries: Mapping[int, UnitSummary],
    failed: Mapping[int, str],
    tracks: Mapping[str, Track],
) -> Result:
    request, info, rate = stored.request, plan.video, plan.video.rate
    pictures = [
        summaries[unit.index] for unit in plan.units if unit.kind == "video" and unit.index in summaries
    ]
    if not pictures:
        raise SegmentFailed("No segment of the picture could be scored.")
    last_frames = [summary.facts.last_frame for summary in pictures if summary.facts.last_frame is not None]
    duration = max(last_frames, default=-1) + 1
    if any(unit.kind == "video" and unit.index in failed for unit in plan.units):
        duration = max(duration, info.planned_frames)  # what was not decoded still counts
    profile = load_profile(settings.models_dir, plan.profile)
    events = spot(profile, tracks, rate, duration, request.cut.thresholds)
    gaps = _gaps(plan.units, summaries, failed, duration)
    start_frame, drop_frame = start_of_timeline(rate, info.start_timecode)
    width, height = info.display_size
    name = request.name or video_name(request.video)
    return Result(
        job=stored.job,
        state=State.COMPLETED_WITH_GAPS if gaps else State.COMPLETED,
        title=request.cut.title or name,
        video=VideoResult(
            name=name,
            url=request.video,
            etag=info.etag,
            length_bytes=info.length_bytes,
            container=info.container,
            codec=info.codec,
            rate=rate,
            frames_decoded=sum(summary.facts.frames for summary in pictures),
            duration_frames=duration,
            duration_s=Fraction(duration) / rate,
            start_timecode=frame_to_timecode(start_frame, rate, drop_frame),
            drop_frame=drop_frame,
            display_width=width,
            display_height=height,
            audio=info.audio_stream is not None,
            decode_errors=sum(summary.facts.decode_errors for summary in pictures),
        ),
        profile=plan.profile,
        models=plan.models,
        events=events,
        edits=make_edits(events, cut_settings(profile.cut, request.cut), rate, duration),
        shot_changes=shot_changes(profile.shots, tracks, rate, duration),
        gaps=gaps,
        timing=_timing(plan, summaries),
    )


def video_name(url: str) -> str:
    """The blob's own name: what an editor finds on disk."""
    return PurePosixPath(unquote(urlsplit(url).path)).name


def _gaps(
    units: Sequence[Unit], summaries: Mapping[int, UnitSummary], failed: Mapping[int, str], duration: int
) -> tuple[Gap, ...]:
    """What was not scored: whole units that failed, and models that were refused in a unit."""
    gaps = []
    for unit in units:
        end = duration if unit.end_frame is None else min(unit.end_frame, duration)
        codes: dict[str, list[str]] = defaultdict(list)
        if unit.index in failed:
            codes[failed[unit.index]].extend(unit.models)
        elif refused := summaries[unit.index].refused:
            codes["model_refused"].extend(sorted(refused))
        for code, models in codes.items():
            if unit.start_frame < end:
                gaps.append(
                    Gap(
                        start_frame=unit.start_frame,
                        end_frame=end,
                        kind=unit.kind,
                        models=tuple(models),
                        code=code,
                    )
                )
        if (
            unit.kind == "audio"
            and unit.index not in failed
            and (lost := _unheard(summaries[unit.index], end))
        ):
            gaps.append(
                Gap(start_frame=lost, end_frame=end, kind="audio", models=unit.models, code="damaged")
            )
    return tuple(gaps)


def _unheard(summary: UnitSummary, duration: int) -> int | None:
    """Where sound that did not decode to its end ends, if that is before the picture's."""
    heard = 0 if summary.facts.last_frame is None else summary.facts.last_frame + 1
    return heard if summary.facts.decode_errors and heard < duration else None


def _timing(plan: Plan, summaries: Mapping[int, UnitSummary]) -> Timing:
    scored = summaries.values()
    return Timing(
        stages={
            "plan": StageTiming(cpu_s=plan.cpu_s, wall_s=plan.wall_s, bytes_read=plan.bytes_read),
            "score": StageTiming(
                cpu_s=sum(summary.cpu_s for summary in scored),
                wall_s=sum(summary.wall_s for summary in scored),
                bytes_read=sum(summary.bytes_read for summary in scored),
            ),
        },
        units_cached=sum(summary.cached for summary in scored),
        units_scored=sum(not summary.cached for summary in scored),
    )
