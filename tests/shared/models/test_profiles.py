from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from shared.contracts import ModelManifest
from shared.errors import ModelRefused, UnknownModel
from shared.models import list_profiles, load_profile
from shared.settings import ROOT

Change = Callable[[dict[str, Any]], Any]
SOCCER = ROOT / "models" / "profiles" / "soccer.json"


def stored(folder: Path, text: str, name: str = "soccer") -> Path:
    (folder / "profiles").mkdir()
    (folder / "profiles" / f"{name}.json").write_text(text, encoding="utf-8")
    return folder


def test_a_profile_keeps_its_seconds_as_decimals(tmp_path: Path) -> None:
    text = SOCCER.read_text(encoding="utf-8").replace('"pre_roll_s": 6', '"pre_roll_s": 0.1')
    assert Decimal("0.1") == load_profile(stored(tmp_path, text), "soccer").cut.pre_roll_s


def test_profiles_are_listed_by_name_and_nothing_else_is_one(tmp_path: Path) -> None:
    assert () == list_profiles(tmp_path)
    stored(tmp_path, "{}", "tennis")
    (tmp_path / "profiles" / "hockey.json").touch()
    (tmp_path / "profiles" / "hockey.md").touch()
    assert ("hockey", "tennis") == list_profiles(tmp_path)


@pytest.mark.parametrize("name", ["curling", "../profiles/soccer", "", "soccer.json"])
def test_an_unknown_profile_is_named_beside_those_there_are(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnknownModel, match="there are: soccer"):
        load_profile(stored(tmp_path, SOCCER.read_text(encoding="utf-8")), name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.update(name="rugby"), "calls itself 'rugby'"),
        (lambda p: p.update(grid="0/1"), "grid must be positive"),
        (lambda p: p.update(colour="red"), "colour: Extra inputs"),
        (lambda p: p["signals"][0].update(low=4), "signal crowd-background: low and high are the same"),
        (lambda p: p["signals"].append(p["signals"][0]), "two signals have the same name"),
        (lambda p: p["rules"].append(p["rules"][0]), "two rules have the same name"),
        (lambda p: p["models"].remove("play"), "live-wide reads 'play'"),
        (lambda p: p["models"].remove("shot-change"), "shots reads 'shot-change'"),
        (lambda p: p["rules"][1].update(weights={"off-pitch": -1}), "rule shot has no positive weight"),
        (lambda p: p["rules"][1].update(weights={"roar": 1}), "weighs unknown signals: roar"),
        (lambda p: p["rules"][0].update(release=0.9), "release is above threshold"),
        (
            lambda p: p["rules"][0].update(needs=["players"]),
            "needs what it does not weigh: players",
        ),
    ],
)
def test_a_profile_that_cannot_be_spotted_is_refused(tmp_path: Path, change: Change, message: str) -> None:
    profile = json.loads(SOCCER.read_text(encoding="utf-8"))
    change(profile)
    with pytest.raises(ModelRefused, match=f"^profile soccer: .*{message}"):
        load_profile(stored(tmp_path, json.dumps(profile)), "soccer")


@pytest.mark.parametrize("text", ["", "[]", '{"name": "soccer"'])
def test_a_file_that_is_no_profile_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ModelRefused, match=r"^profile soccer: file: "):
        load_profile(stored(tmp_path, text), "soccer")


@pytest.mark.parametrize("name", list_profiles(ROOT / "models"))
def test_every_signal_of_a_profile_reads_a_label_that_its_model_gives(name: str) -> None:
    profile = load_profile(ROOT / "models", name)
    readers = [(signal.model, signal.label) for signal in profile.signals]
    if profile.shots is not None:
        readers.append((profile.shots.model, profile.shots.label))
    labels = {
        model: ModelManifest.model_validate_json(
            (ROOT / "models" / model / "model.json").read_bytes()
        ).output.labels
        for model in profile.models
    }
    assert [] == [(model, label) for model, label in readers if label not in labels[model]]


@pytest.mark.parametrize("name", list_profiles(ROOT / "models"))
def test_every_profile_says_why_its_numbers_are_what_they_are(name: str) -> None:
    reasons = (ROOT / "models" / "profiles" / f"{name}.md").read_text(encoding="utf-8")
    assert reasons.startswith(f"# {name}: why each number\n")
    for rule in load_profile(ROOT / "models", name).rules:
        assert f"## Rule `{rule.label}`" in reasons
