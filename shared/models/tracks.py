"""Score tracks: one model's scores on its global grid. Pure."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float32]

Embeddings = npt.NDArray[np.float16]
"""float16 (n_windows, size), the precision in which embeddings are stored and heads read them."""


class Scored(NamedTuple):
    """A model's scores of n windows, float32 (n, n_classes) after the activation, and its embeddings."""

    scores: Scores
    embedding: Embeddings | None


@dataclass(frozen=True)
class Grid:
    """The places of a model's windows: window j's anchor is sample j * stride + anchor, at `rate` samples a
    second."""

    rate: Fraction
    window: int
    stride: int
    anchor: int

    def anchor_s(self, window: int) -> Fraction:
        """Seconds from the start of the timeline to the anchor of a window."""
        return Fraction(window * self.stride + self.anchor) / self.rate

    def first_window_at(self, time_s: Fraction) -> int:
        """Lowest window whose anchor is at or after time_s (never below 0)."""
        return max(0, ceil((time_s * self.rate - self.anchor) / self.stride))


@dataclass(frozen=True)
class Track:
    """Scores float32 (n_windows, n_classes) of the windows [first, first + n_windows); NaN rows are gaps.

    A track of embeddings has no labels, and scores float16 (n_windows, size).
    """

    grid: Grid
    labels: tuple[str, ...]
    first: int
    scores: npt.NDArray[Any]

    @property
    def end(self) -> int:
        """The number of the window after the last."""
        return self.first + len(self.scores)


def stitch_tracks(parts: Sequence[Track]) -> Track:
    """Join one model's parts into one track from window 0; windows that no part covers are NaN.

    Raises ValueError where two parts hold the same window, or differ in grid or labels.
    """
    grid, labels = parts[0].grid, parts[0].labels
    end = max(part.end for part in parts)
    scores = np.full((end, *parts[0].scores.shape[1:]), np.nan, parts[0].scores.dtype)
    taken = np.zeros(end, bool)
    for part in parts:
        if part.grid != grid or part.labels != labels:
            raise ValueError("tracks of different models cannot be joined")
        if taken[part.first : part.end].any():
            raise ValueError("two parts hold the same window")
        scores[part.first : part.end] = part.scores
        taken[part.first : part.end] = True
    return Track(grid, labels, 0, scores)


def to_npz(track: Track) -> bytes:
    """The track as a .npz archive. The same track gives the same bytes: numpy writes fixed dates into it."""
    out = io.BytesIO()
    np.savez(
        out,
        scores=track.scores,
        first=np.int64(track.first),
        labels=np.array(track.labels),
        grid=np.array(
            [
                track.grid.rate.numerator,
                track.grid.rate.denominator,
                track.grid.window,
                track.grid.stride,
                track.grid.anchor,
            ],
            np.int64,
        ),
    )
    return out.getvalue()


def from_npz(data: bytes) -> Track:
    """The track that to_npz wrote."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        num, den, window, stride, anchor = (int(x) for x in archive["grid"])
        return Track(
            grid=Grid(Fraction(num, den), window, stride, anchor),
            labels=tuple(str(label) for label in archive["labels"]),
            first=int(archive["first"]),
            scores=archive["scores"],
        )
