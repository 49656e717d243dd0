"""A model's folder is believed only where manifest, graph and golden sample agree."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.export import Build, parse, provenance, write
from shared.errors import ModelRefused
from shared.models import find_models, load_model, read_manifest
from tests.support.pictures import clip_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    clip_model(tmp_path)
    return tmp_path / "tiny-clip"


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "model.json"
    manifest = json.loads(path.read_text())
    for key, value in changes.items():
        manifest[key] = manifest[key] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(manifest))


def test_a_good_folder_loads_once(folder: Path) -> None:
    assert load_model(folder) is load_model(folder)
    assert {"tiny-clip": read_manifest(folder)} == find_models(folder.parent).manifests


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"digest": "0" * 64}, "model.onnx is .*, not 000000000000"),
        ({"window": 7}, "which is not NTCHW of the manifest"),
        ({"batch": 5}, "which is not NTCHW of the manifest"),
        ({"input": {"name": "frames"}}, "the graph's inputs are \\['clip'\\]"),
        (
            {"input": {"dtype": "uint8", "mean": [0], "std": [1]}},
            "input is tensor\\(float\\), not uint8",
        ),
        ({"input": {"width": 7}}, "which is not NTCHW of the manifest"),
        ({"input": {"layout": "NTHW"}}, "which is not NTHW of the manifest"),
        ({"input": {"layout": "NCHW"}}, "needs a T in input.layout"),
        ({"input": {"colour": "rgb", "layout": "NTHW"}}, "need a C in input.layout"),
        ({"input": {"layout": "NTTHW"}}, "'NTTHW' is not N and then"),
        ({"input": {"mean": [1, 2]}}, "one number, or one per channel"),
        ({"input": {"std": [0]}}, "must not be 0"),
        ({"input": {"dtype": "uint8"}}, "are for float32 inputs"),
        ({"output": {"name": "scores"}}, "without 'scores'"),
        ({"output": {"labels": ["a", "b"]}}, "not \\(windows, 2 labels\\)"),
        ({"golden": {"tolerance": -1.0}}, "the golden sample is off by 0"),
        ({"golden": {"file": "../x.npz"}}, "must lie in the model's folder"),
        ({"golden": {"file": "none.npz"}}, "cannot be read"),
        ({"anchor": 8}, "model.json: manifest: .*anchor must lie inside the window"),
        ({"extra": 1}, "model.json: extra: "),
    ],
)
def test_a_folder_that_contradicts_itself_is_refused(
    folder: Path, changes: dict[str, Any], message: str
) -> None:
    edit(folder, **changes)
    with pytest.raises(ModelRefused, match=message):
        load_model(folder)


def test_missing_and_broken_files_are_refused(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"no graph")
    edit(folder, digest=hashlib.sha256(b"no graph").hexdigest())
    with pytest.raises(ModelRefused, match=r"model\.onnx does not load"):
        load_model(folder)
    (folder / "model.onnx").unlink()
    with pytest.raises(ModelRefused, match=r"model\.onnx cannot be read"):
        load_model(folder)
    (folder / "model.json").unlink()
    with pytest.raises(ModelRefused, match=r"model\.json cannot be read"):
        load_model(folder)


def test_a_graph_that_changed_its_mind_is_refused(folder: Path) -> None:
    path = folder / "sample" / "golden.npz"
    with np.load(path) as archive:
        sample, expected = archive["input"], archive["expected"]
    np.savez(path, input=sample, expected=expected + np.float32(0.01))
    with pytest.raises(ModelRefused, match=r"the golden sample is off by 0\.0"):
        load_model(folder)


def test_a_model_must_bear_the_name_of_its_folder(folder: Path) -> None:
    folder.rename(folder.parent / "other")
    assert ({}, {"other": "model tiny-clip lies in a folder named other"}) == find_models(folder.parent)


def _rgb_model(folder: Path, body: str, **spec: Any) -> Path:
    graph = parse(
        f"rgb (float[N, 3, 2, 2] x) => (float[N, 3] y) {{ {body} }}",
        {},
    )
    manifest = {
        "name": "rgb", "version": "1", "kind": "frame", "rate": "1/1", "window": 1, "stride": 1, "anchor": 0,
        "batch": 4,
        "input": {"name": "x", "layout": "NCHW", "width": 2, "height": 2, "colour": "rgb"} | spec,
        "output": {"name": "y", "labels": ["r", "g", "b"]},
        "provenance": provenance("made up for a test"),
    }  # fmt: skip
    write(Build(graph, manifest, np.ones((4, 3, 2, 2), np.float32)), folder)
    return folder / "rgb"


def test_pictures_are_normalised_by_channel_and_laid_out_as_the_manifest_says(tmp_path: Path) -> None:
    folder = _rgb_model(
        tmp_path, "y = ReduceMean <axes=[2, 3], keepdims=0> (x)", mean=[10, 20, 30], std=[1, 2, 4]
    )
    windows = np.broadcast_to(np.array([11, 24, 42], np.uint8), (6, 1, 2, 2, 3))
    assert [[1.0, 2.0, 3.0]] * 6 == load_model(folder).score(windows).tolist()


def test_a_score_that_is_not_a_number_is_refused(tmp_path: Path) -> None:
    folder = _rgb_model(tmp_path, "s = ReduceMean <axes=[2, 3], keepdims=0> (x)\n y = Log (s)")
    model = load_model(folder)
    windows = np.ones((3, 1, 2, 2, 3), np.uint8)
    assert [[0.0] * 3] * 3 == model.score(windows, first=6).tolist()
    windows[1] = 0
    with pytest.raises(ModelRefused, match="the score of window 7 is NaN or infinite"):
        model.score(windows, first=6)
