"""local.settings.sample.json names every setting, and no setting that does not exist."""

from __future__ import annotations

import json

from infra.k8s.check import ROOT
from shared.settings import Settings

VALUES: dict[str, str] = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
OWN_NAMES = {"PUBLIC_BASE_URL": "public_base_url", "AzureWebJobsStorage": "storage"}


def test_every_setting_is_named_or_explained() -> None:
    named = " ".join(VALUES)
    missing = [
        name
        for name in Settings.model_fields
        if f"MATCHCUT_{name.upper()}" not in named and name not in OWN_NAMES.values()
    ]
    assert [] == missing


def test_the_values_are_the_defaults() -> None:
    given = {
        OWN_NAMES.get(name, name.removeprefix("MATCHCUT_").lower()): value
        for name, value in VALUES.items()
        if name in OWN_NAMES or name.startswith("MATCHCUT_")
    }
    assert given.keys() <= Settings.model_fields.keys()
    assert Settings(storage="UseDevelopmentStorage=true") == Settings.model_validate(given)


def test_the_sample_holds_no_secret() -> None:
    text = " ".join(VALUES.values())
    assert not any(word in text for word in ("AccountKey", "SharedAccessSignature", "Password="))
