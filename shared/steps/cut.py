"""From score files to the result and its timelines: the last step of a job."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

from shared.contracts import (
    Audit,
    CascadeResult,
    Drift,
    EndRecord,
    ErrorBody,
    Gap,
    JobOptions,
    Lineage,
    Look,
    Plan,
    Result,
    StageTiming,
    State,
    StoredRequest,
    Tariff,
    Timeline,
    Timing,
    Unit,
    UnitSummary,
    VideoResult,
)
from shared.errors import Incomplete, SegmentFailed
from shared.models import Catalogue, Track, drift
from shared.settings import PREPROCESSING, VERSION, Settings
from shared.spotting import Basis, audit_of, board_of, shot_changes, spot
from shared.steps._cost import Meter, cost_of, read_tariff
from shared.steps.close import close_job
from shared.steps.scores import load_tracks
from shared.storage import BlobStore, load_choice, load_look, load_plan, load_request, load_summary, paths
from shared.timelines import (
    FORMATS,
    cut_settings,
    frame_to_timecode,
    make_edits,
    start_of_timeline,
    write_timeline,
)

log = logging.getLogger("matchcut")


def run_cut(settings: Settings, store: BlobStore, job: str, failed: Mapping[int, str]) -> EndRecord:
    """Stitch the tracks, spot, make the edits, write every timeline and the job's last word.

    failed: unit -> error code of the units that were given up. They, and models that were
    refused, become declared gaps. Raises SegmentFailed where nothing of the picture was scored.
    """
    stored, plan, look = load_request(store, job), load_plan(store, job), load_look(store, job)
    meter = Meter()
    # Where a sweep failed, all it would have scored was scored in segments.
    units = look.units if plan.cascade and not look.cascade else plan.units + look.units
    summaries = {u.index: load_summary(store, job, u.index) for u in units if u.index not in failed}
    result = _result(settings, store, stored, plan, look, units, summaries, failed)
    stages = {**result.timing.stages, "cut": meter.spent()}
    timing = result.timing.model_copy(update={"stages": stages})
    cost = cost_of(stages.values(), _tariff(settings))
    result = result.model_copy(update={"timing": timing, "cost": cost})
    files = []
    for name in dict.fromkeys(("json", *stored.request.cut.formats)):
        form = FORMATS[name]
        store.put(paths.file_path(job, form.file_name), write_timeline(result, name), form.media_type)
        files.append(form.file_name)
    error = None
    if result.state is State.FAILED:
        spans = f"{len(result.gaps)} gap{'s' if len(result.gaps) > 1 else ''}"
        error = ErrorBody(**Incomplete(f"The job is strict, and its result has {spans}.").record())
    return close_job(store, job, result.state, error, files)


def _tariff(settings: Settings) -> Tariff | None:
    """A tariff that cannot be read costs the price, not the result."""
    try:
        return read_tariff(settings.tariff)
    except ValueError as bad:
        log.warning("no price: %s", bad)
        return None


def _result(
    settings: Settings,
    store: BlobStore,
    stored: StoredRequest,
    plan: Plan,
    look: Look,
    units: Sequence[Unit],
    summaries: Mapping[int, UnitSummary],
    failed: Mapping[int, str],
) -> Result:
    request, info = stored.request, plan.video
    facts = [summaries[u.index].facts for u in units if u.kind != "audio" and u.index in summaries]
    if not facts:
        why = ", ".join(sorted(set(failed.values())))
        raise SegmentFailed(f"No segment of the picture could be scored: {why}.")
    frames = max((f.last_frame for f in facts if f.last_frame is not None), default=-1) + 1
    if not look.cascade and any(u.kind == "video" and u.index in failed for u in units):
        frames = max(frames, info.planned_frames)  # what was not decoded still counts
    timeline = Timeline(info.rate, frames)
    tracks = load_tracks(store, summaries.values())
    profile = load_choice(store, plan.job).profile
    looked = look.spans if look.cascade else None
    basis = Basis(profile, tracks, timeline, request.cut.thresholds)
    events = spot(basis, looked, look.models)
    audit = audit_of(events, basis, look.models, look.spans, look.seed) if look.cascade else None
    silent = [rule.label for rule in profile.rules if not rule.edit]
    gaps = _gaps(plan, units, summaries, failed, timeline.frames)
    start_frame, drop_frame = start_of_timeline(timeline.rate, info.start_timecode)
    width, height = info.display_size
    name = request.name or video_name(request.video)
    return Result(
        job=stored.job,
        state=_state(gaps, request.strict),
        title=request.cut.title or name,
        video=VideoResult(
            name=name,
            url=request.video,
            etag=info.etag,
            length_bytes=info.length_bytes,
            container=info.container,
            codec=info.codec,
            rate=timeline.rate,
            frames_decoded=sum(f.frames for f in facts),
            duration_frames=timeline.frames,
            duration_s=timeline.duration_s,
            start_timecode=frame_to_timecode(start_frame, timeline.rate, drop_frame),
            drop_frame=drop_frame,
            display_width=width,
            display_height=height,
            audio=info.audio_stream is not None,
            audio_fault=info.audio_fault,
            decode_errors=sum(f.decode_errors for f in facts),
        ),
        profile=plan.profile,
        models=plan.models,
        drift=_drift(Catalogue.of(settings), plan, look, tracks),
        events=events,
        edits=make_edits(events, cut_settings(profile.cut, request.cut), timeline, silent),
        shot_changes=shot_changes(profile.shots, tracks, timeline),
        board=board_of(tracks, timeline),
        cascade=_cascade(look, audit) if audit else None,
        gaps=gaps,
        lineage=Lineage(
            service=VERSION,
            preprocessing=PREPROCESSING,
            profile=sha256(profile.model_dump_json().encode()).hexdigest(),
            options=JobOptions(**request.model_dump(exclude={"video", "name", "callback"})),
        ),
        timing=_timing(plan, look, summaries),
        cost=cost_of((), None),  # filled in when all is counted
    )


def _state(gaps: Sequence[Gap], strict: bool) -> State:
    if not gaps:
        return State.COMPLETED
    return State.FAILED if strict else State.COMPLETED_WITH_GAPS


def _cascade(look: Look, audit: Audit) -> CascadeResult:
    return CascadeResult(
        proposed_frames=look.proposed_frames,
        looked_frames=sum(span.frames for span in look.spans),
        spans=look.spans,
        audit=audit,
    )


def _drift(catalogue: Catalogue, plan: Plan, look: Look, tracks: Mapping[str, Track]) -> tuple[Drift, ...]:
    """A look sees what was chosen to be seen, so its scores say nothing of the footage as a whole."""
    found = []
    for ref in plan.models:
        if ref.name in look.models or ref.name not in tracks:
            continue
        reference = catalogue.reference(ref)
        if reference and (moved := drift(reference, tracks[ref.name])):
            rounded = {name: round(value, 4) for name, value in moved._asdict().items()}
            found.append(Drift(model=ref.name, **rounded))
    return tuple(found)


def video_name(url: str) -> str:
    """The blob's own name: what an editor finds on disk."""
    return PurePosixPath(unquote(urlsplit(url).path)).name


def _gaps(
    plan: Plan,
    units: Sequence[Unit],
    summaries: Mapping[int, UnitSummary],
    failed: Mapping[int, str],
    duration: int,
) -> tuple[Gap, ...]:
    """What was not scored: whole units that failed, models that were refused in a unit, sound that ends, and
    what a file that was cut off says it has."""
    gaps = []
    for unit in units:
        end = duration if unit.end_frame is None else min(unit.end_frame, duration)
        missing: list[tuple[int, str, Sequence[str]]] = []
        if unit.index in failed:
            missing.append((unit.start_frame, failed[unit.index], unit.models))
        else:
            summary = summaries[unit.index]
            if summary.refused:
                missing.append((unit.start_frame, "model_refused", sorted(summary.refused)))
            if summary.facts.sound_errors and not plan.video.missing_sound:
                heard = -1 if summary.facts.heard_frame is None else summary.facts.heard_frame
                missing.append((heard + 1, "damaged", plan.sound))
        for start, code, models in missing:
            if start < end:
                kind: Literal["audio", "video"] = "audio" if set(models) <= set(plan.sound) else "video"
                gaps.append(Gap(start_frame=start, end_frame=end, kind=kind, models=tuple(models), code=code))
    return (*gaps, *_cut_off(plan, duration))


def _cut_off(plan: Plan, duration: int) -> Iterator[Gap]:
    """What is missing at the end of the file, of the picture and of the sound."""
    info = plan.video
    seeing = tuple(model.name for model in plan.models if model.name not in plan.sound)
    if info.missing_picture and duration < info.missing_picture[1]:
        yield _early_end(duration, info.missing_picture[1], "video", seeing)
    if info.missing_sound and plan.sound:
        yield _early_end(*info.missing_sound, "audio", plan.sound)


def _early_end(start: int, end: int, kind: Literal["audio", "video"], models: tuple[str, ...]) -> Gap:
    return Gap(start_frame=start, end_frame=end, kind=kind, models=models, code="file_ends_early")


def _timing(plan: Plan, look: Look, summaries: Mapping[int, UnitSummary]) -> Timing:
    first_end = len(plan.units) if plan.cascade else len(plan.units) + len(look.units)
    first = [summary for summary in summaries.values() if summary.unit < first_end]
    second = [summary for summary in summaries.values() if summary.unit >= first_end]
    return Timing(
        stages={
            "plan": _sum([plan.spent, look.spent]),
            "sweep" if plan.cascade else "score": _sum([summary.spent for summary in first]),
            **({"look": _sum([summary.spent for summary in second])} if second else {}),
        },
        units_cached=sum(summary.cached for summary in summaries.values()),
        units_scored=sum(not summary.cached for summary in summaries.values()),
    )


def _sum(several: Sequence[StageTiming]) -> StageTiming:
    return StageTiming(
        **{name: sum(getattr(one, name) for one in several) for name in StageTiming.model_fields}
    )
