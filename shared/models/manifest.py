"""Read the manifests of model folders, and check what the contract's types cannot."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from shared.contracts import ModelManifest
from shared.errors import ModelRefused


class FoundModels(NamedTuple):
    """The models of a folder, sorted, and one sentence for each that is faulty; both by folder name."""

    manifests: dict[str, ModelManifest]
    faults: dict[str, str]


def find_models(models_dir: Path) -> FoundModels:
    """Every folder of models_dir with a model.json. Its name must be the model's."""
    found = FoundModels({}, {})
    for path in sorted(models_dir.glob("*/model.json")):
        folder = path.parent
        try:
            manifest = read_manifest(folder)
        except ModelRefused as refused:
            found.faults[folder.name] = refused.message
            continue
        if fault := name_fault(manifest, folder):
            found.faults[folder.name] = fault
        else:
            found.manifests[folder.name] = manifest
    return found


def name_fault(manifest: ModelManifest, folder: Path) -> str | None:
    """A sentence where the folder's name is not the model's."""
    if manifest.name == folder.name:
        return None
    return f"model {manifest.name} lies in a folder named {folder.name}"


def read_manifest(folder: Path) -> ModelManifest:
    """The folder's model.json. Raises ModelRefused, which says what is wrong with it."""
    try:
        manifest = ModelManifest.model_validate_json((folder / "model.json").read_bytes())
    except OSError as bad:
        raise ModelRefused(f"model {folder.name}: model.json cannot be read ({bad.strerror})") from bad
    except ValidationError as bad:
        first = bad.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise ModelRefused(f"model {folder.name}: model.json: {where}: {first['msg']}") from bad
    if problem := _contradiction(manifest):
        raise ModelRefused(f"model {manifest.name}: {problem}")
    return manifest


def channels_of(manifest: ModelManifest) -> int:
    """Colour channels of the pictures that the model takes; 1 for a model that takes none."""
    return 1 if manifest.input.colour in ("gray", None) else 3


def _contradiction(manifest: ModelManifest) -> str | None:
    """A rule that the manifest breaks and the contract's types cannot express, as one sentence."""
    spec, axes = manifest.input, set(manifest.input.layout)
    if manifest.kind in ("audio", "head"):
        return None if spec.dtype == "float32" else f"{manifest.kind} is float32"
    if len(axes) != len(spec.layout) or spec.layout[0] != "N" or not {"H", "W"} <= axes <= set("NTHWC"):
        return f"input.layout {spec.layout!r} is not N and then H, W, and where needed T, C"
    if "T" not in axes and manifest.window != 1:
        return "a window of several pictures needs a T in input.layout"
    if "C" not in axes and channels_of(manifest) != 1:
        return "colour pictures need a C in input.layout"
    if not {len(spec.mean), len(spec.std)} <= {1, channels_of(manifest)}:
        return "input.mean and input.std have one number, or one per channel"
    if 0.0 in spec.std:
        return "input.std must not be 0"
    if spec.dtype == "uint8" and (any(spec.mean) or set(spec.std) != {1.0}):
        return "input.mean and input.std are for float32 inputs"
    return None
