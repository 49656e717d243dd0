"""Read the score tracks that the units of a job have left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from shared.contracts import (
    UnitSummary,
)
from shared.models import Track, from_npz, stitch
from shared.spotting import settled
from shared.storage import (
    BlobStore,
    paths,
)


def load_tracks(store: BlobStore, summaries: Iterable[UnitSummary]) -> dict[str, Track]:
    """Each model's scores of these units, as one track from window 0; NaN where no unit has any. A
    scoreboard's score is settled over the whole of it."""
    parts: dict[str, list[Track]] = defaultdict(list)
    for summary in summaries:
        for model, key in summary.scores.items():
            parts[model].append(from_npz(store.get(paths.score_path(key))))
    return {model: settled(stitch(tracks)) for model, tracks in sorted(parts.items())}
