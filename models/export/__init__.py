"""How the built-in models are made: each graph is written out as formulas in ONNX's text form.

A module here has NAME, build() and nothing that runs at inference. Building twice gives the same
bytes: no clock, no random source without a seed, constants rounded before they become float32.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper, parser

from shared.contracts import ModelManifest, Provenance
from shared.models import OnnxModel

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Build:
    """One model before it is written: graph, manifest without digest, and a golden batch."""

    graph: onnx.ModelProto
    manifest: dict[str, Any]
    sample: Array
    """One batch, as the graph takes it."""


def constant(values: Any) -> Array:
    """A float32 constant, rounded to 30 bits first: the last bits of sines and powers differ between
    machines."""
    mantissa, exponent = np.frexp(np.asarray(values, np.float64))
    return np.asarray(np.ldexp(np.round(mantissa * 2**30), exponent - 30), np.float32)


def integers(*numbers: int) -> Array:
    """An int64 constant (len(numbers),): a shape, axes, or places to slice at."""
    return np.array(numbers, np.int64)


def parse(text: str, constants: Mapping[str, Array]) -> onnx.ModelProto:
    """A checked model of opset 17, from the text of its graph and its constants by name."""
    model = parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17], producer_name: "matchcut">\n{text}')
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    onnx.checker.check_model(model, full_check=True)
    return model


def provenance(source: str) -> dict[str, str]:
    """The manifest's provenance of a model that this package computes. `source`: the literature."""
    origin = "matchcut, models/export"
    return Provenance(origin=origin, licence="MIT", training_data="none", source=source).model_dump()


def write(build: Build, out: Path) -> ModelManifest:
    """Write model.onnx, model.json with the graph's digest, and the golden sample, into out/<name>."""
    data: bytes = build.graph.SerializeToString(deterministic=True)
    manifest = ModelManifest.model_validate(build.manifest | {"digest": hashlib.sha256(data).hexdigest()})
    folder = out / manifest.name
    (folder / "sample").mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(data)
    (folder / "model.json").write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    expected, embedding = OnnxModel(manifest, data).outputs(build.sample)
    kept: dict[str, Any] = {} if embedding is None else {"embedding": embedding}
    np.savez_compressed(folder / manifest.golden.file, input=build.sample, expected=expected, **kept)
    return manifest


def build_all(builders: Iterable[Callable[[], Build]], out: Path) -> None:
    """Write each model into its folder below `out`, and print its name, version and digest."""
    for build in builders:
        manifest = write(build(), out)
        print(f"{manifest.name} {manifest.version} {manifest.digest}")


def command(prog: str, *builders: Callable[[], Build]) -> None:
    """Run the command line `python -m prog [--out DIR]`."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {prog}", description="Builds models (default: into models/)."
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent)
    build_all(builders, parser.parse_args().out)
