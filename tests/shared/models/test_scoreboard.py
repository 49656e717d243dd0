"""The scoreboard: text to score by rule, and real reading of drawn boards."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from fractions import Fraction
from functools import cache
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts import ModelManifest
from shared.errors import ModelRefused
from shared.models import LABELS, Grid, load_model
from shared.models.scoreboard import Board, Scoreboard, Text, load_scoreboard, read_board
from shared.settings import ROOT
from tests.support import boards

FOLDER = ROOT / "models" / "scoreboard"
MEDIA = ROOT.parent / "shared" / "media" / "sn-mvfoul"


def line(*parts: str, top: float = 10, left: float = 10) -> list[Text]:
    """Boxes in one row, letters 10 pixels wide and 20 high, 10 pixels between two boxes."""
    out = []
    for part in parts:
        out.append(Text(part, left, top, left + 10 * len(part), top + 20))
        left += 10 * len(part) + 10
    return out


# ---------------------------------------------------------------- text -> board


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (["HOM 2 - 1 AWA 12:34"], Board(2, 1, 754)),
        (["12:34", "HOM", "2-1", "AWA"], Board(2, 1, 754)),
        (["HOM", "2", "1", "AWA", "12:34"], Board(2, 1, 754)),
        (["HOM", "2", "AWA", "1", "12:34"], Board(2, 1, 754)),
        (["HOM", "2", "12:34", "1", "AWA"], Board(2, 1, 754)),
        (["2 1", "12:34"], Board(2, 1, 754)),
        (["FC BAYERN 1:0 BENFICA 21:08"], Board(1, 0, 1268)),
        (["FC BAYERN", "1.0", "BENFICA", "20.56"], Board(1, 0, 1256)),
        (["NOR0-1OST05:29"], Board(0, 1, 329)),
        (["NOR0-10ST05:29"], Board(0, 1, 329)),
        (["NOR0-1", "0ST", "05:29"], Board(0, 1, 329)),
        (["65:35 POR 21 CHL"], Board(2, 1, 3935)),
        (["1 13:07 RMA 0-0 VAL"], Board(0, 0, 787)),
        (["1ST 13:07 RMA 0 3 VAL"], Board(0, 3, 787)),
        (["RMA 10–2 VAL", "88：07"], Board(10, 2, 5287)),
        (["45+2", "HOM 0-0 AWA"], Board(0, 0, 2820)),
        (["45:00 +2:10", "HOM 0-0 AWA"], Board(0, 0, 2830)),
        (["47:10 +4", "HOM 0-0 AWA"], Board(0, 0, 2830)),
        (["67'", "HOM 0-0 AWA"], Board(0, 0, 4020)),
        (["67’", "HOM 0-0 AWA"], Board(0, 0, 4020)),
        (["102:09", "HOM 1-1 AWA"], Board(1, 1, 6129)),
        (["05:29"], Board(None, None, 329)),
        (["05:29", "KOBALT 7"], Board(None, None, 329)),
        (["05:29", "HOM 31-2 AWA"], Board(None, None, 329)),
        (["05:29", "HOM 1-2 AWA", "3-4"], Board(None, None, 329)),
        (["131:00", "HOM 1-2 AWA"], None),
        (["12:60", "HOM 1-2 AWA"], None),
        (["AS:35 POR21CHL"], None),
        (["HOM 2-1 AWA"], None),
        (["4-4-2"], None),
        (["2-112:34"], None),
        ([""], None),
        ([], None),
    ],
)
def test_the_board_is_read_from_one_row(parts: list[str], expected: Board | None) -> None:
    assert expected == read_board(line(*parts))


def test_a_score_in_two_rows_is_read_beside_its_clock() -> None:
    stacked = [*line("NOR", "2"), *line("WES", "1", top=40), *line("77:10", top=25, left=90)]
    assert Board(2, 1, 4630) == read_board(stacked)
    assert Board(2, 1, 4630) == read_board([*line("77:10"), *line("NOR 2-1 WES", top=40)])


def test_a_score_far_from_the_clock_is_none() -> None:
    assert Board(None, None, 754) == read_board([*line("12:34"), *line("HOM 2-1 AWA", top=200)])
    assert Board(None, None, 754) == read_board([*line("12:34"), *line("HOM 2-1 AWA", left=600)])


def test_of_several_clocks_the_one_with_a_score_counts() -> None:
    late = [*line("20:45"), *line("12:34", "HOM 2-1 AWA", top=200)]
    assert Board(2, 1, 754) == read_board(late)
    assert Board(2, 1, 754) == read_board(late[::-1])


names = st.text("ABCDEFGHKLMNPQRTUVW", min_size=2, max_size=9)


@given(
    names, names, st.integers(0, 30), st.integers(0, 30), st.integers(0, 130 * 60),
    st.sampled_from("-–—"), st.booleans(), st.floats(0.5, 4), st.integers(0, 500),
)  # fmt: skip
def test_every_score_and_clock_is_read_in_any_size_and_place(
    home: str, away: str, h: int, a: int, clock_s: int, dash: str, first: bool, scale: float, shift: int
) -> None:
    clock = f"{clock_s // 60:02d}:{clock_s % 60:02d}"
    parts = [home, f"{h}{dash}{a}", away]
    texts = [
        Text(text, *(edge * scale + shift for edge in box))
        for text, *box in line(*([clock, *parts] if first else [*parts, clock]))
    ]
    assert Board(h, a, clock_s) == read_board(texts)


@given(st.lists(st.tuples(st.text(max_size=12), *[st.floats(0, 1000)] * 4), max_size=8))
def test_whatever_is_written_the_board_is_possible_or_none(
    found: list[tuple[str, float, float, float, float]],
) -> None:
    board = read_board(Text(text, min(a, b), min(c, d), max(a, b), max(c, d)) for text, a, b, c, d in found)
    if board is not None:
        assert 0 <= board.clock_s <= 130 * 60
        assert (board.home is None) == (board.away is None)
        assert all(0 <= goals <= 30 for goals in board[:2] if goals is not None)


# ---------------------------------------------------------------- pictures -> board


def manifest() -> ModelManifest:
    return ModelManifest.model_validate_json((FOLDER / "model.json").read_bytes())


@cache
def model() -> Scoreboard:
    return load_scoreboard(FOLDER, manifest())


def small(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """As the model sees it, (1, 1, height, width, 3)."""
    spec = manifest().input
    size = (spec.width or 0, spec.height or 0)
    enlarged = picture.shape[0] < size[1]
    way = cv2.INTER_LINEAR if enlarged else cv2.INTER_AREA
    return np.asarray(cv2.resize(picture, size, interpolation=way), np.uint8)[None, None]


def test_without_rapidocr_the_model_is_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)  # what Python does for a package that is not there
    with pytest.raises(ModelRefused, match="not installed; run `make ocr`"):
        Scoreboard(manifest())


@pytest.mark.parametrize("font", boards.FONTS)
@pytest.mark.parametrize("layout", boards.LAYOUTS)
def test_drawn_boards_are_read(layout: str, font: object) -> None:
    number = boards.LAYOUTS.index(layout) + 2 * boards.FONTS.index(font)
    home, away, clock_s = number % 4, (number + 2) % 5, 61 + 433 * number
    picture = boards.draw(layout, font, home, away, f"{clock_s // 60:02d}:{clock_s % 60:02d}")
    assert [[home, away, clock_s, home + away]] == model().score(small(picture)).tolist()


def test_a_picture_without_a_board_reads_nothing() -> None:
    assert np.isnan(model().score(small(boards.grass()))).all()
    assert (1, len(LABELS)) == model().score(small(boards.grass())).shape


def test_the_same_picture_gives_the_same_bytes_whatever_was_read_before() -> None:
    shown = [small(boards.draw("colon", cv2.FONT_HERSHEY_DUPLEX, k, 1, f"1{k}:30")) for k in range(3)]
    shown = [shown[k] for k in (0, 0, 2, 1, 0)]
    together = model().score(np.concatenate(shown), first=7)
    alone = [load_fresh().score(picture) for picture in shown]
    assert together.tobytes() == np.concatenate(alone).tobytes()
    assert [0, 0, 2, 1, 0] == together[:, 0].tolist()


def load_fresh() -> Scoreboard:
    return Scoreboard(manifest())


def test_nothing_is_fetched_when_it_loads_and_reads(monkeypatch: pytest.MonkeyPatch) -> None:

    def dial(*_: object, **__: object) -> None:
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr(socket.socket, "connect", dial)
    monkeypatch.setattr(socket, "getaddrinfo", dial)
    picture = boards.draw("one line", "pillow", 1, 0, "20:56")
    assert [1, 0, 1256, 1] == load_fresh().score(small(picture))[0].tolist()


def test_other_networks_rules_or_labels_are_refused() -> None:
    with pytest.raises(ModelRefused, match=r"rapidocr .* is .*, not 000000000000"):
        Scoreboard(manifest().model_copy(update={"digest": "0" * 64}))
    other = manifest().output.model_copy(update={"labels": ("home", "away")})
    with pytest.raises(ModelRefused, match="output is home, away, clock_s, goals"):
        Scoreboard(manifest().model_copy(update={"output": other}))
    gray = manifest().input.model_copy(update={"colour": "gray"})
    with pytest.raises(ModelRefused, match="uint8 picture"):
        Scoreboard(manifest().model_copy(update={"input": gray}))


def test_a_golden_sample_that_reads_otherwise_is_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(FOLDER, tmp_path / "scoreboard"))
    path = folder / "sample" / "golden.npz"
    with np.load(path) as archive:
        sample, expected = archive["input"], archive["expected"]
    np.savez_compressed(path, input=sample, expected=expected + np.float32(1))
    with pytest.raises(ModelRefused, match="the golden sample reads"):
        load_scoreboard(folder, manifest())
    path.unlink()
    with pytest.raises(ModelRefused, match="cannot be read"):
        load_scoreboard(folder, manifest())


def test_its_grid_is_the_manifests() -> None:
    assert Grid(Fraction(1, 5), 1, 1, 0) == model().grid(Fraction(25))


def test_the_manifest_is_written_in_full() -> None:
    assert "rapidocr" == json.loads((FOLDER / "model.json").read_text())["engine"]
    assert ("frame", "key", "request") == (manifest().kind, manifest().pictures, manifest().run)


@pytest.mark.media
@pytest.mark.skipif(not MEDIA.exists(), reason="needs the footage beside the checkout")
def test_of_real_boards_no_score_is_read_wrong() -> None:
    truth = {0: (1, 0), 1: (0, 0), 2: (2, 1)}
    read = 0
    for action, expected in truth.items():
        for clip in range(3):
            with av.open(str(MEDIA / f"action_{action}_clip_{clip}.mp4")) as container:
                frames = [
                    np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
                    for frame in islice(container.decode(video=0), 0, None, 50)
                ]
            for frame in frames:
                home, away, _, _ = model().score(small(frame))[0]
                if not np.isnan(home):
                    read += 1
                    assert expected == (home, away)
    assert read >= 9


def test_a_model_of_the_service_is_made_by_the_engine_that_its_manifest_names() -> None:
    board = load_model(FOLDER)
    assert isinstance(board, Scoreboard)
    scored = board.see(small(boards.draw("colon", cv2.FONT_HERSHEY_DUPLEX, 2, 1, "12:34")))
    assert ([[2, 1, 754, 3]], None) == (scored.scores.tolist(), scored.embedding)


def test_naming_the_engine_that_every_other_model_has_changes_no_digest() -> None:
    told = json.loads((ROOT / "models" / "motion" / "model.json").read_text())
    assert "engine" not in told
    plain = ModelManifest.model_validate(told)
    assert plain == ModelManifest.model_validate(told | {"engine": "onnxruntime"})
    assert "1db39ee8" == plain.ref.manifest[:8]
    assert manifest().ref != manifest().model_copy(update={"engine": "onnxruntime"}).ref
