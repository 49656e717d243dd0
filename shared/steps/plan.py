"""What the activities share, and the two that plan, as plain functions of (settings, store, job).

Each is idempotent: its output lies under a path that its input determines, it looks there
before it works, and writes whole. Failures are MatchcutError; activities/ turns them into records.
"""

from __future__ import annotations

from shared.contracts import (
    EndRecord,
    Plan,
    State,
    Unit,
)
from shared.errors import VideoTooLong
from shared.models import Catalogue, choose
from shared.settings import Settings
from shared.steps._cost import Meter
from shared.steps.close import settle
from shared.steps.segments import plan_exhaustive
from shared.storage import (
    BlobStore,
    ledger,
    load_request,
    paths,
    records,
)
from shared.video import (
    open_video,
    probe,
)

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
        units = plan_exhaustive(settings, stored.request, info, choice, keys, sound=not gathers)
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


# ---------------------------------------------------------------- look


# ---------------------------------------------------------------- close
