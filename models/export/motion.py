"""motion: how much, and in which direction, the picture moves between two pictures 0.2 s apart.

Pyramidal Lucas-Kanade: each level warps the second picture back by the flow so far, and solves the remaining
flow per pixel, over a box window, from the structure tensor of the first picture (Lucas & Kanade 1981;
pyramid after Bouguet 2001). A similarity (shift, zoom, rotation) is then fitted to the flow by least squares
weighted by texture, and again with less weight on pixels that disagree (Odobez & Bouthemy 1995). This
similarity is the camera's motion; the rest of the flow is motion against it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from models.export import Array, Build, constant, integers, parse, provenance
from shared.models import REFERENCE

NAME = "motion"
WIDTH, HEIGHT = 128, 72
RATE = 5
BATCH = 8
LEVELS = ((4, 3), (2, 2), (1, 1))
"""(how much smaller, iterations), coarse to fine."""
REACH_X, REACH_Y = 6, 3
"""Shifts tried for the whole picture, in pixels of the coarsest level: 19 % of width, 17 % of height."""
RELUCTANCE = 0.06
"""Each pixel of shift must make the difference smaller by this share, or chance would pick far shifts."""
WINDOW = 7
DAMPING = 1e-4
"""Added to the structure tensor's diagonal (pictures in [0, 1]), so that flow fades where texture is
missing."""
TEXTURE = 3e-4
"""Smaller eigenvalue at which a pixel counts half in the fit."""
MISMATCH = 0.02
"""Root mean square difference after warping, of 1, at which a pixel counts half."""
OUTLIER = 0.6
"""Pixels of disagreement with the camera at which a pixel counts half in the second fit."""


def _warp(name: str, level: str, flow: str) -> str:
    """Text that samples the second picture at the place to which the flow moves each pixel, and subtracts it
    from the first."""
    return f"""
          {name}_at = Add ({flow}, {level}_base)
          {name}_scaled = Mul ({name}_at, {level}_scale)
          {name}_shifted = Sub ({name}_scaled, one)
          {name}_grid = Transpose <perm=[0, 2, 3, 1]> ({name}_shifted)
          {name}_warped = GridSample <align_corners=1, padding_mode="border"> ({level}_b, {name}_grid)
          {name}_change = Sub ({level}_a, {name}_warped)"""


def _level(shrink: int, iterations: int, flow: str) -> tuple[str, str, dict[str, Array]]:
    """Text of one level, the name of its flow (pixels of that level), and its constants."""
    k, height, width = f"l{shrink}", HEIGHT // shrink, WIDTH // shrink
    y, x = np.mgrid[0:height, 0:width]
    constants = {
        f"{k}_base": constant(np.stack([x, y])[None]),
        # GridSample with align_corners=1: pixel 0 is -1 and the last is 1.
        f"{k}_scale": constant(np.reshape([2 / (width - 1), 2 / (height - 1)], (1, 2, 1, 1))),
    }
    pool = f"AveragePool <kernel_shape=[{WINDOW}, {WINDOW}], pads=[{', '.join([str(WINDOW // 2)] * 4)}]>"
    text = f"""
          {k}_both = AveragePool <kernel_shape=[{shrink}, {shrink}], strides=[{shrink}, {shrink}]> (both)
          {k}_a = Slice ({k}_both, first, second, channel_axis)
          {k}_b = Slice ({k}_both, second, two, channel_axis)
          {k}_padded = Pad <mode="edge"> ({k}_a, border)
          {k}_gradient = Conv ({k}_padded, scharr)
          {k}_gx = Slice ({k}_gradient, first, second, channel_axis)
          {k}_gy = Slice ({k}_gradient, second, two, channel_axis)
          {k}_swapped = Concat <axis=1> ({k}_gy, {k}_gx)
          {k}_squares = Mul ({k}_gradient, {k}_gradient)
          {k}_mixed = Mul ({k}_gx, {k}_gy)
          {k}_diagonal_raw = {pool} ({k}_squares)
          {k}_diagonal = Add ({k}_diagonal_raw, damping)
          {k}_off = {pool} ({k}_mixed)
          {k}_dx = Slice ({k}_diagonal, first, second, channel_axis)
          {k}_dy = Slice ({k}_diagonal, second, two, channel_axis)
          {k}_other = Concat <axis=1> ({k}_dy, {k}_dx)
          {k}_product = Mul ({k}_dx, {k}_dy)
          {k}_off_square = Mul ({k}_off, {k}_off)
          {k}_determinant = Sub ({k}_product, {k}_off_square)"""
    start = flow
    for step in range(iterations):
        s = f"{k}_{step}"
        text += f"""{_warp(s, k, flow)}
          {s}_own = Mul ({k}_gradient, {s}_change)
          {s}_right = {pool} ({s}_own)
          {s}_rx = Slice ({s}_right, first, second, channel_axis)
          {s}_ry = Slice ({s}_right, second, two, channel_axis)
          {s}_crossed = Concat <axis=1> ({s}_ry, {s}_rx)
          {s}_t1 = Mul ({k}_other, {s}_right)
          {s}_t2 = Mul ({k}_off, {s}_crossed)
          {s}_above = Sub ({s}_t1, {s}_t2)
          {s}_solved = Div ({s}_above, {k}_determinant)
          {s}_step = Clip ({s}_solved, minus_one, one)
          {s}_flow = Add ({flow}, {s}_step)"""
        flow = f"{s}_flow"
    text += f"""{_warp(f"{k}_end", k, flow)}
          {k}_start_square = Mul ({k}_0_change, {k}_0_change)
          {k}_start_error = {pool} ({k}_start_square)
          {k}_end_square = Mul ({k}_end_change, {k}_end_change)
          {k}_end_error = {pool} ({k}_end_square)
          {k}_better = Less ({k}_end_error, {k}_start_error)
          {k}_flow = Where ({k}_better, {flow}, {start})
          {k}_error = Min ({k}_end_error, {k}_start_error)"""
    flow = f"{k}_flow"
    return text, flow, constants


def _fit(name: str, weight: str) -> str:
    """Weighted least squares: flow = shift + zoom * p + turn * rot90(p), p from its weighted mean."""
    n = name
    return f"""
          {n}_sum_raw = ReduceSum ({weight}, pixel_axes)
          {n}_sum = Add ({n}_sum_raw, tiny)
          {n}_wf = Mul (flow, {weight})
          {n}_wf_sum = ReduceSum ({n}_wf, pixel_axes)
          {n}_shift = Div ({n}_wf_sum, {n}_sum)
          {n}_wp = Mul (place, {weight})
          {n}_wp_sum = ReduceSum ({n}_wp, pixel_axes)
          {n}_middle = Div ({n}_wp_sum, {n}_sum)
          {n}_p = Sub (place, {n}_middle)
          {n}_px = Slice ({n}_p, first, second, channel_axis)
          {n}_py = Slice ({n}_p, second, two, channel_axis)
          {n}_minus_py = Neg ({n}_py)
          {n}_q = Concat <axis=1> ({n}_minus_py, {n}_px)
          {n}_pp = Mul ({n}_p, {n}_p)
          {n}_pp_both = ReduceSum ({n}_pp, channel_axis)
          {n}_pp_w = Mul ({n}_pp_both, {weight})
          {n}_pp_sum = ReduceSum ({n}_pp_w, pixel_axes)
          {n}_spread = Add ({n}_pp_sum, tiny)
          {n}_pf = Mul ({n}_p, {n}_wf)
          {n}_pf_sum = ReduceSum ({n}_pf, all_axes)
          {n}_zoom = Div ({n}_pf_sum, {n}_spread)
          {n}_qf = Mul ({n}_q, {n}_wf)
          {n}_qf_sum = ReduceSum ({n}_qf, all_axes)
          {n}_turn = Div ({n}_qf_sum, {n}_spread)
          {n}_grow = Mul ({n}_p, {n}_zoom)
          {n}_spin = Mul ({n}_q, {n}_turn)
          {n}_linear = Add ({n}_grow, {n}_spin)
          {n}_camera = Add ({n}_linear, {n}_shift)
          {n}_left = Sub (flow, {n}_camera)
          {n}_left_square = Mul ({n}_left, {n}_left)
          {n}_left_sum = ReduceSum ({n}_left_square, channel_axis)"""


def _weighted_mean(name: str, value: str) -> str:
    return f"""
          {name}_w = Mul ({value}, weight)
          {name}_total = ReduceSum ({name}_w, pixel_axes)
          {name} = Div ({name}_total, first_fit_sum)"""


def build() -> Build:
    """The graph, its manifest and a golden batch."""
    return Build(_graph(), _manifest(), _sample())


def _constants() -> dict[str, Array]:
    """The constants of the graph, without those of its levels."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    coarsest = LEVELS[0][0]
    shift_y, shift_x = np.mgrid[-REACH_Y : REACH_Y + 1, -REACH_X : REACH_X + 1]
    shifts = shift_x.size
    scharr = np.array([[-3, 0, 3], [-10, 0, 10], [-3, 0, 3]]) / 32
    return {
        "to_unit": constant(1 / 255),
        "scharr": constant(np.stack([scharr, scharr.T])[:, None]),
        "border": integers(0, 0, 1, 1, 0, 0, 1, 1),
        "damping": constant(DAMPING),
        "texture": constant(TEXTURE),
        "mismatch": constant(MISMATCH**2),
        "outlier": constant(OUTLIER**2),
        "place": constant(np.stack([x - (WIDTH - 1) / 2, y - (HEIGHT - 1) / 2])[None]),
        "doubling": constant([1, 1, 2, 2]),
        "double": constant(2),
        "half": constant(0.5),
        "one": constant(1),
        "minus_one": constant(-1),
        "tiny": constant(1e-6),
        "shift_weight": constant(np.eye(shifts).reshape(shifts, 1, 2 * REACH_Y + 1, 2 * REACH_X + 1)),
        "shifts": constant(np.stack([shift_x.ravel(), shift_y.ravel()], axis=1)[:, :, None, None]),
        "reluctance": constant(1 + RELUCTANCE * np.hypot(shift_x, shift_y).ravel()[None]),
        "inner_start": integers(REACH_Y, REACH_X),
        "inner_end": integers(HEIGHT // coarsest - REACH_Y, WIDTH // coarsest - REACH_X),
        "widths_per_second": constant(RATE / WIDTH),
        "per_second": constant(RATE),
        "first": integers(0),
        "second": integers(1),
        "two": integers(2),
        "channel_axis": integers(1),
        "pixel_axes": integers(2, 3),
        "all_axes": integers(1, 2, 3),
        "row": integers(0, -1),
    }


def _levels() -> tuple[str, str, dict[str, Array]]:
    """Text of all levels, the name of the finest flow, and their constants."""
    constants: dict[str, Array] = {}
    text, flow = "", "whole"
    for index, (shrink, iterations) in enumerate(LEVELS):
        if index:
            up = f"l{shrink}_from_coarser"
            text += f"""
          {up}_size = Resize <mode="linear"> ({flow}, , doubling)
          {up} = Mul ({up}_size, double)"""
            flow = up
        level, flow, of_level = _level(shrink, iterations, flow)
        text += level
        constants |= of_level
    return text, flow, constants


def _graph() -> onnx.ModelProto:
    coarsest = LEVELS[0][0]
    text, flow, of_levels = _levels()
    return parse(
        f"""
        motion (uint8[N, 2, {HEIGHT}, {WIDTH}] frames) => (float[N, 5] scores) {{
          values = Cast <to=1> (frames)
          both = Mul (values, to_unit)

          small = AveragePool <kernel_shape=[{coarsest}, {coarsest}], strides=[{coarsest}, {coarsest}]> (both)
          small_a = Slice (small, first, second, channel_axis)
          small_b = Slice (small, second, two, channel_axis)
          inner = Slice (small_a, inner_start, inner_end, pixel_axes)
          moved = Conv (small_b, shift_weight)
          gap = Sub (moved, inner)
          distance = Abs (gap)
          cost = ReduceMean <axes=[2, 3], keepdims=0> (distance)
          cost_by_reach = Mul (cost, reluctance)
          cheapest = ArgMin <axis=1, keepdims=0> (cost_by_reach)
          shift = Gather (shifts, cheapest)
          nothing = Sub (small, small)
          whole = Add (nothing, shift)
          {text}
          flow = Identity ({flow})

          trace = Add (l1_dx, l1_dy)
          half_trace = Mul (trace, half)
          skew_raw = Sub (l1_dx, l1_dy)
          skew = Mul (skew_raw, half)
          skew_square = Mul (skew, skew)
          root_square = Add (skew_square, l1_off_square)
          root = Sqrt (root_square)
          eigen_damped = Sub (half_trace, root)
          eigen_raw = Sub (eigen_damped, damping)
          eigen = Relu (eigen_raw)
          eigen_more = Add (eigen, texture)
          textured = Div (eigen, eigen_more)
          error_more = Add (l1_error, mismatch)
          matched = Div (mismatch, error_more)
          weight = Mul (textured, matched)
          {_fit("first_fit", "weight")}
          disagreement = Add (first_fit_left_sum, outlier)
          agreement = Div (outlier, disagreement)
          weight_2 = Mul (weight, agreement)
          {_fit("second_fit", "weight_2")}
          disagreement_2 = Add (second_fit_left_sum, outlier)
          agreement_2 = Div (outlier, disagreement_2)
          weight_3 = Mul (weight, agreement_2)
          {_fit("camera", "weight_3")}

          flow_square = Mul (flow, flow)
          flow_sum = ReduceSum (flow_square, channel_axis)
          speed = Sqrt (flow_sum)
          against = Sqrt (camera_left_sum)
          {_weighted_mean("energy", "speed")}
          {_weighted_mean("residual", "against")}
          at_middle_grow = Mul (camera_middle, camera_zoom)
          middle_x = Slice (camera_middle, first, second, channel_axis)
          middle_y = Slice (camera_middle, second, two, channel_axis)
          minus_middle_y = Neg (middle_y)
          middle_turned = Concat <axis=1> (minus_middle_y, middle_x)
          at_middle_spin = Mul (middle_turned, camera_turn)
          without_grow = Sub (camera_shift, at_middle_grow)
          direction = Sub (without_grow, at_middle_spin)
          in_pixels = Concat <axis=1> (energy, direction, residual)
          in_widths = Mul (in_pixels, widths_per_second)
          zoom = Mul (camera_zoom, per_second)
          columns = Concat <axis=1> (in_widths, zoom)
          scores = Reshape (columns, row)
        }}""",
        _constants() | of_levels,
    )


def _sample() -> Array:
    """Pairs of a soft pattern and the same pattern moved: uint8 (BATCH, 2, HEIGHT, WIDTH)."""
    random = np.random.default_rng(2)
    coarse = random.integers(0, 256, (BATCH, 12, 20)).astype(np.float64)
    canvas = coarse.repeat(8, axis=1).repeat(8, axis=2)
    for axis in (1, 2):  # a box blur, so that there are gradients
        canvas = np.mean([np.roll(canvas, shift, axis) for shift in range(8)], axis=0)
    moved = np.stack([np.roll(canvas[i], (i % 3, 2 * i), (0, 1)) for i in range(BATCH)])
    return np.stack([canvas, moved], axis=1)[:, :, 12 : 12 + HEIGHT, 16 : 16 + WIDTH].astype(np.uint8)


def _manifest() -> dict[str, Any]:
    return {
        "name": NAME,
        "version": "1.0.0",
        "kind": "pair",
        "rate": f"{RATE}/1",
        "window": 2,
        "stride": 1,
        "anchor": 1,
        "batch": BATCH,
        "input": {
            "name": "frames",
            "dtype": "uint8",
            "layout": "NTHW",
            "width": WIDTH,
            "height": HEIGHT,
            "colour": "gray",
        },
        "output": {"name": "scores", "labels": ["energy", "dx", "dy", "residual", "zoom"]},
        "golden": {"tolerance": 1e-3},
        "reference": REFERENCE,
        "provenance": provenance(
            "Lucas & Kanade, 'An iterative image registration technique with an application to stereo "
            "vision', IJCAI 1981; Bouguet, 'Pyramidal implementation of the affine Lucas Kanade feature "
            "tracker', Intel 2001; Odobez & Bouthemy, 'Robust multiresolution estimation of parametric "
            "motion models', J. Visual Communication and Image Representation 6(4), 1995."
        ),
    }
