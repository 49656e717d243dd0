"""Load a model with the engine that its manifest names."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from shared.contracts import ModelManifest
from shared.errors import ModelRefused
from shared.models.manifest import read_manifest
from shared.models.model import Model
from shared.models.onnx import OnnxModel
from shared.models.scoreboard import load_scoreboard


def load_model(folder: Path, threads: int = 1) -> Model:
    """The model in `folder`, run by the engine that its manifest names.

    Checks digest, inputs, outputs and golden sample. A process loads one manifest in one folder once; a
    changed manifest loads anew. `threads`: of one run of the graph. Raises ModelRefused.
    """
    return _load(folder.resolve(), read_manifest(folder), threads)


@lru_cache(maxsize=32)
def _load(folder: Path, manifest: ModelManifest, threads: int) -> Model:
    if manifest.engine == "rapidocr":
        return load_scoreboard(folder, manifest, threads)
    try:
        graph = (folder / "model.onnx").read_bytes()
    except OSError as bad:
        raise ModelRefused(f"model {manifest.name}: model.onnx cannot be read ({bad.strerror})") from bad
    if (digest := hashlib.sha256(graph).hexdigest()) != manifest.digest:
        raise ModelRefused(f"model {manifest.name}: model.onnx is {digest[:12]}, not {manifest.digest[:12]}")
    model = OnnxModel(manifest, graph, threads)
    model.check_golden(folder)
    return model
