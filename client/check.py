"""Check model folders as the service does when it loads them, and what only several at once show."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from client.errors import ClientError
from shared.contracts import ModelManifest, Profile
from shared.errors import ModelRefused
from shared.models import Model, list_profiles, load_model, load_profile, read_manifest, read_reference

BUILT_IN = Path(__file__).resolve().parent.parent / "models"


@dataclass(frozen=True)
class Check:
    """Of a model, or of a profile ("profiles/<name>"); without `faults` the service would run it."""

    name: str
    version: str = ""
    digest: str = ""
    faults: tuple[str, ...] = ()


def check_models(folder: Path) -> list[Check]:
    """One check per model: `folder` itself where it holds a model.json, else every folder in it that
    does; and then one per profile in its folder `profiles`.

    Heads and profiles may name what lies in the same folder, and what is built in.
    Raises ClientError where there is no model and no profile at all.
    """
    own = (folder / "model.json").exists()
    folders = [folder] if own else sorted(path.parent for path in folder.glob("*/model.json"))
    profiles = () if own else list_profiles(folder)
    if not folders and not profiles:
        raise ClientError(f"{folder} holds no model: there is no model.json in it, nor one folder below.")
    known = _manifests(BUILT_IN) | _manifests(folder.resolve().parent if own else folder)
    return [
        *(_check_model(path, known) for path in folders),
        *(_check_profile(folder, name, known) for name in profiles),
    ]


def _manifests(folder: Path) -> dict[str, ModelManifest]:
    """Those that can be read, by name."""
    found = {}
    for path in sorted(folder.glob("*/model.json")):
        with suppress(ModelRefused):
            manifest = read_manifest(path.parent)
            found[manifest.name] = manifest
    return found


def _check_model(folder: Path, known: Mapping[str, ModelManifest]) -> Check:
    name = folder.resolve().name
    faults: list[str] = []
    try:
        manifest = read_manifest(folder)
    except ModelRefused as refused:
        return Check(name, faults=(refused.message, *_card_faults(folder)))
    if manifest.name != name:
        faults.append(f"model {manifest.name} lies in a folder named {name}")
    model: Model | None = None
    try:
        model = load_model(folder)
    except ModelRefused as refused:
        faults.append(refused.message)
    faults += _head_faults(manifest, model, known)
    try:
        read_reference(folder, manifest)
    except ModelRefused as refused:
        faults.append(refused.message)
    if not manifest.provenance.licence.strip():
        faults.append(f"model {name}: provenance.licence is empty: under which licence are its weights?")
    faults += _card_faults(folder)
    return Check(name, manifest.version, manifest.digest, tuple(faults))


def _card_faults(folder: Path) -> list[str]:
    """CARD.md says what no field can."""
    card = folder / "CARD.md"
    try:
        empty = not card.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return [f"model {folder.resolve().name}: there is no CARD.md that can be read"]
    return [f"model {folder.resolve().name}: CARD.md is empty"] if empty else []


def _head_faults(
    manifest: ModelManifest, model: Model | None, known: Mapping[str, ModelManifest]
) -> list[str]:
    """Whether what a head stands on is there, and fits."""
    if manifest.source is None:
        return []
    said = f"model {manifest.name}: its source {manifest.source}"
    source = known.get(manifest.source)
    if source is None:
        return [f"{said} is neither in the same folder nor built in"]
    if source.embedding is None:
        return [f"{said} has no embedding"]
    if model is not None:
        size = source.embedding.size
        try:
            model.score(np.zeros((1, size), np.float32))
        except ModelRefused as refused:
            return [f"{said} gives embeddings of {size} numbers, which it does not take: {refused.message}"]
    return []


def _check_profile(folder: Path, name: str, known: Mapping[str, ModelManifest]) -> Check:
    try:
        profile = load_profile(folder, name)
    except ModelRefused as refused:
        return Check(f"profiles/{name}", faults=(refused.message,))
    return Check(f"profiles/{name}", faults=tuple(_profile_faults(profile, known)))


def _profile_faults(profile: Profile, known: Mapping[str, ModelManifest]) -> list[str]:
    """What a profile names and no model has."""
    said = f"profile {profile.name}:"
    faults = [f"{said} there is no model {name}" for name in profile.models if name not in known]
    faults += [
        f"{said} run names {name}, which is not among its models"
        for name in profile.run
        if name not in profile.models
    ]
    readers = [(f"signal {signal.name}", signal.model, signal.label) for signal in profile.signals]
    if profile.shots is not None:
        readers.append(("shots", profile.shots.model, profile.shots.label))
    for reader, name, label in readers:
        if name in known and label not in known[name].output.labels:
            faults.append(f"{said} {reader} reads {label!r}, which is no label of {name}")
    return faults
