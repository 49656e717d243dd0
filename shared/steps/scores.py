"""Read the outputs of a run's units: their summaries, and their scores as tracks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shared.contracts import Look, Plan, Profile, StoredRequest, Unit, UnitSummary
from shared.models import Track, from_npz, stitch_tracks
from shared.spotting import steady_board
from shared.storage import BlobStore, Records, paths


@dataclass(frozen=True)
class Scored:
    """A run whose fan-outs are over: everything that its cut needs."""

    stored: StoredRequest
    plan: Plan
    look: Look
    profile: Profile
    units: tuple[Unit, ...]
    """All units of both fan-outs; where the sweep failed, only the segments that replaced it."""
    summaries: Mapping[int, UnitSummary]
    """By unit, of the units that were scored."""
    failed: Mapping[int, str]
    """Unit -> error code, of the units that were given up."""
    tracks: Mapping[str, Track]
    """By model."""


def read_scored(records: Records, failed: Mapping[int, str]) -> Scored:
    """Read a run for its cut. failed: unit -> error code of the units that were given up.

    Raises the errors of Records and of storage.
    """
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
    """By model, its scores of these units as one track from window 0, NaN where no unit has any.

    A scoreboard's track is made steady over its whole length.
    """
    parts: dict[str, list[Track]] = defaultdict(list)
    for summary in summaries:
        for model, key in summary.scores.items():
            parts[model].append(from_npz(store.get(paths.score_path(key))))
    return {model: steady_board(stitch_tracks(tracks)) for model, tracks in sorted(parts.items())}
