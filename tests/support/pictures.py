"""Pictures and models made up for the scorer's tests."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from models.export import Build, constant, parse, provenance, write
from shared.contracts import ModelManifest
from shared.models import Model, PictureScorer, Track
from shared.models.windows import Image


@lru_cache(maxsize=4096)
def image_of(frame: int, width: int, height: int, colour: str) -> Image:
    """What is seen at a frame: noise of its own, so that no two pictures score the same."""
    shape = (height, width) if colour == "gray" else (height, width, 3)
    return np.random.default_rng(frame).integers(0, 256, shape, np.uint8)


@dataclass
class Shown:
    """A picture that counts how often it is converted."""

    frame: int
    conversions: list[int] = field(default_factory=list)
    key: bool = True

    def image(
        self,
        width: int,
        height: int,
        colour: Literal["rgb", "bgr", "gray"],
        fit: Literal["stretch", "letterbox"],
    ) -> Image:
        self.conversions.append(self.frame)
        return image_of(self.frame, width, height, colour)


def clip_model(folder: Path, **changes: Any) -> ModelManifest:
    """Writes a small clip model: float32 gray pictures, normalised, through two dense layers.

    Each row of a batch has a bias of its own: what a kernel's rounding may do, made plain to see.
    """
    manifest: dict[str, Any] = {
        "name": "tiny-clip",
        "version": "1.0.0",
        "kind": "clip",
        "rate": "5/1",
        "window": 8,
        "stride": 3,
        "anchor": 4,
        "batch": 4,
        "input": {
            "name": "clip",
            "layout": "NTCHW",
            "width": 6,
            "height": 4,
            "colour": "gray",
            "mean": [127.5],
            "std": [64.0],
        },
        "output": {"name": "logits", "labels": ["a", "b", "c"], "activation": "softmax"},
        "provenance": provenance("made up for a test"),
    } | changes
    window = manifest["window"]
    random = np.random.default_rng(7)
    graph = parse(
        f"""
        tiny (float[{manifest["batch"]}, {window}, 1, 4, 6] clip)
          => (float[{manifest["batch"]}, 3] logits, float[{manifest["batch"]}, 50] positive) {{
          row = Reshape (clip, flat)
          hidden = MatMul (row, first)
          shifted = Add (hidden, row_shift)
          positive = Relu (shifted)
          summed = MatMul (positive, last)
          logits = Add (summed, row_bias)
        }}""",
        {
            "row_shift": constant(np.arange(manifest["batch"])[:, None] * np.linspace(0, 0.1, 50)),
            "row_bias": constant(np.arange(manifest["batch"])[:, None] * [0.1, 0, -0.1]),
            "flat": np.array([0, -1], np.int64),
            "first": constant(random.standard_normal((window * 24, 50)) / 10),
            "last": constant(random.standard_normal((50, 3)) / 10),
        },
    )
    sample = random.standard_normal((manifest["batch"], window, 1, 4, 6)).astype(np.float32)
    return write(Build(graph, manifest, sample), folder)


def head_model(folder: Path, **changes: Any) -> ModelManifest:
    """Writes a small head on tiny-clip's embedding, with a bias of its own for each row of a batch of 4."""
    manifest: dict[str, Any] = {
        "name": "tiny-head",
        "version": "1.0.0",
        "kind": "head",
        "source": "tiny-clip",
        "rate": "source",
        "window": 1,
        "stride": 1,
        "anchor": 0,
        "batch": 4,
        "input": {"name": "embedding", "layout": "NE"},
        "output": {"name": "logits", "labels": ["yes", "no"], "activation": "softmax"},
        "provenance": provenance("made up for a test"),
    } | changes
    random = np.random.default_rng(8)
    graph = parse(
        """
        head (float[4, 50] embedding) => (float[4, 2] logits) {
          summed = MatMul (embedding, weights)
          logits = Add (summed, row_bias)
        }""",
        {
            "weights": constant(random.standard_normal((50, 2)) / 5),
            "row_bias": constant(np.arange(4)[:, None] * [0.1, -0.1]),
        },
    )
    sample = random.standard_normal((4, 50)).astype(np.float16).astype(np.float32)
    return write(Build(graph, manifest, sample), folder)


def score_segment(
    model: Model,
    rate: Fraction,
    frames: list[int],
    start: int,
    end: int | None,
    keys: Collection[int] | None = None,
) -> tuple[Track, list[Shown]]:
    """Pushes what the scorer says it needs and nothing else, as a decoder would: one that begins at a
    key frame, where `keys` says which frames are."""
    scorer, pushed = feed(model, rate, frames, start, end, keys)
    return scorer[0], pushed


def feed(
    model: Model,
    rate: Fraction,
    frames: list[int],
    start: int,
    end: int | None,
    keys: Collection[int] | None = None,
) -> tuple[tuple[Track, Track | None], list[Shown]]:
    """((scores, embedding), pictures pushed): see score_segment."""
    scorer = PictureScorer(model, rate, start, end)
    places = frames if keys is None else [frame for frame in frames if frame in keys]
    begin = max([frame for frame in places if frame <= scorer.first_needed], default=frames[0])
    pushed = []
    last = None
    for frame in frames:
        if frame < begin:
            continue
        pushed.append(Shown(frame, key=keys is None or frame in keys))
        scorer.push(pushed[-1])
        if scorer.end_needed is not None and frame >= scorer.end_needed:
            break
    else:
        last = frames[-1]
    track = scorer.finish(last)
    return (track, scorer.embedding), pushed
