"""pitch-share: the share of the picture that is grass.

Two steps, after the dominant colour of Ekin, Tekalp & Mehrotra (2003). First, the pixels whose hue,
saturation and value could be grass give the mean hue of this picture's grass. Then, those of them near that
hue are the pitch. So turf from yellowish to bluish green is found without a setting, while green shirts,
seats and boards of another hue are left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from models.export import Array, Build, constant, integers, parse, provenance
from shared.models import REFERENCE

NAME = "pitch-share"
WIDTH, HEIGHT = 96, 54
BATCH = 1
"""1, as in all models of key frames."""
HUE_LOW, HUE_HIGH = 62.0, 160.0
"""Degrees. Turf lies at 70 to 110 in the footage that was tried."""
SATURATION, VALUE_LOW, VALUE_HIGH = 0.17, 0.12, 0.97
NEAR = 22.0
"""Degrees from the mean hue."""
GOLDEN = (3 / 11, 8 / 11)
"""The middle part of a 3:5:3 division, of width and of height: a close-up shows its player there."""


def build() -> Build:
    """The graph, its manifest and a golden batch."""
    return Build(_graph(), _manifest(), _sample())


def _constants() -> dict[str, Array]:
    top, bottom = (round(HEIGHT * part) for part in GOLDEN)
    left, right = (round(WIDTH * part) for part in GOLDEN)
    whole = np.full((HEIGHT, WIDTH), 1.0)
    lower = np.where(np.arange(HEIGHT)[:, None] >= HEIGHT // 2, whole, 0)
    centre = np.zeros_like(whole)
    centre[top:bottom, left:right] = 1
    areas = np.stack([area.ravel() / area.sum() for area in (whole, lower, centre)], axis=1)
    return {
        # Where green is the largest, hue = 120 + 60 * (blue - red) / (largest - smallest).
        "hue_low": constant((HUE_LOW - 120) / 60),
        "hue_high": constant((HUE_HIGH - 120) / 60),
        "near": constant(NEAR / 60),
        "saturation": constant(SATURATION),
        "value_low": constant(VALUE_LOW * 255),
        "value_high": constant(VALUE_HIGH * 255),
        "areas": constant(areas),
        "tiny": constant(1e-3),
        "zero": integers(0),
        "one": integers(1),
        "two": integers(2),
        "three": integers(3),
        "channel_axis": integers(1),
        "flat": integers(0, -1),
        "pixel_axes": integers(1, 2, 3),
    }


def _graph() -> onnx.ModelProto:
    return parse(
        f"""
        pitch_share (uint8[N, 3, {HEIGHT}, {WIDTH}] frames) => (float[N, 3] scores) {{
          rgb = Cast <to=1> (frames)
          red = Slice (rgb, zero, one, channel_axis)
          green = Slice (rgb, one, two, channel_axis)
          blue = Slice (rgb, two, three, channel_axis)
          largest = ReduceMax <axes=[1]> (rgb)
          smallest = ReduceMin <axes=[1]> (rgb)
          chroma = Sub (largest, smallest)
          chroma_more = Add (chroma, tiny)
          blue_red = Sub (blue, red)
          hue = Div (blue_red, chroma_more)
          least_chroma = Mul (largest, saturation)

          is_green = GreaterOrEqual (green, largest)
          is_not_yellow = GreaterOrEqual (hue, hue_low)
          is_not_cyan = LessOrEqual (hue, hue_high)
          is_coloured = GreaterOrEqual (chroma, least_chroma)
          is_lit = GreaterOrEqual (largest, value_low)
          is_not_glare = LessOrEqual (largest, value_high)
          c1 = And (is_green, is_not_yellow)
          c2 = And (is_not_cyan, is_coloured)
          c3 = And (is_lit, is_not_glare)
          c4 = And (c1, c2)
          candidate = And (c3, c4)
          weight = Cast <to=1> (candidate)

          weighed_hue = Mul (hue, weight)
          hue_sum = ReduceSum (weighed_hue, pixel_axes)
          count = ReduceSum (weight, pixel_axes)
          count_more = Add (count, tiny)
          mean_hue = Div (hue_sum, count_more)
          offset = Sub (hue, mean_hue)
          distance = Abs (offset)
          is_near = LessOrEqual (distance, near)
          grass = And (candidate, is_near)
          grass_number = Cast <to=1> (grass)
          grass_row = Reshape (grass_number, flat)
          scores = MatMul (grass_row, areas)
        }}""",
        _constants(),
    )


def _sample() -> Array:
    """Coloured squares above grass: uint8 (BATCH, 3, HEIGHT, WIDTH)."""
    random = np.random.default_rng(3)
    sample = random.integers(0, 256, (BATCH, 3, 9, 16), np.uint8).repeat(6, axis=2).repeat(6, axis=3)
    grass = np.reshape([68, 120, 51], (3, 1, 1))
    sample[:, :, HEIGHT // 3 :] = grass + random.integers(-8, 9, (3, HEIGHT - HEIGHT // 3, 1))
    return sample


def _manifest() -> dict[str, Any]:
    return {
        "name": NAME,
        "version": "1.1.0",
        "kind": "frame",
        "pictures": "key",
        "rate": "2/1",
        "window": 1,
        "stride": 1,
        "anchor": 0,
        "batch": BATCH,
        "input": {
            "name": "frames",
            "dtype": "uint8",
            "layout": "NCHW",
            "width": WIDTH,
            "height": HEIGHT,
            "colour": "rgb",
        },
        "output": {"name": "scores", "labels": ["pitch", "pitch_lower", "pitch_centre"]},
        "reference": REFERENCE,
        "provenance": provenance(
            "Ekin, Tekalp & Mehrotra, 'Automatic soccer video analysis and summarization', "
            "IEEE Trans. Image Processing 12(7), 2003: dominant colour, and the 3:5:3 division."
        ),
    }
