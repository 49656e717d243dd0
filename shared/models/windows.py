"""Decoded pictures and sound -> score tracks on the global grid.

On a timeline of R frames per second, sample k of a model with rate r is the picture on screen at timeline
frame floor(k * R / r): the last decoded picture whose number is not above it. This also defines samples at
a variable rate and in holes. Sample k exists where that frame is not after the last decoded one; a
window exists where all its samples do.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from shared.models.model import Model, Windows, join_scored
from shared.models.tracks import Grid, Scored, Track

Image = npt.NDArray[np.uint8]


class Picture(Protocol):
    """One decoded frame."""

    @property
    def frame(self) -> int:
        """Its number on the timeline."""

    @property
    def key(self) -> bool:
        """Whether it is a key frame."""

    def image(
        self,
        width: int,
        height: int,
        colour: Literal["rgb", "bgr", "gray"],
        fit: Literal["stretch", "letterbox"],
    ) -> Image:
        """Upright and resized by area: uint8 (height, width, 3), or (height, width) for gray."""


class PictureScorer:
    """Scores the windows of one segment: those whose anchor's frame lies in [start_frame, end_frame).

    Push pictures in order, beginning with the one on screen at `first_needed` (earlier ones do no harm).
    Stop after a picture with a number of at least `end_needed`, or at the video's end; then finish. Only
    pictures that become a sample are converted, each once. Memory: one batch of windows.

    A model of key frames sees the last key frame in place of the picture on screen. It scores each key frame
    once, however many samples show it.
    """

    first_needed: int
    """The timeline frame whose picture on screen is the first that is needed."""
    end_needed: int | None
    """After a picture with this number or a higher one, no more are needed; None: push to the video's end."""
    embedding: Track | None = None
    """Embeddings of the same windows, after finish(); None where the model has none."""

    def __init__(self, model: Model, rate: Fraction, start_frame: int, end_frame: int | None) -> None:
        """`rate`: frames per second of the timeline; end_frame None: to the end of the video."""
        self._spec = model.manifest
        self._grid = model.grid(rate)
        # floor(anchor) lies in [start, end) exactly where anchor does, since start and end are whole numbers.
        self._first = self._grid.first_window_at(start_frame / rate)
        self._end = None if end_frame is None else self._grid.first_window_at(end_frame / rate)
        frames_per_sample = rate / self._grid.rate
        self._step = (frames_per_sample.numerator, frames_per_sample.denominator)
        self._next = self._first * self._spec.stride
        if self._end is None:
            self._end_sample = None
        elif self._end > self._first:
            self._end_sample = (self._end - 1) * self._spec.stride + self._spec.window
        else:
            self._end_sample = self._next
        self.first_needed = self._frame_of(self._next)
        self.end_needed = None if self._end_sample is None else self._frame_of(self._end_sample - 1) + 1
        self._window = self._first
        self._samples: dict[int, Image | None] = {}
        self._held: Picture | None = None
        self._held_image: Image | None = None
        self._scored: Picture | None = None
        self._batcher = _Batcher(model, self._first)

    def push(self, picture: Picture) -> None:
        """Take the next picture. Of two pictures with the same number the second counts.

        Raises ValueError where its number is below the last one's, ModelRefused for a score that is not
        finite.
        """
        if self._held is not None and picture.frame < self._held.frame:
            raise ValueError(f"picture {picture.frame} came after picture {self._held.frame}")
        self._take(picture.frame)
        if picture.key or self._spec.pictures == "all":
            self._held, self._held_image = picture, None

    def finish(self, last_frame: int | None) -> Track:
        """The track of the windows that this segment owns.

        `last_frame`: the highest timeline frame decoded, where decoding reached the video's end; else None.
        A track without windows starts at 0, so that it makes no stitched track longer. A row is NaN where the
        picture on screen was never pushed.
        """
        if last_frame is not None:
            self._take(last_frame + 1)
        scored = self._batcher.finish()
        track, self.embedding = _tracks(self._grid, self._spec.output.labels, self._first, scored)
        return track

    def _frame_of(self, sample: int) -> int:
        return sample * self._step[0] // self._step[1]

    def _take(self, before: int) -> None:
        """Give the held picture to every sample that lies before the timeline frame `before`."""
        stride, window, end = self._spec.stride, self._spec.window, self._end_sample
        while (end is None or self._next < end) and self._frame_of(self._next) < before:
            if self._next % stride < window:  # else it lies between two windows
                self._samples[self._next] = self._image()
                self._emit()
            self._next += 1

    def _emit(self) -> None:
        start = self._window * self._spec.stride
        if self._next < start + self._spec.window - 1:
            return
        window = [self._samples[sample] for sample in range(start, start + self._spec.window)]
        complete = [image for image in window if image is not None]
        if self._spec.pictures == "key" and self._held is not None and self._held is self._scored:
            self._batcher.repeat()
        else:
            self._batcher.add(np.stack(complete) if len(complete) == len(window) else None)
        self._scored = self._held
        self._window += 1
        for sample in range(start, start + min(self._spec.stride, self._spec.window)):
            del self._samples[sample]

    def _image(self) -> Image | None:
        if self._held_image is None and self._held is not None:
            spec = self._spec.input
            assert spec.width is not None  # the contract guarantees all three
            assert spec.height is not None
            assert spec.colour is not None
            self._held_image = self._held.image(spec.width, spec.height, spec.colour, spec.fit)
        return self._held_image


class AudioScorer:
    """Scores the whole sound, pushed in chunks of any length. Memory: one batch and one overlap."""

    embedding: Track | None = None
    """Embeddings of the same windows, after finish(); None where the model has none."""

    def __init__(self, model: Model) -> None:
        self._spec = model.manifest
        self._grid = model.grid(Fraction(1))
        self._batcher = _Batcher(model, 0)
        self._rest = np.empty(0, np.float32)
        self._skip = 0

    def push(self, samples: npt.NDArray[np.float32]) -> None:
        """Take the next chunk: mono float32 (n,) at the manifest's rate, from sample 0 on without a break.

        The nominal range is [-1, 1]. Values beyond it are clipped; NaN and infinity, which broken float
        streams hold, become silence. Raises ModelRefused for a score that is not finite.
        """
        samples = np.where(np.isfinite(samples), samples, np.float32(0)).clip(-1, 1)
        buffer = np.concatenate([self._rest, samples[self._skip :]])
        self._skip = max(0, self._skip - len(samples))
        start = 0
        while start + self._spec.window <= len(buffer):
            self._batcher.add(buffer[start : start + self._spec.window])
            start += self._spec.stride
        self._skip += max(0, start - len(buffer))  # a stride longer than the window
        self._rest = buffer[start:].copy()

    def finish(self) -> Track:
        """The track of all complete windows; samples left over at the end belong to none."""
        scored = self._batcher.finish()
        track, self.embedding = _tracks(self._grid, self._spec.output.labels, 0, scored)
        return track


def score_head(model: Model, embedding: Track) -> Track:
    """A head's scores of each window of its source. `embedding`: the source's track; NaN rows stay NaN.

    Raises ModelRefused where the head does not take embeddings of this size, or gives a score that is not
    finite.
    """
    values = embedding.scores.astype(np.float32)
    known = np.asarray(np.isfinite(values).all(axis=1))
    scores = model.score(np.where(known[:, None], values, 0), embedding.first)
    scores[~known] = np.nan
    return Track(embedding.grid, model.manifest.output.labels, embedding.first, scores)


def _tracks(grid: Grid, labels: tuple[str, ...], first: int, scored: Scored) -> tuple[Track, Track | None]:
    """(scores, embedding). A track without windows starts at 0, so that it makes no stitched track longer."""
    first = first if len(scored.scores) else 0
    embedding = None if scored.embedding is None else Track(grid, (), first, scored.embedding)
    return Track(grid, labels, first, scored.scores), embedding


class _Batcher:
    """Collects consecutive windows into batches that begin at multiples of the batch size."""

    def __init__(self, model: Model, first: int) -> None:
        self._model = model
        self._first = first
        self._windows: list[Windows | None] = []
        self._scored: list[Scored] = []

    def add(self, window: Windows | None) -> None:
        """Take the next window. None is a window that cannot be scored: its row is NaN."""
        self._windows.append(window)
        if (self._first + len(self._windows)) % self._model.manifest.batch == 0:
            self._flush()

    def repeat(self) -> None:
        """Score another window like the one before, for a model with batches of one."""
        self._scored.append(self._scored[-1])
        self._first += 1

    def finish(self) -> Scored:
        self._flush()
        return join_scored(self._scored, self._model.manifest)

    def _flush(self) -> None:
        if not self._windows:
            return
        known = np.array([window is not None for window in self._windows])
        filled = [window for window in self._windows if window is not None]
        if filled:
            empty = np.zeros_like(filled[0])
            batch = np.stack([empty if window is None else window for window in self._windows])
            scored = self._model.see(batch, self._first)
        else:
            scored = _unknown(self._model, len(known))
        for values in scored:
            if values is not None:
                values[~known] = np.nan
        self._scored.append(scored)
        self._first += len(known)
        self._windows = []


def _unknown(model: Model, windows: int) -> Scored:
    spec = model.manifest
    scores = np.full((windows, len(spec.output.labels)), np.nan, np.float32)
    size = spec.embedding and spec.embedding.size
    return Scored(scores, np.full((windows, size), np.nan, np.float16) if size else None)
