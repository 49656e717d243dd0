"""`models check`: the same verdict as the service, before a model is shipped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client.check import check_models
from client.commands import MODELS, app
from client.errors import ClientError
from shared.inference import find_models


def test_the_built_in_models_are_all_accepted() -> None:
    ended = CliRunner().invoke(app, ["models", "check"])
    assert ended.exit_code == 0, ended.output
    assert sorted(find_models(MODELS)) == [line.split()[0] for line in ended.output.splitlines()]


def _edit(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "model.json"
        manifest = json.loads(path.read_text())
        change(manifest)
        path.write_text(json.dumps(manifest))

    return apply


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda folder: (folder / "model.onnx").write_bytes(b"not a graph"), "model.onnx is"),
        (lambda folder: (folder / "model.onnx").unlink(), "cannot be read"),
        (lambda folder: shutil.rmtree(folder / "sample"), "golden sample cannot be read"),
        (_edit(lambda manifest: manifest.update(colour="red")), "colour: Extra inputs"),
        (_edit(lambda manifest: manifest.update(window=3)), "window of 1"),
        (_edit(lambda manifest: manifest.update(name="other")), "folder named pitch-share"),
    ],
)
def test_what_is_wrong_with_a_model_is_said(tmp_path: Path, spoil: Callable[[Path], None], says: str) -> None:
    folder = tmp_path / "pitch-share"
    shutil.copytree(MODELS / "pitch-share", folder)
    spoil(folder)
    ended = CliRunner().invoke(app, ["models", "check", str(tmp_path)])
    assert ended.exit_code == 1
    assert says in ended.output


def test_a_folder_without_models_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="holds no model"):
        check_models(tmp_path)
