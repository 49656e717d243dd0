"""frame-features: the same numbers as the network it was made from, and names that make sense."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest

from models.export import frame_features as source
from models.export import write
from models.export.networks import PACKAGES
from shared.models import Model, load_model
from shared.settings import ROOT

FOLDER = ROOT / "models" / source.NAME
MEDIA = ROOT.parent / "shared" / "media" / "sn-mvfoul"
Array = npt.NDArray[Any]


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(FOLDER)


@pytest.fixture(scope="module")
def session() -> Any:
    return ort.InferenceSession(str(FOLDER / "model.onnx"), providers=["CPUExecutionProvider"])


def _softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def test_it_agrees_with_torch_within_what_float16_weights_cost(session: Any) -> None:
    """The reference was made by torch 2.13.0 from the checkpoint, for the same pictures."""
    with np.load(ROOT / "tests" / "golden" / "frame_features_torch.npz") as archive:
        expected, embedding = archive["logits"], archive["embedding"]
    logits, features = session.run(["logits", "embedding"], {"frames": source.sample(len(expected))})
    assert np.abs(expected - logits).max() < 0.1
    assert np.abs(embedding - features).max() < 0.1
    assert np.abs(_softmax(expected) - _softmax(logits)).max() < 0.01
    assert expected.argmax(axis=1).tolist() == logits.argmax(axis=1).tolist()


def test_the_embedding_is_what_the_classes_are_made_of(session: Any) -> None:
    logits, features = session.run(["logits", "embedding"], {"frames": source.sample(8)})
    assert (8, source.EMBEDDING) == features.shape
    ones = np.column_stack([features, np.ones(len(features))])
    fitted, *_ = np.linalg.lstsq(ones, logits, rcond=None)
    assert np.abs(logits - ones @ fitted).max() < 1e-3
    assert features.min() >= 0
    assert features.max() <= 6  # ReLU6


def test_a_pictures_classes_do_not_depend_on_its_batch(model: Model) -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (9, 1, source.SIZE, source.SIZE, 3), np.uint8)
    expected = model.score(pictures, first=5).tobytes()
    for size in (2, 4):
        parts = [model.score(pictures[at : at + size], first=5 + at) for at in range(0, 9, size)]
        assert expected == np.concatenate(parts).tobytes()


def test_each_class_has_a_name_of_its_own(model: Model) -> None:
    labels = model.manifest.output.labels
    assert source.CLASSES == len(set(labels)) == len(labels)
    assert ("tench", "soccer ball", "rugby ball", "scoreboard", "toilet tissue") == tuple(
        labels[number] for number in (0, 805, 768, 781, 999)
    )


def test_names_are_read_from_either_quotes_and_over_line_ends() -> None:
    lines = [f"    {number}: 'name {number}, other',\n" for number in range(998)]
    lines += ["    998: 'ear, ' +\n        'spike',\n", '    999: "o\'clock"\n']
    names = source.class_names("".join(lines))
    assert ["name 997", "ear", "o'clock"] == names[997:]
    same = source.class_names("".join([*lines[:998], "    998: 'name 1',\n", "    999: 'last'\n"]))
    assert ["name 1 1", "name 1 2"] == [same[1], same[998]]


def test_a_checkpoint_that_would_run_code_is_refused() -> None:
    with pytest.raises(pickle.UnpicklingError, match="Path"):
        source.read_checkpoint(pickle.dumps(Path("x")))


def test_a_view_of_a_storage_is_read_with_its_strides_and_never_outside_it() -> None:
    storage = np.arange(6, dtype=np.float32)
    assert [[0, 3], [1, 4], [2, 5]] == source._tensor(storage, 0, (3, 2), (1, 3)).tolist()
    with pytest.raises(ValueError, match="outside"):
        source._tensor(storage, 1, (3, 2), (1, 3))
    with pytest.raises(EOFError):
        source.read_checkpoint(b"")


def test_building_again_gives_the_committed_model(tmp_path: Path) -> None:
    if not all((PACKAGES / package.archive).exists() for package in (source.WEIGHTS, source.CLASS_NAMES)):
        pytest.skip("the packages are not there: python -m models.export.frame_features fetches them")
    write(source.build(), tmp_path)
    for file in ("model.onnx", "model.json"):
        assert (FOLDER / file).read_bytes() == (tmp_path / source.NAME / file).read_bytes()


@pytest.mark.media
def test_broadcast_soccer_looks_like_balls_and_scoreboards(model: Model) -> None:
    paths = sorted(MEDIA.glob("action_*_clip_0.mp4"))
    if not paths:
        pytest.skip("no footage beside the checkout")
    pictures = []
    for path in paths:
        with av.open(str(path)) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        pictures += [cv2.resize(frame, (224, 224), interpolation=cv2.INTER_AREA) for frame in frames[5::60]]
    scores = model.score(np.stack(pictures)[:, None])
    names = ("scoreboard", "soccer ball", "rugby ball", "ballplayer", "tennis ball", "racket", "croquet ball")
    columns = [model.manifest.output.labels.index(name) for name in names]
    assert scores[:, columns].sum(axis=1).mean() > 0.3  # by chance it would be 0.007
