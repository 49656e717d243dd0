"""The step that plans the second fan-out."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256

from shared.contracts import Look, Timeline, Unit
from shared.models import grid_of
from shared.settings import Settings
from shared.spotting import NOTHING, propose_spans
from shared.steps._cost import Meter
from shared.steps.scores import load_tracks
from shared.steps.segments import plan_exhaustive
from shared.storage import Records


def run_look(settings: Settings, records: Records, failed: Collection[int]) -> Look:
    """Plan the second fan-out and write look.json. `failed`: units of the first fan-out that were given up.

    - After a sweep: units for the spans that the sweep proposes, and for those of the audit.
    - After a sweep that failed: the units of an exhaustive job.
    - After segments that gathered the sound: one unit for the sound.

    Raises storage's errors.
    """
    if found := records.find_look():
        return found
    plan, choice = records.plan, records.choice
    info, proposals = plan.video, NOTHING
    cascade = plan.cascade and 0 not in failed
    seed = int.from_bytes(sha256(f"{info.etag}|{info.length_bytes}".encode()).digest()[:6], "big")
    units: list[Unit] = []
    meter = Meter()
    looks = choice.of(swept=False) if cascade else ()
    if looks:
        summary = records.summary(0)
        proposals = propose_spans(
            choice.profile,
            {name: grid_of(choice.root(name), info.rate) for name in looks},
            load_tracks(records.store, [summary]),
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
        units += plan_exhaustive(settings, records.request.request, info, choice, (), len(plan.units))
    elif plan.gathers:
        index = len(plan.units)
        units.append(Unit(index=index, kind="audio", start_frame=0, end_frame=None, models=plan.sound))
    look = Look(
        job=records.run,
        cascade=cascade,
        proposed_frames=proposals.proposed_frames,
        spans=proposals.spans,
        seed=seed,
        models=looks,
        units=tuple(units),
        spent=meter.spent(),
    )
    records.write_look(look)
    return look
