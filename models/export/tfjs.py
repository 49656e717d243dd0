"""TensorFlow.js graph models, read without TensorFlow, to ONNX."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from models.export import Array
from models.export.networks import Network

_TYPES = {"float32": "<f4", "float16": "<f2", "int32": "<i4"}


class Converter(Network):
    """Converts part of a TensorFlow.js graph model, as onnx-tf writes one, to ONNX. All tensors stay NCHW:
    the file's transposes to NHWC and back around each operator are left out, and its Pad nodes become padding
    of the next operator. An unknown operator raises AttributeError.

    `size`: the width and height for which the file's resizes are written. `large`: a convolution with more
    weights stores them as int8, one with fewer as float16; None keeps float32.
    """

    def __init__(self, topology: dict[str, Any], data: bytes, size: int, large: int | None) -> None:
        super().__init__()
        self._file = {node["name"]: node for node in topology["modelTopology"]["node"]}
        self._weights = read_weights(topology, data)
        self._size, self._large = size, large
        self._made: dict[str, tuple[str, int]] = {}

    def heads(self, picture: str, keep: Array) -> list[str]:
        """The inputs of the file's Split nodes, finest first, (N, len(keep), h, w) each, for a picture
        (N, 3, H, W). `keep`: indices of the output channels to keep."""
        for name, node in self._file.items():
            if node["op"] == "Placeholder":
                self._made[name] = (picture, self._size)
        splits = [self._plain(node["input"][0]) for node in self._file.values() if node["op"] == "SplitV"]
        made = [self._make(name, keep) for name in splits]
        return [name for name, size in sorted(made, key=lambda head: -head[1])]

    def _plain(self, name: str) -> str:
        """The tensor behind transposes between layouts."""
        while self._file[name]["op"] == "Transpose":
            name = self._file[name]["input"][0]
        return name

    def _padded(self, name: str) -> tuple[str, int]:
        """The tensor before a Pad node, and the pixels that the node adds to each side of the picture."""
        name = self._plain(name)
        if self._file[name]["op"] not in ("Pad", "PadV2"):
            return name, 0
        inside, amounts = self._file[name]["input"][:2]
        assert [[0, 0], [0, 0], [1, 1], [1, 1]] == self._weights[amounts].tolist()
        return self._plain(inside), 1

    def _make(self, name: str, keep: Array | None = None) -> tuple[str, int]:
        """The ONNX tensor for a tensor of the file, and its width for a picture of the file's size.
        `keep`: indices of a convolution's output channels to keep."""
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
        if self._large is None:
            return self.constant(kernel)
        return self.int8(kernel) if kernel.size > self._large else self.half(kernel)

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
        target = int(constants[0][0])
        scales = self.constant([1, 1, target / size, target / size])
        resized = self.add(
            "Resize", x, "", scales, mode="linear", coordinate_transformation_mode="half_pixel"
        )
        return resized, target


def read_weights(topology: dict[str, Any], data: bytes) -> dict[str, Array]:
    """The arrays of the file by name; they lie in it one after the other."""
    arrays, at = {}, 0
    for group in topology["weightsManifest"]:
        for entry in group["weights"]:
            dtype = np.dtype(_TYPES[entry.get("quantization", entry)["dtype"]])
            count = int(np.prod(entry["shape"]))
            arrays[entry["name"]] = np.frombuffer(data, dtype, count, at).reshape(entry["shape"])
            at += count * dtype.itemsize
    return arrays
