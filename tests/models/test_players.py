"""players: counts of figures that are drawn, and of people on real footage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest

from models.export import players as source
from models.export import write
from models.export.networks import PACKAGES
from shared.inference import Model, load_model
from shared.settings import ROOT

FOLDER = ROOT / "models" / source.NAME
MEDIA = ROOT.parent / "shared" / "media" / "sn-mvfoul"
RED, BLUE, WHITE = (40, 40, 200), (200, 60, 40), (235, 235, 235)  # BGR
Array = npt.NDArray[Any]


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(FOLDER)


@pytest.fixture(scope="module")
def session() -> Any:
    return ort.InferenceSession(str(FOLDER / "model.onnx"), providers=["CPUExecutionProvider"])


def _grass() -> Array:
    return np.full((source.HEIGHT, source.WIDTH, 3), (60, 130, 70), np.uint8)


def _seen(model: Model, *pictures: Array) -> list[dict[str, float]]:
    scores = model.score(np.stack(pictures)[:, None])
    return [dict(zip(model.manifest.output.labels, row.tolist(), strict=True)) for row in scores]


def _columns(seen: dict[str, float]) -> Array:
    return np.array([seen[f"column_{number}"] for number in range(source.COLUMNS)])


def test_nobody_is_on_empty_grass(model: Model) -> None:
    assert [0.0] * 14 == list(_seen(model, _grass())[0].values())


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_drawn_figures_are_counted(model: Model, count: int) -> None:
    picture = _grass()
    for number in range(count):
        source.draw_figure(picture, 40 + 54 * number, 200, 80, (RED, BLUE, WHITE)[number % 3])
    seen = _seen(model, picture)[0]
    assert pytest.approx(count, abs=0.3) == seen["player_count"]
    assert pytest.approx(seen["player_count"], abs=1e-4) == _columns(seen).sum()


@pytest.mark.parametrize("height", [40, 80, 160, 250])
def test_heights_are_shares_of_the_picture(model: Model, height: int) -> None:
    picture = _grass()
    source.draw_figure(picture, 200, 270, height, BLUE)
    seen = _seen(model, picture)[0]
    assert pytest.approx(height / source.HEIGHT, rel=0.12) == seen["tallest"]
    assert pytest.approx(seen["mean_height"], abs=1e-4) == seen["tallest"]


def test_density_follows_a_figure_from_left_to_right(model: Model) -> None:
    places = range(60, source.WIDTH - 60, 56)
    pictures = [_grass() for _ in places]
    for x, picture in zip(places, pictures, strict=True):
        source.draw_figure(picture, x, 200, 90, RED)
    for x, seen in zip(places, _seen(model, *pictures), strict=True):
        columns = _columns(seen)
        middle = (columns * (np.arange(10) + 0.5) / 10).sum() / columns.sum()
        assert pytest.approx(x / source.WIDTH, abs=0.015) == middle


def test_spread_is_the_deviation_of_where_they_stand(model: Model) -> None:
    near, far = _grass(), _grass()
    for picture, places in ((near, (200, 312)), (far, (56, 456))):
        for x in places:
            source.draw_figure(picture, x, 200, 90, WHITE)
    seen = [one["spread"] for one in _seen(model, near, far)]
    assert pytest.approx([56 / source.WIDTH, 200 / source.WIDTH], abs=0.01) == seen


def _greedy(boxes: Array) -> list[bool]:
    """Non-maximum suppression as it is usually written; boxes (n, 4), best first."""
    kept: list[int] = []
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for number, box in enumerate(boxes):
        low, high = np.maximum(boxes[kept, :2], box[:2]), np.minimum(boxes[kept, 2:], box[2:])
        common = (high - low).clip(0).prod(axis=1)
        if not (common > source.OVERLAP * (areas[kept] + areas[number] - common)).any():
            kept.append(number)
    return [number in kept for number in range(len(boxes))]


def test_suppression_in_rounds_keeps_what_the_greedy_one_keeps(session: Any) -> None:
    with np.load(FOLDER / "sample" / "golden.npz") as archive:
        pictures = archive["input"]
    for scores, boxes, kept in zip(
        *session.run(["score", "boxes", "kept"], {"frames": pictures}), strict=True
    ):
        counted = scores > source.DOUBTFUL
        assert _greedy(boxes.T[counted]) == (kept[counted] > 0).tolist()
        assert (np.diff(scores) <= 0).all()


def test_the_labels_are_what_the_boxes_say(model: Model, session: Any) -> None:
    with np.load(FOLDER / "sample" / "golden.npz") as archive:
        pictures = archive["input"]
    raw = session.run(["players", "score", "kept", "boxes"], {"frames": pictures})
    for labels, scores, kept, (left, top, right, bottom) in zip(*raw, strict=True):
        weights = np.clip((scores - source.DOUBTFUL) / (source.SURE - source.DOUBTFUL), 0, 1) * kept
        count = max(weights.sum(), 1e-3)
        heights, x = (bottom - top) / source.HEIGHT, (left + right) / 2 / source.WIDTH
        mean = (x * weights).sum() / count
        spread = np.sqrt((weights * (x - mean) ** 2).sum() / count)
        expected = [weights.sum(), (heights * weights).sum() / count, (heights * weights).max(), spread]
        assert pytest.approx(expected, abs=1e-3) == labels[:4].tolist()


def test_a_pictures_people_do_not_depend_on_its_batch(model: Model) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (6, 1, source.HEIGHT, source.WIDTH, 3), np.uint8)
    for number, picture in enumerate(pictures):
        source.draw_figure(picture[0], 80 * number + 40, 250, 120, RED)
    expected = model.score(pictures, first=3)
    assert expected[:, 0].max() > 0
    parts = [model.score(pictures[at : at + 1], first=3 + at) for at in range(6)]
    assert expected.tobytes() == np.concatenate(parts).tobytes()


def test_building_again_gives_the_committed_model(tmp_path: Path) -> None:
    if not (PACKAGES / source.WEIGHTS.archive).exists():
        pytest.skip("the package is not there: python -m models.export.players fetches it")
    write(source.build(), tmp_path)
    for file in ("model.onnx", "model.json"):
        assert (FOLDER / file).read_bytes() == (tmp_path / source.NAME / file).read_bytes()


def _frames(name: str) -> list[Array]:
    path = MEDIA / name
    if not path.exists():
        pytest.skip("no footage beside the checkout")
    size = (source.WIDTH, source.HEIGHT)
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]
    return [np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA)) for frame in frames]


@pytest.mark.media
def test_the_players_of_wide_pictures_are_counted_within_a_third_of_the_eyes_count(model: Model) -> None:
    by_eye = {(0, 10): 18, (0, 70): 15, (1, 10): 21, (1, 70): 18, (2, 10): 18, (2, 70): 11}
    pictures = [_frames(f"action_{action}_clip_0.mp4")[frame] for action, frame in by_eye]
    seen = [one["player_count"] for one in _seen(model, *pictures)]
    errors = np.abs(np.array(seen) - np.array(list(by_eye.values()))) / np.array(list(by_eye.values()))
    assert errors.max() < 0.36, seen
    assert errors.mean() < 0.2, seen


@pytest.mark.media
def test_close_ups_have_taller_people_than_the_main_camera(model: Model) -> None:
    means = {
        clip: np.mean([one["tallest"] for one in _seen(model, *_frames(f"action_{clip}.mp4")[5::60])])
        for clip in ("0_clip_0", "1_clip_0", "2_clip_0", "0_clip_1", "1_clip_2", "2_clip_2")
    }
    wide = max(means[clip] for clip in means if clip.endswith("clip_0"))
    close = min(means[clip] for clip in means if not clip.endswith("clip_0"))
    assert wide < 0.3 < 0.5 < close
