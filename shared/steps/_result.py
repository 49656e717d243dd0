"""The result of a run, from the scores and summaries of its units."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from shared.contracts import (
    Audit,
    CascadeResult,
    Drift,
    Gap,
    JobOptions,
    JobRequest,
    Lineage,
    Look,
    Plan,
    Profile,
    Result,
    SpanFacts,
    StageTiming,
    State,
    Tariff,
    Timeline,
    Timing,
    VideoResult,
)
from shared.errors import SegmentFailed
from shared.models import Catalogue, Track, measure_drift
from shared.settings import PREPROCESSING, VERSION, Settings
from shared.spotting import Basis, make_audit, make_board, shot_changes, spot
from shared.steps._cost import Meter, cost_of, read_tariff
from shared.steps._gaps import gaps_of
from shared.steps.scores import Scored
from shared.timelines import cut_settings, frame_to_timecode, make_edits, start_of_timeline

log = logging.getLogger("matchcut")


def make_result(settings: Settings, scored: Scored, meter: Meter) -> Result:
    """Spot the events, make the edits, and add what they follow from: gaps, lineage, cost.

    meter: started when the cut began. Raises SegmentFailed where no unit of the picture was scored.
    """
    request, plan, look = scored.stored.request, scored.plan, scored.look
    profile, tracks = scored.profile, scored.tracks
    facts = _facts(scored)
    timeline = _timeline(scored, facts)
    basis = Basis(profile, tracks, timeline, request.cut.thresholds)
    events = spot(basis, look.spans if look.cascade else None, look.models)
    audit = make_audit(events, basis, look.models, look.spans, look.seed) if look.cascade else None
    silent = [rule.label for rule in profile.rules if not rule.edit]
    edits = make_edits(events, cut_settings(profile.cut, request.cut), timeline, silent)
    gaps = gaps_of(scored, timeline.frames)
    changes = shot_changes(profile.shots, tracks, timeline)
    board = make_board(tracks, timeline)
    moved = _drift(Catalogue.of(settings), plan, look, tracks)
    timing = _timing(scored, meter)
    name = request.name or video_name(request.video)
    return Result(
        job=scored.stored.job,
        state=_state(gaps, request.strict),
        title=request.cut.title or name,
        video=_video(name, request, plan, facts, timeline),
        profile=plan.profile,
        models=plan.models,
        drift=moved,
        events=events,
        edits=edits,
        shot_changes=changes,
        board=board,
        cascade=_cascade(look, audit) if audit else None,
        gaps=gaps,
        lineage=_lineage(profile, request),
        timing=timing,
        cost=cost_of(timing.stages.values(), _tariff(settings)),
    )


def _facts(scored: Scored) -> list[SpanFacts]:
    """The facts of each scored unit of the picture. Raises SegmentFailed where there is none."""
    seen = [unit.index for unit in scored.units if unit.kind != "audio" and unit.index in scored.summaries]
    if not seen:
        why = ", ".join(sorted(set(scored.failed.values())))
        raise SegmentFailed(f"No segment of the picture could be scored: {why}.")
    return [scored.summaries[index].facts for index in seen]


def _timeline(scored: Scored, facts: Sequence[SpanFacts]) -> Timeline:
    frames = max((span.last_frame for span in facts if span.last_frame is not None), default=-1) + 1
    info = scored.plan.video
    if not scored.look.cascade and any(u.kind == "video" and u.index in scored.failed for u in scored.units):
        frames = max(frames, info.planned_frames)  # frames that were not decoded still count
    return Timeline(info.rate, frames)


def _video(
    name: str, request: JobRequest, plan: Plan, facts: Sequence[SpanFacts], timeline: Timeline
) -> VideoResult:
    info = plan.video
    start_frame, drop_frame = start_of_timeline(timeline.rate, info.start_timecode)
    width, height = info.display_size
    return VideoResult(
        name=name,
        url=request.video,
        etag=info.etag,
        length_bytes=info.length_bytes,
        container=info.container,
        codec=info.codec,
        rate=timeline.rate,
        frames_decoded=sum(span.frames for span in facts),
        duration_frames=timeline.frames,
        duration_s=timeline.duration_s,
        start_timecode=frame_to_timecode(start_frame, timeline.rate, drop_frame),
        drop_frame=drop_frame,
        display_width=width,
        display_height=height,
        audio=info.audio_stream is not None,
        audio_fault=info.audio_fault,
        decode_errors=sum(span.decode_errors for span in facts),
    )


def _lineage(profile: Profile, request: JobRequest) -> Lineage:
    return Lineage(
        service=VERSION,
        preprocessing=PREPROCESSING,
        profile=sha256(profile.model_dump_json().encode()).hexdigest(),
        options=JobOptions(**request.model_dump(exclude={"video", "name", "callback"})),
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
    """The drift of each model that scored the whole video and has a reference. A look's spans were selected,
    so the scores of its models say nothing about the footage as a whole."""
    found = []
    for ref in plan.models:
        if ref.name in look.models or ref.name not in tracks:
            continue
        reference = catalogue.reference(ref)
        if reference and (moved := measure_drift(reference, tracks[ref.name])):
            rounded = {name: round(value, 4) for name, value in moved._asdict().items()}
            found.append(Drift(model=ref.name, **rounded))
    return tuple(found)


def video_name(url: str) -> str:
    """The blob's own name, under which an editor finds the file on disk."""
    return PurePosixPath(unquote(urlsplit(url).path)).name


def _timing(scored: Scored, meter: Meter) -> Timing:
    plan, look, summaries = scored.plan, scored.look, scored.summaries.values()
    first_end = len(plan.units) if plan.cascade else len(plan.units) + len(look.units)
    first = [summary for summary in summaries if summary.unit < first_end]
    second = [summary for summary in summaries if summary.unit >= first_end]
    return Timing(
        stages={
            "plan": _sum([plan.spent, look.spent]),
            "sweep" if plan.cascade else "score": _sum([summary.spent for summary in first]),
            **({"look": _sum([summary.spent for summary in second])} if second else {}),
            "cut": meter.spent(),
        },
        units_cached=sum(summary.cached for summary in summaries),
        units_scored=sum(not summary.cached for summary in summaries),
    )


def _sum(timings: Sequence[StageTiming]) -> StageTiming:
    return StageTiming(
        **{name: sum(getattr(timing, name) for timing in timings) for name in StageTiming.model_fields}
    )


def _tariff(settings: Settings) -> Tariff | None:
    """The tariff; None where it cannot be read, since a result without a price is better than none."""
    try:
        return read_tariff(settings.tariff)
    except ValueError as bad:
        log.warning("no price: %s", bad)
        return None
