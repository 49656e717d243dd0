"""The interface of a model, whatever engine runs it."""

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
    """Scores windows. A window's scores depend on nothing but the window and its number."""

    @property
    def manifest(self) -> ModelManifest:
        """The model's manifest, which the engine has checked against the model itself."""

    def grid(self, rate: Fraction) -> Grid:
        """The grid of its windows on a timeline of `rate` frames per second. Raises ValueError for a head."""

    def see(self, windows: Windows, first: int = 0) -> Scored:
        """Scores and embeddings of consecutive windows, the first of them number `first` on the global grid.

        `windows`: uint8 (n, window, height, width, channels), or without the last axis for gray;
        float32 (n, window) for audio, (n, size) for a head. Raises ModelRefused where it cannot score them.
        """

    def score(self, windows: Windows, first: int = 0) -> Scores:
        """The scores that `see` gives, without the embeddings: float32 (n, n_classes)."""

    def run(self, tensor: npt.NDArray[Any]) -> Scores:
        """Scores float32 (n, n_classes) of one batch in the shape of the golden sample's input."""


def grid_of(manifest: ModelManifest, rate: Fraction) -> Grid:
    """The grid of a model's windows. `rate`: frames per second of the timeline; only "native" models use it.

    Raises ValueError for a head, whose windows are those of its source.
    """
    own = manifest.rate
    if own == "source":
        raise ValueError(f"{manifest.name} has the grid of {manifest.source}")
    return Grid(rate if own == "native" else own, manifest.window, manifest.stride, manifest.anchor)


def join_scored(parts: Sequence[Scored], manifest: ModelManifest) -> Scored:
    """The parts one after the other; without parts, arrays of no windows."""
    no_scores = np.empty((0, len(manifest.output.labels)), np.float32)
    scores = np.concatenate([no_scores, *(part.scores for part in parts)])
    if manifest.embedding is None:
        return Scored(scores, None)
    no_embeddings = np.empty((0, manifest.embedding.size), np.float16)
    embeddings = [part.embedding for part in parts if part.embedding is not None]
    return Scored(scores, np.concatenate([no_embeddings, *embeddings]))
