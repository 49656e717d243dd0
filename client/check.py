"""Check model folders as the service does when it loads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from client.errors import ClientError
from shared.errors import ModelRefused
from shared.inference import load_model


@dataclass(frozen=True)
class Check:
    """`fault` is None for a model that the service would run."""

    name: str
    version: str = ""
    digest: str = ""
    fault: str | None = None


def check_models(folder: Path) -> list[Check]:
    """One check per model: `folder` itself where it holds a model.json, else every folder in it that does.

    Raises ClientError where there is no model at all.
    """
    own = (folder / "model.json").exists()
    folders = [folder] if own else sorted(path.parent for path in folder.glob("*/model.json"))
    if not folders:
        raise ClientError(f"{folder} holds no model: there is no model.json in it, nor one folder below.")
    return [_check(path) for path in folders]


def _check(folder: Path) -> Check:
    name = folder.resolve().name
    try:
        manifest = load_model(folder).manifest
        if manifest.name != name:
            raise ModelRefused(f"model {manifest.name} lies in a folder named {name}")
    except ModelRefused as refused:
        return Check(name, fault=refused.message)
    return Check(name, manifest.version, manifest.digest)
