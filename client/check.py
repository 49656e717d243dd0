"""Check model folders as the service does when it loads them, and what they name of one another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from client.errors import ClientError
from shared.contracts import ModelManifest, Profile
from shared.errors import ModelRefused
from shared.models import (
    Model,
    find_models,
    list_profiles,
    load_model,
    load_profile,
    name_fault,
    read_manifest,
    read_reference,
)

BUILT_IN = Path(__file__).resolve().parent.parent / "models"


@dataclass(frozen=True)
class Check:
    """What was found of a model, or of a profile ("profiles/<name>"). Without faults the service runs it."""

    name: str
    version: str = ""
    digest: str = ""
    faults: tuple[str, ...] = ()


def check_models(folder: Path) -> list[Check]:
    """One check per model, then one per profile in the folder `profiles`.

    `folder`: a model's folder, or a folder of them. Heads and profiles may name models of the same folder
    and built-in ones. Raises ClientError where the folder holds neither a model nor a profile.
    """
    own = (folder / "model.json").exists()
    folders = [folder] if own else sorted(path.parent for path in folder.glob("*/model.json"))
    profiles = () if own else list_profiles(folder)
    if not folders and not profiles:
        raise ClientError(f"{folder} holds no model: there is no model.json in it, nor one folder below.")
    beside = find_models(folder.resolve().parent if own else folder)
    known = find_models(BUILT_IN).manifests | beside.manifests
    return [
        *(_check_model(path, known) for path in folders),
        *(_check_profile(folder, name, known) for name in profiles),
    ]


def _check_model(folder: Path, known: Mapping[str, ModelManifest]) -> Check:
    name = folder.resolve().name
    faults: list[str] = []
    try:
        manifest = read_manifest(folder)
    except ModelRefused as refused:
        return Check(name, faults=(refused.message, *_card_faults(folder)))
    if fault := name_fault(manifest, folder.resolve()):
        faults.append(fault)
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
    """A sentence where the folder has no CARD.md with text."""
    card = folder / "CARD.md"
    try:
        empty = not card.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return [f"model {folder.resolve().name}: there is no CARD.md that can be read"]
    return [f"model {folder.resolve().name}: CARD.md is empty"] if empty else []


def _head_faults(
    manifest: ModelManifest, model: Model | None, known: Mapping[str, ModelManifest]
) -> list[str]:
    """A sentence where a head's source is missing, or has no embedding that the head takes."""
    if manifest.source is None:
        return []
    subject = f"model {manifest.name}: its source {manifest.source}"
    source = known.get(manifest.source)
    if source is None:
        return [f"{subject} is neither in the same folder nor built in"]
    if source.embedding is None:
        return [f"{subject} has no embedding"]
    if model is not None:
        size = source.embedding.size
        try:
            model.score(np.zeros((1, size), np.float32))
        except ModelRefused as refused:
            return [
                f"{subject} gives embeddings of {size} numbers, which it does not take: {refused.message}"
            ]
    return []


def _check_profile(folder: Path, name: str, known: Mapping[str, ModelManifest]) -> Check:
    try:
        profile = load_profile(folder, name)
    except ModelRefused as refused:
        return Check(f"profiles/{name}", faults=(refused.message,))
    return Check(f"profiles/{name}", faults=tuple(_profile_faults(profile, known)))


def _profile_faults(profile: Profile, known: Mapping[str, ModelManifest]) -> list[str]:
    """A sentence for each model or label that a profile names and that does not exist."""
    subject = f"profile {profile.name}:"
    faults = [f"{subject} there is no model {name}" for name in profile.models if name not in known]
    faults += [
        f"{subject} run names {name}, which is not among its models"
        for name in profile.run
        if name not in profile.models
    ]
    readers = [(f"signal {signal.name}", signal.model, signal.label) for signal in profile.signals]
    if profile.shots is not None:
        readers.append(("shots", profile.shots.model, profile.shots.label))
    for reader, name, label in readers:
        if name in known and label not in known[name].output.labels:
            faults.append(f"{subject} {reader} reads {label!r}, which is no label of {name}")
    return faults
