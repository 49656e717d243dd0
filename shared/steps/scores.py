"""Read what the units of a run have left: their summaries, and their scores as tracks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shared.contracts import Look, Plan, Profile, StoredRequest, Unit, UnitSummary
from shared.models import Track, from_npz, stitch_tracks
from shared.spotting import settled
from shared.storage import BlobStore, Records, paths


@dataclass(frozen=True)
class Scored:
    """A run whose fan-outs are over: all that its cut is made of."""

    stored: StoredRequest
    plan: Plan
    look: Look
    profile: Profile
    units: tuple[Unit, ...]
    """What was to be scored, in both fan-outs; where a sweep failed, the segments that took its place."""
    summaries: Mapping[int, UnitSummary]
    """By unit; of those that were scored."""
    failed: Mapping[int, str]
    """Unit -> error code, of those that were given up."""
    tracks: Mapping[str, Track]
    """By model."""


def read_scored(records: Records, failed: Mapping[int, str]) -> Scored:
    """failed: unit -> error code of the units that were given up. Raises what Records and storage raise."""
    plan, look = records.plan, records.look
    units = look.units if plan.cascade and not look.cascade else plan.units + look.units
    summaries = {unit.index: records.summary(unit.index) for unit in units if unit.index not in failed}
    return Scored(
        stored=records.request,
        plan=plan,
        look=look,
        profile=records.choice.profile,
        units=units,
        summaries=summaries,
        failed=failed,
        tracks=load_tracks(records.store, summaries.values()),
    )


def load_tracks(store: BlobStore, summaries: Iterable[UnitSummary]) -> dict[str, Track]:
    """Each model's scores of these units, as one track from window 0; NaN where no unit has any. A
    scoreboard's score is settled over the whole of it."""
    parts: dict[str, list[Track]] = defaultdict(list)
    for summary in summaries:
        for model, key in summary.scores.items():
            parts[model].append(from_npz(store.get(paths.score_path(key))))
    return {model: settled(stitch_tracks(tracks)) for model, tracks in sorted(parts.items())}
