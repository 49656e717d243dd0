"""Provisional events: those of a job that still runs, from the units scored so far."""

from __future__ import annotations

from functools import lru_cache

from shared.contracts import Event, JobEvents, Result, StoredRequest
from shared.spotting import Basis, spot
from shared.steps import load_tracks
from shared.storage import BlobStore, Records, paths, records


def events_so_far(store: BlobStore, stored: StoredRequest, after: int = 0) -> JobEvents:
    """The events known now, the highest confidence first; none where the revision is not above `after`.

    While the job runs they are provisional: later units may raise an event's confidence, move the event, or
    remove it. A job that ended without a result has no events.
    """
    end = Records(store, stored.run).find_end()
    if end is not None:
        path = paths.file_path(stored.run, "result.json")
        revision = end.total + 1
        found = records.read(store, Result, path).events if "result.json" in end.files else ()
    else:
        summaries = list(store.list(paths.summaries_path(stored.run)))
        units = tuple(sorted(int(path.rpartition("/")[2].removesuffix(".json")) for path in summaries))
        revision = len(units)
        found = _spotted(store, stored.run, units) if revision > after else ()
    changed = revision > after
    ranked = sorted(found, key=lambda event: (-event.confidence, event.anchor_frame, event.label))
    return JobEvents(
        id=stored.job,
        provisional=end is None,
        revision=revision,
        changed=changed,
        events=tuple(ranked) if changed else (),
    )


@lru_cache(maxsize=64)
def _spotted(store: BlobStore, run: str, units: tuple[int, ...]) -> tuple[Event, ...]:
    """The events of these units, ascending. Remembered, since many callers may ask about the same job and
    scored units never change."""
    if not units:
        return ()
    run_records = Records(store, run)
    plan, choice, look = run_records.plan, run_records.choice, run_records.find_look()
    tracks = load_tracks(store, [run_records.summary(unit) for unit in units])
    looked, looks = None, choice.of(swept=False)
    if plan.cascade and (look is None or look.cascade):
        first = len(plan.units)
        looked = [look.spans[unit - first] for unit in units if unit >= first] if look else []
    thresholds = run_records.request.request.cut.thresholds
    return spot(Basis(choice.profile, tracks, plan.video.planned, thresholds), looked, looks)
