"""The floors: the right tensors, run as often as asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.floors import inference_floor, load, picture_floor, prepared, sound_floor
from shared.models import find_models
from shared.settings import ROOT

MODELS = find_models(ROOT / "models").manifests


@pytest.mark.parametrize("name", [name for name, told in MODELS.items() if told.engine == "onnxruntime"])
def test_a_prepared_batch_is_what_the_graph_takes(name: str) -> None:
    model, sizes = load(name)
    batch = prepared(model, sizes)
    assert len(batch) == model.manifest.batch
    assert model.run(batch).shape == (len(batch), len(model.manifest.output.labels))
    assert np.array_equal(batch, prepared(model, sizes))


def test_more_runs_cost_more() -> None:
    few, many = (inference_floor({"motion": runs})["motion"] for runs in (5, 50))
    assert many > 4 * few > 0


def test_decoding_the_picture_costs_more_than_the_sound(match: bytes, tmp_path: Path) -> None:
    path = tmp_path / "match.mp4"
    path.write_bytes(match)
    picture, sound = picture_floor(path), sound_floor(path)
    assert picture.cpu_s > sound.cpu_s > 0
