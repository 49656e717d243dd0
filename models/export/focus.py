"""Parts of a graph that measure motion inside and outside boxes, without the camera's motion.

The shift of the whole picture is searched on a coarse copy, and then solved level by level, by iterated least
squares over the pixels outside the boxes (Lucas & Kanade 1981; robust weights after Odobez & Bouthemy 1995).
A shift is enough: zoom and rotation are small within 0.2 s, and the model `motion` measures the camera.
"""

from __future__ import annotations

import numpy as np

from models.export.networks import Network

COARSE = 8
"""The search is on a copy this many times smaller."""
REACH_X, REACH_Y = 6, 3
"""Shifts tried, in pixels of that copy: 19 % of the width, 17 % of the height of 256 x 144."""
RELUCTANCE = 0.06
"""Each pixel of shift must make the difference smaller by this share, or chance would pick far shifts."""
LEVELS = (4, 2)
"""Copies this many times smaller, from half of COARSE down by halves. The full size would change focused
motion by 0.001 and cost an eighth of the model, see the card."""
STEPS = 2
"""Steps of least squares per level."""
MISMATCH = 0.05
"""Difference, of 1, at which a pixel counts half, so that moving objects hardly disturb the camera's
shift."""
DAMPING, RELATIVE_DAMPING = 1e-3, 1e-2
"""Added to the structure tensor's diagonal, the second times its trace: without texture, or with edges
in one direction only, the shift stays where it is instead of running along them."""
LEAST = 30.0
"""Fewest pixels, of 256 x 144, that a mean inside boxes is divided by: a third of a small player. So a box
with little weight gives little motion."""


def motion(network: Network, grey: str, mask: str, width: int, height: int) -> tuple[str, str]:
    """Focused and background motion, (N, 1) each: mean absolute differences, of 1.

    `grey` (N, 2, height, width) in [0, 1]; `mask` (N, 1, height, width), 1 inside boxes and 0 outside.
    The median of the differences outside is first subtracted from each difference inside, down to 0: a change
    of the whole picture (a dissolve, a flash) is no player's motion. Never NaN: without boxes the first is 0.
    """
    one = network.constant(1.0)
    outside = network.add("Sub", one, mask)
    halves = network.constant([1, 1], np.int64)
    first, second = network.add_many("Split", grey, halves, outputs=2, axis=1)
    # Each picture without its mean, or a change of light would look like a shift.
    even = network.add("Sub", grey, network.add("ReduceMean", grey, axes=[2, 3]))
    shift = _shift(network, even, outside, width, height)
    warped, valid = _warp(network, second, shift, width, height)
    change = network.add("Abs", network.add("Sub", first, warped))
    inside, beside = network.add("Mul", mask, valid), network.add("Mul", outside, valid)
    own = network.add("Relu", network.add("Sub", change, _median(network, change, beside)))
    means = []
    for value, weight, least in ((own, inside, LEAST), (change, beside, 1.0)):
        total = network.add("ReduceSum", network.add("Mul", value, weight), _pixels(network), keepdims=0)
        size = network.add("ReduceSum", weight, _pixels(network), keepdims=0)
        means.append(network.add("Div", total, network.add("Max", size, network.constant(least))))
    return means[0], means[1]


def _pixels(network: Network) -> str:
    return network.constant([2, 3], np.int64)


def _pool(network: Network, x: str, factor: int) -> str:
    return network.add("AveragePool", x, kernel_shape=[factor] * 2, strides=[factor] * 2)


def _warp(network: Network, picture: str, shift: str, width: int, height: int) -> tuple[str, str]:
    """The picture taken `shift` (N, 2, 1, 1; x, y in its pixels) further, and 1 where that lies inside it."""
    # GridSample with align_corners=1: pixel 0 is -1 and the last is 1.
    scale = np.array([2 / (width - 1), 2 / (height - 1)])
    columns = np.stack([np.arange(width) * scale[0] - 1, np.zeros(width)], axis=1)[None, None]
    rows = np.stack([np.zeros(height), np.arange(height) * scale[1] - 1], axis=1)[None, :, None]
    base = network.add("Add", network.constant(columns), network.constant(rows))
    moved = network.add("Mul", network.add("Transpose", shift, perm=[0, 2, 3, 1]), network.constant(scale))
    grid = network.add("Add", base, moved)
    warped = network.add("GridSample", picture, grid, align_corners=1, padding_mode="border")
    far = network.add("ReduceMax", network.add("Abs", grid), axes=[3], keepdims=0)
    valid = network.add("Cast", network.add("Less", far, network.constant(1 + 1e-5)), to=1)
    return warped, network.add("Unsqueeze", valid, network.constant([1], np.int64))


def _search(network: Network, grey: str, width: int, height: int) -> str:
    """(N, 2, 1, 1): the whole shift, in pixels of the coarse copy, that leaves the least difference."""
    y, x = np.mgrid[-REACH_Y : REACH_Y + 1, -REACH_X : REACH_X + 1]
    first, second = network.add_many(
        "Split", _pool(network, grey, COARSE), network.constant([1, 1], np.int64), outputs=2, axis=1
    )
    starts = network.constant([REACH_Y, REACH_X], np.int64)
    ends = network.constant([height // COARSE - REACH_Y, width // COARSE - REACH_X], np.int64)
    inner = network.add("Slice", first, starts, ends, _pixels(network))
    moved = network.add("Conv", second, network.constant(np.eye(x.size).reshape(x.size, 1, *x.shape)))
    gap = network.add("Abs", network.add("Sub", moved, inner))
    cost = network.add("ReduceMean", gap, axes=[2, 3], keepdims=0)
    weighted = network.add("Mul", cost, network.constant(1 + RELUCTANCE * np.hypot(x, y).ravel()[None]))
    best = network.add("ArgMin", weighted, axis=1, keepdims=0)
    shifts = np.stack([x.ravel(), y.ravel()], axis=1)[:, :, None, None]
    return network.add("Gather", network.constant(shifts), best)


def _shift(network: Network, grey: str, outside: str, width: int, height: int) -> str:
    """(N, 2, 1, 1): how far the picture outside the boxes moved, x and y in pixels."""
    double = network.constant(2.0)
    scharr = np.array([[-3, 0, 3], [-10, 0, 10], [-3, 0, 3]]) / 32
    kernels = network.constant(np.stack([scharr, scharr.T])[:, None])
    border = network.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64)
    halves = network.constant([1, 1], np.int64)
    limits = network.constant(-1.0), network.constant(1.0)
    shift = _search(network, grey, width, height)
    for level in LEVELS:
        pair, weight = _pool(network, grey, level), _pool(network, outside, level)
        a, b = network.add_many("Split", pair, halves, outputs=2, axis=1)
        gradient = network.add("Conv", network.add("Pad", a, border, mode="edge"), kernels)
        swapped = network.add(
            "Concat", *reversed(network.add_many("Split", gradient, halves, outputs=2, axis=1)), axis=1
        )
        squares, mixed = network.add("Mul", gradient, gradient), network.add("Mul", gradient, swapped)
        shift = network.add("Mul", shift, double)
        for _ in range(STEPS):
            warped, valid = _warp(network, b, shift, width // level, height // level)
            change = network.add("Sub", a, warped)
            odd = network.add("Mul", change, network.constant(1 / MISMATCH))
            trust = network.add("Add", network.add("Mul", odd, odd), limits[1])
            robust = network.add("Div", network.add("Mul", weight, valid), trust)

            def total(x: str, robust: str = robust) -> str:
                return network.add("ReduceSum", network.add("Mul", x, robust), _pixels(network))

            diagonal, crossed = total(squares), total(mixed)
            trace = network.add("ReduceSum", diagonal, network.constant([1], np.int64))
            damping = network.add("Mul", trace, network.constant(RELATIVE_DAMPING))
            damping = network.add("Add", damping, network.constant(DAMPING))
            diagonal = network.add("Add", diagonal, damping)
            right = total(network.add("Mul", gradient, change))
            xx, yy = network.add_many("Split", diagonal, halves, outputs=2, axis=1)
            xt, yt = network.add_many("Split", right, halves, outputs=2, axis=1)
            # Cramer's rule: `crossed` holds the tensor's other element twice.
            other = network.add("Concat", yy, xx, axis=1)
            above = network.add(
                "Sub",
                network.add("Mul", other, right),
                network.add("Mul", crossed, network.add("Concat", yt, xt, axis=1)),
            )
            square = network.add("Mul", crossed, crossed)
            below = network.add("Sub", network.add("Mul", xx, yy), square)
            step = network.add("Clip", network.add("Div", above, below), *limits)
            shift = network.add("Add", shift, step)
    return network.add("Mul", shift, network.constant(float(LEVELS[-1])))


def _median(network: Network, change: str, beside: str) -> str:
    """(N, 1, 1, 1): the median of `change` (N, 1, h, w) where `beside` is at least a half, on a copy half as
    large in each direction; 0 where that is nowhere."""
    small, where = _pool(network, change, 2), _pool(network, beside, 2)
    out = network.add("GreaterOrEqual", where, network.constant(0.5))
    # -1 sorts behind every value that counts.
    marked = network.add("Where", out, small, network.constant(-1.0))
    flat = network.add("Flatten", marked)
    size = network.add(
        "Slice", network.add("Shape", flat), *(network.constant([number], np.int64) for number in (1, 2))
    )
    sorted_, _ = network.add_many("TopK", flat, size, outputs=2, axis=1)
    count = network.add("ReduceSum", network.add("Cast", out, to=7), _pixels(network), keepdims=0)
    middle = network.add("Div", count, network.constant(2, np.int64))
    found = network.add("Relu", network.add("GatherElements", sorted_, middle, axis=1))
    return network.add("Unsqueeze", found, _pixels(network))
