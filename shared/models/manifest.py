"""Read a model's folder and check what its manifest says."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from shared.contracts import ModelManifest
from shared.errors import ModelRefused


def read_manifest(folder: Path) -> ModelManifest:
    """model.json of one model. Raises ModelRefused that says what is wrong with it."""
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


def find_models(models_dir: Path) -> dict[str, ModelManifest]:
    """Every folder of models_dir that has a model.json, by name. Raises ModelRefused."""
    found = {}
    for path in sorted(models_dir.glob("*/model.json")):
        manifest = read_manifest(path.parent)
        if manifest.name != path.parent.name:
            raise ModelRefused(f"model {manifest.name} lies in a folder named {path.parent.name}")
        found[manifest.name] = manifest
    return found


def channels_of(manifest: ModelManifest) -> int:
    return 1 if manifest.input.colour in ("gray", None) else 3


def _contradiction(manifest: ModelManifest) -> str | None:
    """What the types of the contract cannot express, as one sentence."""
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
