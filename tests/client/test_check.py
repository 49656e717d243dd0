"""`models check`: the same verdict as the service, before a model is shipped."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client.check import check_models
from client.commands import MODELS, app
from client.errors import ClientError
from shared.models import find_models, list_profiles, read_manifest, read_reference


def test_the_built_in_models_are_all_accepted() -> None:
    ended = CliRunner().invoke(app, ["models", "check"])
    assert ended.exit_code == 0, ended.output
    profiles = [f"profiles/{name}" for name in list_profiles(MODELS)]
    assert [*find_models(MODELS).manifests, *profiles] == [
        line.split()[0] for line in ended.output.splitlines()
    ]


def _edit(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "model.json"
        manifest = json.loads(path.read_text())
        change(manifest)
        path.write_text(json.dumps(manifest))

    return apply


def test_without_rapidocr_the_scoreboard_alone_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)  # what Python does for a package that is not there
    for name in ("motion", "scoreboard"):
        shutil.copytree(MODELS / name, tmp_path / name)
    expected = "model scoreboard: it reads text with rapidocr, which is not installed; run `make ocr`"
    checks = {check.name: check.faults for check in check_models(tmp_path)}
    assert {"motion": (), "scoreboard": (expected,)} == checks


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "model.onnx").write_bytes(b"not a graph"), "model.onnx is"),
        (lambda folder: (folder / "model.onnx").unlink(), "cannot be read"),
        (lambda folder: shutil.rmtree(folder / "sample"), "golden sample cannot be read"),
        (_edit(lambda manifest: manifest.update(colour="red")), "colour: Extra inputs"),
        (_edit(lambda manifest: manifest.update(window=3)), "window of 1"),
        (_edit(lambda manifest: manifest.update(name="other")), "folder named pitch-share"),
        (_edit(lambda manifest: manifest.update(reference="../reference.json")), "must lie in the model's"),
        (
            lambda folder: (folder / "sample" / "reference.json").write_text("{}"),
            "reference.json: measured_on",
        ),
        (lambda folder: (folder / "CARD.md").unlink(), "there is no CARD.md"),
    ],
)
def test_what_is_wrong_with_a_model_is_said(tmp_path: Path, spoil: Callable[[Path], None], says: str) -> None:
    folder = tmp_path / "pitch-share"
    shutil.copytree(MODELS / "pitch-share", folder)
    spoil(folder)
    ended = CliRunner().invoke(app, ["models", "check", str(tmp_path)])
    assert ended.exit_code == 1
    assert says in ended.output


def test_a_head_needs_a_source_that_is_there_and_fits(tmp_path: Path) -> None:
    shutil.copytree(MODELS / "play", tmp_path / "play")
    (fine,) = check_models(tmp_path)  # its source is built in
    assert fine.faults == ()
    _edit(lambda manifest: manifest.update(source="frame-features"))(tmp_path / "play")
    (other,) = check_models(tmp_path)
    assert ["frame-features gives embeddings of 1280 numbers" in fault for fault in other.faults] == [True]
    _edit(lambda manifest: manifest.update(source="nothing"))(tmp_path / "play")
    (missing,) = check_models(tmp_path)
    assert missing.faults == ("model play: its source nothing is neither in the same folder nor built in",)


def test_a_profile_may_name_only_what_models_have(tmp_path: Path) -> None:
    shutil.copytree(MODELS / "profiles", tmp_path / "profiles")
    path = tmp_path / "profiles" / "excitement.json"
    document = json.loads(path.read_text())
    document["signals"][0]["label"] = "silence"
    document["models"].append("unheard-of")
    path.write_text(json.dumps(document))
    checks = {check.name: check.faults for check in check_models(tmp_path)}
    assert checks.pop("profiles/excitement") == (
        "profile excitement: there is no model unheard-of",
        f"profile excitement: signal {document['signals'][0]['name']} reads 'silence', which is no label of "
        f"{document['signals'][0]['model']}",
    )
    assert set(checks.values()) == {()}


def test_a_histogram_is_written_beside_the_model_and_named_in_its_manifest(
    tmp_path: Path, match: bytes
) -> None:
    folders = [tmp_path / name for name in ("motion", "crowd-excitement", "camera")]
    for folder in folders:
        shutil.copytree(MODELS / folder.name, folder)
        _edit(lambda manifest: manifest.pop("reference"))(folder)
        (folder / "sample" / "reference.json").unlink()
    before = {folder: read_manifest(folder).ref for folder in folders}
    (tmp_path / "match.mp4").write_bytes(match)
    arguments = [*map(str, folders), "--video", str(tmp_path / "match.mp4"), "--measured-on", "a drawn match"]
    ended = CliRunner().invoke(app, ["models", "histogram", *arguments])
    assert ended.exit_code == 0, ended.output
    assert [str(folder / "sample" / "reference.json") for folder in folders] == ended.output.splitlines()
    for folder in folders:
        manifest = read_manifest(folder)
        assert before[folder] == manifest.ref  # its scores stay valid
        reference = read_reference(folder, manifest)
        assert reference is not None
        assert "a drawn match" == reference.measured_on
        assert set(manifest.output.labels) == {histogram.label for histogram in reference.histograms}
    assert all(check.faults == () for check in check_models(tmp_path))


def test_footage_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    shutil.copytree(MODELS / "motion", tmp_path / "motion")
    (tmp_path / "notes.mp4").write_text("no video")
    arguments = [str(tmp_path / "motion"), "--video", str(tmp_path / "notes.mp4")]
    ended = CliRunner().invoke(app, ["models", "histogram", *arguments])
    assert ended.exit_code == 1
    assert "none of the container formats" in ended.output


def test_a_folder_without_models_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="holds no model"):
        check_models(tmp_path)
