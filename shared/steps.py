"""What the activities do, as plain functions of (settings, store, job) (floor 4).

Each is idempotent: its output lies under a path that its input determines, it looks there
before it works, and writes whole. Failures are MatchcutError; activities/ turns them into records.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from math import ceil

from shared import names
from shared.contracts import (
    EndRecord,
    ErrorBody,
    JobRequest,
    ModelManifest,
    ModelRef,
    Plan,
    SpanFacts,
    State,
    StoredRequest,
    Unit,
    UnitSummary,
    VideoInfo,
    fraction_text,
)
from shared.errors import Cancelled, ModelRefused, UnknownModel, VideoTooLong
from shared.media import probe
from shared.pictures import Pictures
from shared.plan import segments
from shared.profiles import load_profile
from shared.ranges import RangeReader
from shared.scorer import AudioScorer, Model, PictureScorer, find_models, load_model
from shared.settings import Settings
from shared.sound import sound
from shared.storage import BlobFacts, BlobStore, open_source, parse_source, read_ranges
from shared.tracks import Track, to_npz

PREPROCESSING = "1"
"""Raise it when decoding, resizing or the sample grid changes: old scores are not reused then."""
_LOOK_FOR_CANCEL_FRAMES = 250
_LOOK_FOR_CANCEL_CHUNKS = 10_000


@dataclass
class Meter:
    """CPU and wall seconds of a step; one process runs one step at a time."""

    cpu_s: float = 0.0
    wall_s: float = 0.0


@contextmanager
def metered() -> Iterator[Meter]:
    meter = Meter()
    cpu, wall = time.process_time(), time.monotonic()
    try:
        yield meter
    finally:
        meter.cpu_s, meter.wall_s = time.process_time() - cpu, time.monotonic() - wall


def load_request(store: BlobStore, job: str) -> StoredRequest:
    return StoredRequest.model_validate_json(store.get(names.request_path(job)))


def load_plan(store: BlobStore, job: str) -> Plan:
    return Plan.model_validate_json(store.get(names.plan_path(job)))


def find_secret(store: BlobStore, stored: StoredRequest) -> str:
    """The SAS of the source, empty where the request had none."""
    return (store.find(names.secret_path(stored.run, stored.fingerprint)) or b"").decode()


def open_video(settings: Settings, store: BlobStore, stored: StoredRequest) -> RangeReader:
    """The job's video, at the version it had when it was accepted."""
    sas = find_secret(store, stored)
    source = parse_source(stored.request.video, settings)
    facts = BlobFacts(etag=stored.etag, length_bytes=stored.length_bytes)
    return read_ranges(open_source(source, sas, settings), facts)


# ---------------------------------------------------------------- plan


def run_plan(settings: Settings, store: BlobStore, job: str) -> Plan:
    """Look into the video and write plan.json.

    Raises NotAVideo, NoVideoStream, VideoTooLong, UnknownModel, or what storage says.
    """
    if found := store.find(names.plan_path(job)):
        return Plan.model_validate_json(found)
    stored = load_request(store, job)
    with metered() as meter:
        models = chosen_models(settings, stored.request)
        reader = open_video(settings, store, stored)
        found_video = probe(reader, stored.etag, stored.length_bytes)
    info = found_video.info
    if info.planned_frames > settings.max_video_s * info.rate:
        lasts_s = float(info.planned_frames / info.rate)
        raise VideoTooLong(f"The video lasts {lasts_s:.0f} s; the limit is {settings.max_video_s} s.")
    plan = Plan(
        job=job,
        video=info,
        profile=stored.request.profile,
        models=tuple(manifest.ref for manifest in models.values()),
        units=_units(info, models, stored.request.segment_s or settings.segment_s, found_video.key_frames),
        bytes_read=reader.bytes_read,
        cpu_s=meter.cpu_s,
        wall_s=meter.wall_s,
    )
    store.put(names.plan_path(job), plan.model_dump_json().encode())
    return plan


def chosen_models(settings: Settings, request: JobRequest) -> dict[str, ModelManifest]:
    """The manifests that a request asks for, by name: its own list, else its profile's.

    Raises UnknownModel for a profile or model that is not there.
    """
    there = find_models(settings.models_dir)
    wanted = request.models or load_profile(settings.models_dir, request.profile).models
    if missing := sorted(set(wanted) - set(there)):
        raise UnknownModel(f"There is no model {', '.join(missing)}; there are {', '.join(there)}.")
    return {name: there[name] for name in sorted(set(wanted))}


def _units(
    info: VideoInfo, models: dict[str, ModelManifest], segment_s: int, key_frames: Sequence[int]
) -> tuple[Unit, ...]:
    """The sound first, since it is the longest unit, then the segments of the picture."""
    units: list[Unit] = []
    audio = tuple(name for name, manifest in models.items() if manifest.kind == "audio")
    if audio and info.audio_stream is not None:
        units.append(Unit(index=0, kind="audio", start_frame=0, end_frame=None, models=audio))
    pictures = tuple(name for name, manifest in models.items() if manifest.kind != "audio")
    # Without time stamps that hold there is no seeking: one segment, counted from the beginning.
    spans: Sequence[tuple[int, int | None]] = [(0, None)]
    if info.numbering == "pts":
        least_s = ceil(info.planned_frames / info.rate / (names.MAX_UNITS - 1))
        spans = segments(info.planned_frames, info.rate, max(segment_s, least_s), key_frames)
    for start, end in spans:
        units.append(Unit(index=len(units), kind="video", start_frame=start, end_frame=end, models=pictures))
    return tuple(units)


# ---------------------------------------------------------------- score


def run_score(settings: Settings, store: BlobStore, job: str, index: int) -> UnitSummary:
    """Score one unit: decode once, feed every model whose scores are not there yet.

    A model that is refused (digest, shapes, golden sample, NaN) is left out and named in the
    summary; the others go on. Raises Cancelled, or what storage says.
    """
    plan = load_plan(store, job)
    unit = plan.units[index]
    refs = {ref.name: ref for ref in plan.models}
    keys = {name: _score_key(plan.video, unit, refs[name]) for name in unit.models}
    facts_key = _score_key(plan.video, unit, None)
    reader: RangeReader | None = None
    refused: dict[str, str] = {}
    with metered() as meter:
        facts_found = store.find(names.facts_path(facts_key))
        missing = {name: refs[name] for name, key in keys.items() if not store.exists(names.score_path(key))}
        if facts_found is None or missing:
            _stop_if_cancelled(store, job)
            reader = open_video(settings, store, load_request(store, job))
            facts, tracks, refused = _score(settings, store, job, plan.video, unit, missing, reader)
            for name, track in tracks.items():
                store.put(names.score_path(keys[name]), to_npz(track), "application/octet-stream")
            # Last, so that facts without scores never look like a finished unit.
            store.put(names.facts_path(facts_key), facts.model_dump_json().encode())
        else:
            facts = SpanFacts.model_validate_json(facts_found)
    summary = UnitSummary(
        unit=index,
        facts=facts,
        scores={name: key for name, key in keys.items() if name not in refused},
        refused=refused,
        cached=reader is None,
        bytes_read=reader.bytes_read if reader else 0,
        cpu_s=meter.cpu_s,
        wall_s=meter.wall_s,
    )
    store.put(names.summary_path(job, index), summary.model_dump_json().encode())
    return summary


def _score_key(video: VideoInfo, unit: Unit, model: ModelRef | None) -> str:
    """Video identity | model and manifest digest | pre-processing version | span: nothing is scored twice.

    Without a model, the key of the span's facts.
    """
    what = (model.digest, model.manifest) if model else ("facts",)
    rate, time = fraction_text(video.rate), f"{video.origin_pts} {video.numbering}"
    span = (unit.kind, str(unit.start_frame), str(unit.end_frame))
    return names.score_key((video.etag, str(video.length_bytes), *what, PREPROCESSING, rate, time, *span))


def _stop_if_cancelled(store: BlobStore, job: str) -> None:
    if store.exists(names.cancel_path(job)):
        raise Cancelled("The job was cancelled.")


def _score(
    settings: Settings,
    store: BlobStore,
    job: str,
    video: VideoInfo,
    unit: Unit,
    asked: Mapping[str, ModelRef],
    reader: RangeReader,
) -> tuple[SpanFacts, dict[str, Track], dict[str, str]]:
    """(facts, tracks by model, why models were refused)."""
    refused: dict[str, str] = {}
    models = {}
    for name, ref in asked.items():
        try:
            model = load_model(settings.models_dir / name, settings.ort_threads)
            if model.manifest.ref != ref:
                # A worker of another version: its scores must not be kept under the planned one's key.
                raise ModelRefused(
                    f"model {name} was planned as {ref.version}, and is {model.manifest.version}"
                )
            models[name] = model
        except ModelRefused as failure:
            refused[name] = failure.message
    if unit.kind == "audio":
        return _listen(settings, store, job, video, models, refused, reader)
    scorers = {
        name: PictureScorer(model, video.rate, unit.start_frame, unit.end_frame)
        for name, model in models.items()
    }
    facts, last_of_video = _feed(settings, store, job, video, unit, scorers, refused, reader)
    tracks = {}
    for name, scorer in scorers.items():
        if name not in refused:
            try:
                tracks[name] = scorer.finish(last_of_video)
            except ModelRefused as failure:
                refused[name] = failure.message
    return facts, tracks, refused


def _listen(
    settings: Settings,
    store: BlobStore,
    job: str,
    video: VideoInfo,
    models: Mapping[str, Model],
    refused: dict[str, str],
    reader: RangeReader,
) -> tuple[SpanFacts, dict[str, Track], dict[str, str]]:
    """_score for the sound; last_frame is the last that is heard."""
    tracks: dict[str, Track] = {}
    errors: list[str] = []
    heard_s = Fraction(0)
    for name, model in models.items():
        rate_hz = int(model.grid(video.rate).rate)
        scorer, samples = AudioScorer(model), 0
        errors = []
        try:
            for count, chunk in enumerate(sound(reader, video, rate_hz, settings.max_video_s, errors)):
                if count % _LOOK_FOR_CANCEL_CHUNKS == 0:
                    _stop_if_cancelled(store, job)
                samples += len(chunk)
                scorer.push(chunk)
            tracks[name] = scorer.finish()
        except ModelRefused as failure:
            refused[name] = failure.message
        heard_s = Fraction(samples, rate_hz)
    last = int(heard_s * video.rate) - 1 if heard_s else None
    return SpanFacts(frames=0, last_frame=last, decode_errors=len(errors)), tracks, refused


def _feed(
    settings: Settings,
    store: BlobStore,
    job: str,
    video: VideoInfo,
    unit: Unit,
    scorers: dict[str, PictureScorer],
    refused: dict[str, str],
    reader: RangeReader,
) -> tuple[SpanFacts, int | None]:
    """Decode the core and its halo once, for all; the last frame of the video where its end was reached."""
    first_needed = min([unit.start_frame, *(scorer.first_needed for scorer in scorers.values())])
    ends = [unit.end_frame, *(scorer.end_needed for scorer in scorers.values())]
    needed = [end for end in ends if end is not None]
    end_needed = max(needed) if len(needed) == len(ends) else None
    pictures = Pictures(reader, video, first_needed)
    frames, last_in_core, last = 0, None, None
    for count, picture in enumerate(pictures):
        if count % _LOOK_FOR_CANCEL_FRAMES == 0:
            _stop_if_cancelled(store, job)
        last = picture.frame
        if last > settings.max_video_s * video.rate:
            raise VideoTooLong(f"The video goes on beyond the limit of {settings.max_video_s} s.")
        if picture.frame >= unit.start_frame and (unit.end_frame is None or picture.frame < unit.end_frame):
            frames += 1
            last_in_core = picture.frame
        for name, scorer in scorers.items():
            if name not in refused:
                try:
                    scorer.push(picture)
                except ModelRefused as failure:
                    refused[name] = failure.message
        if end_needed is not None and picture.frame >= end_needed:
            break
    facts = SpanFacts(frames=frames, last_frame=last_in_core, decode_errors=len(pictures.errors))
    return facts, last if pictures.ended else None


# ---------------------------------------------------------------- close


def close_job(
    store: BlobStore,
    job: str,
    state: State,
    error: ErrorBody | None = None,
    files: Sequence[str] = (),
) -> EndRecord:
    """Write the job's last word, once, and forget its secret. A second call changes nothing."""
    stored = load_request(store, job)
    plan = store.find(names.plan_path(job))
    units = media_s = 0.0
    if plan:
        planned = Plan.model_validate_json(plan)
        units, media_s = len(planned.units), float(planned.video.planned_frames / planned.video.rate)
    end = EndRecord(
        job=stored.job,
        state=state,
        files=tuple(files),
        error=error,
        total=int(units),
        media_s=media_s,
        wall_s=max(0.0, time.time() - datetime.fromisoformat(stored.created).timestamp()),
    )
    if not store.put_new(names.end_path(job), end.model_dump_json().encode()):
        end = EndRecord.model_validate_json(store.get(names.end_path(job)))
    store.delete(names.secret_path(job, stored.fingerprint))
    return end
