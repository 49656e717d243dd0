"""What the activities share, and the two that plan, as plain functions of (settings, store, job) (floor 4).

Each is idempotent: its output lies under a path that its input determines, it looks there
before it works, and writes whole. Failures are MatchcutError; activities/ turns them into records.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from hashlib import sha256
from math import ceil
from typing import Literal

from shared import fan_out
from shared.contracts import (
    Choice,
    EndRecord,
    ErrorBody,
    JobRequest,
    Look,
    Plan,
    StageTiming,
    State,
    StoredRequest,
    Timeline,
    Unit,
    UnitSummary,
    VideoInfo,
)
from shared.errors import RecordUnreadable, VideoTooLong
from shared.models import Catalogue, Track, choose, from_npz, grid_of, stitch
from shared.plan import segments
from shared.settings import Settings
from shared.spotting import NOTHING, propose, settled
from shared.storage import (
    BlobStore,
    find_look,
    ledger,
    load_choice,
    load_plan,
    load_request,
    load_summary,
    paths,
    records,
    traffic,
)
from shared.video import (
    open_video,
    probe,
)


class Meter:
    """What a step has used since it began; one process runs one step at a time."""

    def __init__(self) -> None:
        self._cpu, self._wall, self._traffic = time.process_time(), time.monotonic(), traffic()

    def spent(self, bytes_read: int = 0) -> StageTiming:
        """bytes_read: of the video."""
        now = traffic()
        return StageTiming(
            cpu_s=time.process_time() - self._cpu,
            wall_s=time.monotonic() - self._wall,
            bytes_read=bytes_read,
            bytes_written=now.bytes_written - self._traffic.bytes_written,
            transactions=now.transactions - self._traffic.transactions,
        )


def load_tracks(store: BlobStore, summaries: Iterable[UnitSummary]) -> dict[str, Track]:
    """Each model's scores of these units, as one track from window 0; NaN where no unit has any. A
    scoreboard's score is settled over the whole of it."""
    parts: dict[str, list[Track]] = defaultdict(list)
    for summary in summaries:
        for model, key in summary.scores.items():
            parts[model].append(from_npz(store.get(paths.score_path(key))))
    return {model: settled(stitch(tracks)) for model, tracks in sorted(parts.items())}


# ---------------------------------------------------------------- what runs


# ---------------------------------------------------------------- plan


def run_plan(settings: Settings, store: BlobStore, job: str) -> Plan:
    """Look into the video and write plan.json.

    Raises VideoTooLong, UnknownModel, what probe raises, or what storage says.
    """
    if found := records.find(store, Plan, paths.plan_path(job)):
        return found
    stored = load_request(store, job)
    meter = Meter()
    choice = choose(Catalogue.of(settings), stored.request)
    reader = open_video(settings, store, stored)
    found_video = probe(reader, stored.etag, stored.length_bytes)
    info = found_video.info
    if info.planned_frames > settings.max_video_s * info.rate:
        lasts_s = float(info.planned_frames / info.rate)
        raise VideoTooLong(f"The video lasts {lasts_s:.0f} s; the limit is {settings.max_video_s} s.")
    # Without time stamps that hold there is no seeking, so nothing is looked at but everything.
    seeks = info.numbering == "pts"
    cascade = choice.cascade and seeks
    gathers = seeks and not cascade and info.audio_stream is not None and bool(choice.of(sound=True))
    if cascade:
        hears = None if info.audio_stream is not None else False
        swept = choice.of(swept=True, sound=hears)
        units = [Unit(index=0, kind="sweep", start_frame=0, end_frame=None, models=swept)]
    else:
        keys = found_video.key_frames
        units = _exhaustive(settings, stored.request, info, choice, keys, sound=not gathers)
    plan = Plan(
        job=job,
        video=info,
        profile=stored.request.profile,
        models=tuple(manifest.ref for manifest in choice.models.values()),
        cascade=cascade,
        gathers=gathers,
        sound=choice.of(sound=True),
        sources={name: manifest.source for name, manifest in choice.models.items() if manifest.source},
        units=tuple(units),
        spent=meter.spent(reader.bytes_read),
    )
    # First, so that where there is a plan there is its choice, and it is this one's.
    store.put(paths.choice_path(job), choice.model_dump_json().encode())
    store.put(paths.plan_path(job), plan.model_dump_json().encode())
    ledger.tell(store, stored, State.SCORING)
    if ended := records.find(store, EndRecord, paths.end_path(job)):  # cancelled meanwhile
        settle(store, stored, ended)
    return plan


def _exhaustive(
    settings: Settings,
    request: JobRequest,
    info: VideoInfo,
    choice: Choice,
    key_frames: Sequence[int],
    first: int = 0,
    sound: bool = True,
) -> list[Unit]:
    """Everything: the sound, if asked for, first, since it is the longest unit; then the segments of the
    picture."""
    kinds: list[tuple[Literal["audio", "video"], int, int | None, tuple[str, ...]]] = []
    if sound and info.audio_stream is not None and (hearing := choice.of(sound=True)):
        kinds.append(("audio", 0, None, hearing))
    # Without time stamps that hold there is no seeking: one segment, counted from the beginning.
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


# ---------------------------------------------------------------- look


def run_look(settings: Settings, store: BlobStore, job: str, failed: Collection[int]) -> Look:
    """Plan the second fan-out and write look.json; `failed` are the units of the first that were given up.

    After a sweep: the spans that it proposes, and those of the audit. A sweep that failed costs the
    cascade, not the job: all is scored then. After segments that gathered the sound: the sound.
    Raises what storage says.
    """
    if found := find_look(store, job):
        return found
    stored, plan = load_request(store, job), load_plan(store, job)
    info, proposals = plan.video, NOTHING
    cascade = plan.cascade and 0 not in failed
    seed = int.from_bytes(sha256(f"{info.etag}|{info.length_bytes}".encode()).digest()[:6], "big")
    units: list[Unit] = []
    meter = Meter()
    choice = load_choice(store, job)
    looks = choice.of(swept=False) if cascade else ()
    if looks:
        summary = load_summary(store, job, 0)
        proposals = propose(
            choice.profile,
            {name: grid_of(choice.root(name), info.rate) for name in looks},
            load_tracks(store, [summary]),
            Timeline(info.rate, 0 if summary.facts.last_frame is None else summary.facts.last_frame + 1),
            seed,
        )
        units += [
            Unit(
                index=index,
                kind="video",
                start_frame=span.start_frame,
                end_frame=span.end_frame,
                models=looks,
            )
            for index, span in enumerate(proposals.spans, len(plan.units))
        ]
    elif plan.cascade and not cascade:
        units += _exhaustive(settings, stored.request, info, choice, (), len(plan.units))
    elif plan.gathers:
        index = len(plan.units)
        units.append(Unit(index=index, kind="audio", start_frame=0, end_frame=None, models=plan.sound))
    look = Look(
        job=job,
        cascade=cascade,
        proposed_frames=proposals.proposed_frames,
        spans=proposals.spans,
        seed=seed,
        models=looks,
        units=tuple(units),
        spent=meter.spent(),
    )
    store.put(paths.look_path(job), look.model_dump_json().encode())
    return look


# ---------------------------------------------------------------- close


def close_job(
    store: BlobStore,
    job: str,
    state: State,
    error: ErrorBody | None = None,
    files: Sequence[str] = (),
) -> EndRecord:
    """Write the job's last word, once; forget its secret and its packets. A second call changes nothing."""
    stored = load_request(store, job)
    total, media_s = 0, 0.0
    with suppress(RecordUnreadable):  # a run ends even so, and tells of no progress
        if planned := records.find(store, Plan, paths.plan_path(job)):
            look = find_look(store, job)
            total = len(planned.units) + (len(look.units) if look else planned.gathers)
            media_s = float(planned.video.planned_frames / planned.video.rate)
    end = EndRecord(
        job=stored.job,
        state=state,
        files=tuple(files),
        error=error,
        total=total,
        media_s=media_s,
        wall_s=max(0.0, time.time() - datetime.fromisoformat(stored.created).timestamp()),
    )
    if not store.put_new(paths.end_path(job), end.model_dump_json().encode()):
        end = records.read(store, EndRecord, paths.end_path(job))
    store.delete(paths.secret_path(job, stored.fingerprint))
    for path in store.list(paths.packets_folder(job)):
        store.delete(path)
    settle(store, stored, end)
    return end


def settle(store: BlobStore, stored: StoredRequest, end: EndRecord) -> None:
    """What follows from a run's last word, in an order in which nothing is lost. May be repeated."""
    if stored.request.callback:
        store.put(paths.open_callback_path(stored.run), b"")
    ledger.settle(store, stored, end)
