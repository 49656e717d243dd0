"""What every model is to the service, whatever runs it."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from shared.contracts import ModelManifest
from shared.models.tracks import Grid, Scored, Scores

Windows = npt.NDArray[Any]
"""uint8 pictures or float32 sound."""


class Model(Protocol):
    """What scores windows, whatever engine runs it. A window's scores depend on nothing but the window and
    its number."""

    @property
    def manifest(self) -> ModelManifest:
        """What the model said of itself; it was held against what the engine found."""

    def grid(self, rate: Fraction) -> Grid:
        """Where its windows lie on a timeline of `rate` frames per second. Raises ValueError for a head."""

    def see(self, windows: Windows, first: int = 0) -> Scored:
        """Scores and embeddings of consecutive windows, the first of them number `first` on the global grid.

        `windows`: uint8 (n, window, height, width, channels), or without the last axis for gray;
        float32 (n, window) for audio, (n, size) for a head. Raises ModelRefused where it cannot score them.
        """

    def score(self, windows: Windows, first: int = 0) -> Scores:
        """Scores alone of what `see` sees."""

    def run(self, tensor: npt.NDArray[Any]) -> Scores:
        """Scores of one batch as the golden sample holds it."""


def grid_of(manifest: ModelManifest, rate: Fraction) -> Grid:
    """Where the windows lie on a timeline of `rate` frames per second (used by "native" models).

    Raises ValueError for a head, whose windows are those of its source.
    """
    own = manifest.rate
    if own == "source":
        raise ValueError(f"{manifest.name} has the grid of {manifest.source}")
    return Grid(rate if own == "native" else own, manifest.window, manifest.stride, manifest.anchor)


def join(parts: Sequence[Scored], manifest: ModelManifest) -> Scored:
    """One after the other; none give arrays of no windows."""
    none = np.empty((0, len(manifest.output.labels)), np.float32)
    scores = np.concatenate([none, *(part.scores for part in parts)])
    if manifest.embedding is None:
        return Scored(scores, None)
    nothing = np.empty((0, manifest.embedding.size), np.float16)
    kept = [part.embedding for part in parts if part.embedding is not None]
    return Scored(scores, np.concatenate([nothing, *kept]))
