"""Profiles: the models that a sport runs, and what their score tracks mean.

A profile is the file <models_dir>/profiles/<name>.json: data, no code.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from shared.contracts import Profile
from shared.errors import ModelRefused, UnknownModel


def list_profiles(models_dir: Path) -> tuple[str, ...]:
    """Names of the profile files, sorted; their content is not checked."""
    return tuple(sorted(path.stem for path in (models_dir / "profiles").glob("*.json")))


def load_profile(models_dir: Path, name: str) -> Profile:
    """The profile called `name`. Raises UnknownModel where there is none, ModelRefused where it is faulty."""
    known = list_profiles(models_dir)
    if name not in known:
        raise UnknownModel(f"no profile {name!r}; there are: {', '.join(known) or 'none'}")
    try:
        profile = Profile.model_validate_json((models_dir / "profiles" / f"{name}.json").read_bytes())
    except ValidationError as bad:
        first = bad.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise ModelRefused(f"profile {name}: {where}: {first['msg']}") from bad
    if fault := _fault(profile, name):
        raise ModelRefused(f"profile {name}: {fault}")
    return profile


def _fault(profile: Profile, name: str) -> str | None:
    """The rule that a well-formed profile breaks, as one sentence; None where it breaks none."""
    if profile.name != name:
        return f"the file calls itself {profile.name!r}"
    if profile.grid <= 0:
        return "grid must be positive"
    for kind, names in (
        ("signal", [signal.name for signal in profile.signals]),
        ("rule", [rule.label for rule in profile.rules]),
    ):
        if len(set(names)) != len(names):
            return f"two {kind}s have the same name"
    readers = [(signal.name, signal.model) for signal in profile.signals]
    if profile.shots is not None:
        readers.append(("shots", profile.shots.model))
    for reader, model in readers:
        if model not in profile.models:
            return f"{reader} reads {model!r}, which is not among its models"
    for signal in profile.signals:
        if signal.low == signal.high:
            return f"signal {signal.name}: low and high are the same"
    for rule in profile.rules:
        if not any(weight > 0 for weight in rule.weights.values()):
            return f"rule {rule.label} has no positive weight"
    return None
