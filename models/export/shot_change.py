"""shot-change: how likely the second picture of a pair begins a new shot.

The score is a logistic of the logarithms of two distances, so it acts on their product: a flash changes the
colours but not the structure, a running player the structure but not the colours.

- Colour: half the L1 distance of soft histograms of Cb and Cr, with a little weight on luma. Triangular bins
  are the second difference of the mean of max(0, x - knot), so one 1x1 convolution with ReLU makes all bins.
- Structure: luma is normalised to mean 0 and deviation 1, so gain and offset drop out. Each block of the
  first picture is then compared with the second picture at every shift up to REACH_X, REACH_Y; the least mean
  absolute difference counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from models.export import Array, Build, constant, integers, parse, provenance
from shared.models import REFERENCE

NAME = "shot-change"
WIDTH, HEIGHT = 32, 18
BATCH = 16
LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601, and so are the two colour differences."""
CHROMA = ((-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
LUMA_BINS, CHROMA_BINS = 16, 12
CHROMA_SPAN = 0.3
"""Colour differences of footage lie in +-0.3 of the possible +-0.5."""
REACH_X, REACH_Y = 3, 2
"""Farthest shift of a block, in pixels: 9 % of the width, 11 % of the height."""
LUMA_SHARE = 0.25
"""Weight of luma in the colour distance: little, since flashes change luma, but enough for grey footage."""
WEIGHTS, BIAS = (2.3, 7.7), 9.8
"""Fitted by logistic regression, then rounded; CARD.md names the footage."""


def _histogram(direction: tuple[float, ...], low: float, high: float, bins: int) -> list[Array]:
    """Weights (bins + 2, 3) and biases of the ramps, and the (bins + 2, bins) second differences."""
    width = (high - low) / (bins - 1)
    knots = low + width * (np.arange(bins + 2) - 1)
    second = np.zeros((bins + 2, bins))
    for k in range(bins):
        second[k : k + 3, k] = np.array([1.0, -2.0, 1.0]) / width
    return [np.tile(direction, (bins + 2, 1)), -knots, second]


def build() -> Build:
    """The graph, its manifest and a golden batch."""
    return Build(_graph(), _manifest(), _sample())


def _constants() -> dict[str, Array]:
    parts = [
        _histogram(LUMA, 0.0, 1.0, LUMA_BINS),
        *(_histogram(direction, -CHROMA_SPAN, CHROMA_SPAN, CHROMA_BINS) for direction in CHROMA),
    ]
    knots = sum(len(part[0]) for part in parts)
    bins = LUMA_BINS + 2 * CHROMA_BINS
    second, share = np.zeros((knots, bins)), np.zeros((bins, 1))
    row = column = 0
    for index, (_, _, part) in enumerate(parts):
        second[row : row + part.shape[0], column : column + part.shape[1]] = part
        share[column : column + part.shape[1]] = LUMA_SHARE / 2 if index == 0 else 1 / 4
        row, column = row + part.shape[0], column + part.shape[1]
    shifts_x, shifts_y = 2 * REACH_X + 1, 2 * REACH_Y + 1
    return {
        "ramp_weight": constant(np.concatenate([part[0] for part in parts]).reshape(knots, 3, 1, 1) / 255),
        "ramp_bias": constant(np.concatenate([part[1] for part in parts])),
        "second_difference": constant(second),
        "share": constant(share),
        "luma_weight": constant(np.reshape(LUMA, (1, 3, 1, 1)) / 255),
        "shift_weight": constant(np.eye(shifts_x * shifts_y).reshape(-1, 1, shifts_y, shifts_x)),
        "weights": constant(np.reshape(WEIGHTS, (2, 1))),
        "bias": constant([BIAS]),
        "tiny": constant(1e-3),
        "flat": constant(0.005),
        "pictures": integers(-1, 3, HEIGHT, WIDTH),
        "histogram_pairs": integers(-1, 2, bins),
        "luma_pairs": integers(-1, 2, HEIGHT, WIDTH),
        "pair_axis": integers(1),
        "pixel_axes": integers(2, 3),
        "first": integers(0),
        "second": integers(1),
        "two": integers(2),
        "inner_start": integers(REACH_Y, REACH_X),
        "inner_end": integers(HEIGHT - REACH_Y, WIDTH - REACH_X),
    }


def _graph() -> onnx.ModelProto:
    return parse(
        f"""
        shot_change (uint8[N, 2, 3, {HEIGHT}, {WIDTH}] frames)
            => (float[N, 1] scores, float[N, 2] distances) {{
          values = Cast <to=1> (frames)
          picture = Reshape (values, pictures)

          ramps = Conv (picture, ramp_weight, ramp_bias)
          ramps_up = Relu (ramps)
          mean_ramps = ReduceMean <axes=[2, 3], keepdims=0> (ramps_up)
          histogram = MatMul (mean_ramps, second_difference)
          histograms = Reshape (histogram, histogram_pairs)
          h1 = Slice (histograms, first, second, pair_axis)
          h2 = Slice (histograms, second, two, pair_axis)
          h_difference = Sub (h1, h2)
          h_distance = Abs (h_difference)
          h_columns = ReduceSum <keepdims=0> (h_distance, pair_axis)
          colours = MatMul (h_columns, share)

          luma = Conv (picture, luma_weight)
          luma_mean = ReduceMean <axes=[2, 3]> (luma)
          centred = Sub (luma, luma_mean)
          squared = Mul (centred, centred)
          variance = ReduceMean <axes=[2, 3]> (squared)
          deviation = Sqrt (variance)
          divisor = Add (deviation, flat)
          normal = Div (centred, divisor)
          normals = Reshape (normal, luma_pairs)
          n1 = Slice (normals, first, second, pair_axis)
          n2 = Slice (normals, second, two, pair_axis)
          inner = Slice (n1, inner_start, inner_end, pixel_axes)
          moved = Conv (n2, shift_weight)
          gap = Sub (moved, inner)
          absolute = Abs (gap)
          blocks = AveragePool <kernel_shape=[6, 6], strides=[4, 5]> (absolute)
          best = ReduceMin <axes=[1], keepdims=0> (blocks)
          structure = ReduceMean <axes=[1, 2], keepdims=0> (best)
          structure_column = Unsqueeze (structure, pair_axis)

          distances = Concat <axis=1> (colours, structure_column)
          lifted = Add (distances, tiny)
          logs = Log (lifted)
          weighed = MatMul (logs, weights)
          logit = Add (weighed, bias)
          scores = Sigmoid (logit)
        }}""",
        _constants(),
    )


def _sample() -> Array:
    """Pairs of coloured squares, every second pair a still picture: uint8 (BATCH, 2, 3, HEIGHT, WIDTH)."""
    random = np.random.default_rng(1)
    coarse = random.integers(0, 256, (BATCH, 2, 3, 9, 16), np.uint8)
    coarse[::2, 1] = coarse[::2, 0]  # every second pair is one still picture
    return coarse.repeat(2, axis=3).repeat(2, axis=4)


def _manifest() -> dict[str, Any]:
    return {
        "name": NAME,
        "version": "1.0.0",
        "kind": "pair",
        "rate": "native",
        "window": 2,
        "stride": 1,
        "anchor": 1,
        "batch": BATCH,
        "input": {
            "name": "frames",
            "dtype": "uint8",
            "layout": "NTCHW",
            "width": WIDTH,
            "height": HEIGHT,
            "colour": "rgb",
        },
        "output": {"name": "scores", "labels": ["cut"]},
        "reference": REFERENCE,
        "provenance": provenance(
            "Soft colour histograms and motion-compensated block differences, as surveyed in Boreczky & "
            "Rowe, 'Comparison of video shot boundary detection techniques', J. Electronic Imaging 5(2), "
            "1996; the combination is ours."
        ),
    }
