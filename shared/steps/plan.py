"""The step that probes the video and plans the first fan-out."""

from __future__ import annotations

from shared.contracts import Plan, State, Unit
from shared.errors import VideoTooLong
from shared.models import Catalogue, choose_models
from shared.settings import Settings
from shared.steps._cost import Meter
from shared.steps.close import settle_run
from shared.steps.segments import plan_exhaustive
from shared.storage import Records, ledger
from shared.video import open_video, probe


def run_plan(settings: Settings, records: Records) -> Plan:
    """Probe the video; write choice.json and plan.json.

    Raises VideoTooLong, UnknownModel, ModelRefused, and the errors of probe and of storage.
    """
    if found := records.find_plan():
        return found
    stored, store = records.request, records.store
    meter = Meter()
    choice = choose_models(Catalogue.of(settings), stored.request)
    reader = open_video(settings, store, stored)
    found_video = probe(reader, stored.etag, stored.length_bytes)
    info = found_video.info
    if info.planned_frames > settings.max_video_s * info.rate:
        lasts_s = float(info.planned.duration_s)
        raise VideoTooLong(f"The video lasts {lasts_s:.0f} s; the limit is {settings.max_video_s} s.")
    # Without reliable time stamps there is no seeking, so a cascade cannot look at single spans.
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
        job=records.run,
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
    # The choice first, so that every plan has the choice that it was made from.
    records.write_choice(choice)
    records.write_plan(plan)
    ledger.note_state(store, stored, State.SCORING)
    if ended := records.find_end():  # cancelled meanwhile
        settle_run(store, stored, ended)
    return plan
