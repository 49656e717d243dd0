"""The engine rapidocr: score and match clock, read from the scoreboard in a broadcast's pictures.

`read_board` is pure. `Scoreboard` reads text with the optional package rapidocr. That is a pipeline of
two networks, so the model's folder holds no model.onnx.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from shared.contracts import ModelManifest
from shared.errors import ModelRefused
from shared.models.tracks import Grid, Scored, Scores

MOST_GOALS = 30
MOST_MINUTES = 130
"""Two halves and extra time of 120 minutes, with time added."""
READING = "board-1"
"""Version of the rules below and of how pictures are prepared; it changes where one may read differently."""
_BAND = Fraction(1, 6)
"""Share of the picture's height, from the top, in which a board is looked for."""
_FILES = ("PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx")


# ---------------------------------------------------------------- text -> board


class Text(NamedTuple):
    """A line of text and its upright box, in pixels of any picture, y downwards."""

    text: str
    left: float
    top: float
    right: float
    bottom: float


class Board(NamedTuple):
    """Goals of both sides, None where no score was read; seconds on the match clock."""

    home: int | None
    away: int | None
    clock_s: int


@dataclass(frozen=True)
class _Token:
    """A piece of text with a meaning, and where it stands, in pixels.

    kind: c clock, p pair (a score in one piece), n number, w word, + time added with seconds.
    """

    kind: str
    values: tuple[int, ...]
    left: float
    right: float
    middle: float
    height: float


_DASHES = str.maketrans(dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212~\u4e00\u30fc", "-"))
_ZERO_IN_A_NAME = re.compile(r"(?<=\d)0(?=[^\W\d]{2})|(?<![\d:.\-])0(?=[^\W\d]{2})")
"""A zero that touches the name behind it is the name's letter O, as in "0-10ST" for "0-1 OST"."""
_TOKEN = re.compile(
    r"""
    \+\s?(?P<added_m>\d{1,2})[:.](?P<added_s>[0-5]\d)(?!\d)
  | \+\s?\d{1,2}'?                                             # announced, not played: no number either
  | (?<![\d:.-])(?P<base>45|90|105|120)\s?\+\s?(?P<over>\d{1,2})(?![\d:.])'?
  | (?<![\d:.-])(?P<m>\d{1,3})\s?[:.;]\s?(?P<s>[0-5]\d)(?![\d:.-])
  | (?<![\d:.-])(?P<minute>\d{1,3})'
  | (?<![\d:.-])(?P<home>\d{1,2})\s?[-:.]\s?(?P<away>\d{1,2})(?![\d:.-])
  | \b[1-4](?:ST|ND|RD|TH|H|T)\b                               # number of the half
  | (?<![\d:.-])(?P<number>\d{1,2})(?![\d:.-])
  | (?P<word>[^\W\d_]{2,})
    """,
    re.VERBOSE,
)
_REACH = 20
"""Farthest that a score may stand beside the clock, in heights of the clock's text."""


def read_board(texts: Iterable[Text]) -> Board | None:
    """The match clock and the score beside it; None without a clock. Without a score, home and away are None.

    The clock is m:ss, 45+2, 45:00 +2:10 or 67'. The score stands in the clock's row or in one of the two
    rows above or below: "2-1", "2:1", two numbers between or behind two names, or one number above the other.
    Of two rows with a score, the one nearer to the clock counts. A score without a clock does not count:
    boards show both, advertisements and captions seldom do. More than MOST_GOALS goals are no score, and
    more than MOST_MINUTES minutes no clock.
    """
    rows = _rows([token for text in texts for token in _tokens(text)])
    clocks = [(token, number) for number, row in enumerate(rows) for token in row if token.kind == "c"]
    found = []
    for clock, number in clocks:
        near = [
            [token for token in row if _gap(token, clock) <= _REACH * clock.height]
            for row in rows[max(0, number - 2) : number + 3]
            if abs(row[0].middle - clock.middle) <= 2.5 * clock.height
        ]
        near.sort(key=lambda row: abs(row[0].middle - clock.middle) if row else 0)
        score = _score(near)
        found.append((score is None, clock, score))
    if not found:
        return None
    # One with a score first; of equals the topmost, then the leftmost.
    _, clock, score = min(found, key=lambda candidate: candidate[0])
    home, away = score or (None, None)
    return Board(home, away, clock.values[0])


def _tokens(text: Text) -> list[_Token]:
    """A text's tokens in reading order. Each gets the place of its letters, as if all were equally wide."""
    plain = unicodedata.normalize("NFKC", text.text).translate(_DASHES).replace("\u2019", "'").upper()
    plain = _ZERO_IN_A_NAME.sub("O", plain)
    per_letter = (text.right - text.left) / max(1, len(plain))
    found: list[_Token] = []
    for match in _TOKEN.finditer(plain):
        part = {name: value for name, value in match.groupdict().items() if value is not None}
        kind, values = _meaning(part)
        if kind == "+" and found and found[-1].kind == "c":
            values = (found[-1].values[0] + values[0],)
            kind = "c" if values[0] <= MOST_MINUTES * 60 else ""
            found.pop()
        if kind in ("", "+"):
            continue
        left, right = (text.left + at * per_letter for at in match.span())
        found.append(_Token(kind, values, left, right, (text.top + text.bottom) / 2, text.bottom - text.top))
    return found


def _meaning(part: dict[str, str]) -> tuple[str, tuple[int, ...]]:
    """Kind and values of one match of _TOKEN; kind "" for a match without a meaning."""
    if "word" in part:
        return "w", ()
    number = {name: int(value) for name, value in part.items()}
    if "added_m" in number:
        return "+", (number["added_m"] * 60 + number["added_s"],)
    if "number" in number:
        # Kept as digits: "21" between two names is 2-1 whose dash was lost.
        return "n", tuple(int(digit) for digit in part["number"])
    if "home" in number:
        pair = (number["home"], number["away"])
        return ("p", pair) if max(pair) <= MOST_GOALS else ("", ())
    minutes = number.get("base", 0) + number.get("over", 0) + number.get("m", 0) + number.get("minute", 0)
    seconds = minutes * 60 + number.get("s", 0)
    return ("c", (seconds,)) if part and seconds <= MOST_MINUTES * 60 else ("", ())


def _rows(tokens: Sequence[_Token]) -> list[list[_Token]]:
    """The tokens in rows from top to bottom, each row from left to right."""
    rows: list[list[_Token]] = []
    for token in sorted(tokens, key=lambda token: (token.middle, token.left)):
        if rows and abs(token.middle - rows[-1][0].middle) <= 0.5 * max(token.height, rows[-1][0].height):
            rows[-1].append(token)
        else:
            rows.append([token])
    return [sorted(row, key=lambda token: token.left) for row in rows]


def _gap(token: _Token, other: _Token) -> float:
    return max(token.left - other.right, other.left - token.right, 0.0)


def _score(rows: Sequence[Sequence[_Token]]) -> tuple[int, int] | None:
    """(home, away) from the rows around a clock, nearest first; None where no row shows one score."""
    stacked = []
    for row in rows:
        pairs = [token for token in row if token.kind == "p"]
        if len(pairs) == 1:
            return pairs[0].values[0], pairs[0].values[1]
        if pairs:
            return None  # several scores, and nothing says which is the match's
        kinds = "".join(token.kind for token in row)
        for pattern in ("wnc?nw", "wnw+n", "^c?nnc?$"):
            if match := re.search(pattern, kinds):
                home, away = [token for token in row[slice(*match.span())] if token.kind == "n"]
                return _goals(home, away)
        if match := re.search("wnw", kinds):
            digits = row[match.start() + 1].values
            return (digits[0], digits[1]) if len(digits) == 2 else None
        if re.search("^c?w+nc?$", kinds):
            stacked.append(next(token for token in row if token.kind == "n"))
    if len(stacked) == 2:
        upper, lower = sorted(stacked, key=lambda token: token.middle)
        if _gap(upper, lower) <= upper.height:
            return _goals(upper, lower)
    return None


def _goals(home: _Token, away: _Token) -> tuple[int, int] | None:
    goals = tuple(int("".join(map(str, token.values))) for token in (home, away))
    return (goals[0], goals[1]) if max(goals) <= MOST_GOALS else None


# ---------------------------------------------------------------- pictures -> board


class Scoreboard:
    """A Model (shared.models.model) that reads the boards of single pictures.

    The same picture gives the same scores, whatever was read before it: one thread, one picture a run.
    """

    def __init__(self, manifest: ModelManifest, threads: int = 1) -> None:
        """Raises ModelRefused where rapidocr is missing or differs from the manifest's digest, or where the
        manifest asks for inputs or outputs that this engine lacks."""
        self.manifest = manifest
        spec = manifest.input
        if manifest.output.labels != LABELS or manifest.output.activation != "none" or manifest.embedding:
            raise self._refused(f"output is {', '.join(LABELS)}, with the activation none and no embedding")
        declared = (spec.layout, spec.dtype, spec.colour, manifest.kind, manifest.batch)
        if declared != ("NHWC", "uint8", "bgr", "frame", 1):
            raise self._refused("rapidocr takes one uint8 picture a run, NHWC and bgr")
        assert spec.height is not None  # the contract sees to it
        self._rows = 32 * -(-int(spec.height * _BAND) // 32)  # the detector halves it five times
        self._last: tuple[bytes, Scores] | None = None
        self._engine = self._start(threads)

    def _start(self, threads: int) -> Any:
        try:
            package = import_module("rapidocr")
            installed = version("rapidocr")
        except (ImportError, PackageNotFoundError) as missing:
            raise self._refused(
                "it reads text with rapidocr, which is not installed; run `make ocr`"
            ) from missing
        folder = Path(str(package.__file__)).parent / "models"
        try:
            actual = digest_of(folder, installed)
        except OSError as bad:
            raise self._refused(f"rapidocr's own models cannot be read ({bad.strerror})") from bad
        if actual != self.manifest.digest:
            raise self._refused(
                f"rapidocr {installed} with its models is {actual[:12]}, not {self.manifest.digest[:12]}; "
                "run `make ocr`"
            )
        settings = {
            # Without a path for each network, the package would download its own.
            "Det.model_path": str(folder / _FILES[0]),
            "Rec.model_path": str(folder / _FILES[1]),
            "Global.use_cls": False,  # finds text that stands upside down, and no board does
            "Global.log_level": "critical",
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            # The band as it is: neither enlarged until its short side is 736, nor padded.
            "Det.limit_type": "max",
            "Det.limit_side_len": 4096,
            "Global.max_side_len": 4096,
            "Global.width_height_ratio": -1,
        }
        try:
            return package.RapidOCR(params=settings)
        except Exception as bad:  # it has a class of its own for each kind of failure
            raise self._refused(f"rapidocr does not start: {_one_line(bad)}") from bad

    def grid(self, rate: Fraction) -> Grid:
        """The grid of its windows. `rate`: frames per second of the timeline; only "native" models use it."""
        own = rate if self.manifest.rate == "native" else Fraction(self.manifest.rate)
        return Grid(own, self.manifest.window, self.manifest.stride, self.manifest.anchor)

    def see(self, windows: npt.NDArray[Any], first: int = 0) -> Scored:
        """Read uint8 BGR (n, 1, height, width, 3) as float32 (n, 4): columns as in LABELS, NaN for unread.

        Raises ModelRefused where rapidocr fails.
        """
        return Scored(self.run(windows[:, 0]), None)

    def score(self, windows: npt.NDArray[Any], first: int = 0) -> Scores:
        """The scores that `see` gives: float32 (n, 4)."""
        return self.see(windows, first).scores

    def run(self, tensor: npt.NDArray[Any]) -> Scores:
        """Scores float32 (n, 4), as those of `score`, of uint8 BGR (n, height, width, 3)."""
        scores = np.empty((len(tensor), len(LABELS)), np.float32)
        for row, picture in zip(scores, tensor, strict=True):
            row[:] = self._row(np.ascontiguousarray(picture[: self._rows]))
        return scores

    def _row(self, band: npt.NDArray[np.uint8]) -> Scores:
        pixels = band.tobytes()
        if self._last is None or self._last[0] != pixels:  # key frames stay for several samples
            board = read_board(self.texts(band))
            row = np.full(len(LABELS), np.nan, np.float32)
            if board is not None:
                row[2] = board.clock_s
                if board.home is not None and board.away is not None:
                    row[[0, 1, 3]] = board.home, board.away, board.home + board.away
            self._last = (pixels, row)
        return self._last[1]

    def texts(self, picture: npt.NDArray[np.uint8]) -> list[Text]:
        """All text in a picture, uint8 BGR (height, width, 3). Raises ModelRefused where rapidocr fails."""
        try:
            found = self._engine(picture)
        except Exception as bad:  # see _start
            raise self._refused(f"rapidocr does not run: {_one_line(bad)}") from bad
        if found.boxes is None or found.txts is None:
            return []
        return [
            Text(text, *(float(edge) for edge in (*box.min(axis=0), *box.max(axis=0))))
            for text, box in zip(found.txts, found.boxes, strict=True)
        ]

    def check_golden(self, folder: Path) -> None:
        """Read the golden sample: its `input`, uint8 (n, height, width, 3), must give exactly its `expected`,
        with NaN in the same places. Raises ModelRefused."""
        try:
            with np.load(folder / self.manifest.golden.file, allow_pickle=False) as archive:
                sample, expected = archive["input"], archive["expected"]
        except (OSError, KeyError, ValueError) as bad:
            raise self._refused(f"the golden sample cannot be read: {_one_line(bad)}") from bad
        if not np.array_equal(actual := self.run(sample), expected, equal_nan=True):
            raise self._refused(f"the golden sample reads {actual.tolist()}, not {expected.tolist()}")

    def _refused(self, what: str) -> ModelRefused:
        return ModelRefused(f"model {self.manifest.name}: {what}")


def load_scoreboard(folder: Path, manifest: ModelManifest, threads: int = 1) -> Scoreboard:
    """The model, after a check of rapidocr, its networks and the golden sample. Raises ModelRefused."""
    board = Scoreboard(manifest, threads)
    board.check_golden(folder)
    return board


def digest_of(folder: Path, installed: str) -> str:
    """sha256 over everything that scores depend on: the package's version, READING, and the name and bytes
    of each network, sorted by name. Raises OSError."""
    digest = hashlib.sha256(f"rapidocr {installed}\n{READING}\n".encode())
    for name in sorted(_FILES):
        digest.update(f"{name}\n".encode() + (folder / name).read_bytes())
    return digest.hexdigest()


def _one_line(bad: BaseException) -> str:
    return " ".join(str(bad).split())[:300]


LABELS = ("home", "away", "clock_s", "goals")
"""Goals of the side named first, goals of the other side, seconds on the match clock, home + away. NaN: not
read."""
