"""The standard match: a sample match of 720p25 at a broadcaster's bit rate, and cuts of it.

python -m bench.match [SECONDS ...]     makes what is not there yet, and says what it is

Nine minutes are drawn and encoded once, and kept below .run/. Shorter ones are their beginning, longer
ones repeat them, both by stream copy: decoding and scoring cost the same, since nothing is cached by
content, but a repeated minute brings no new scenes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av

from samples.match import GOP_S, find_ffmpeg, truth_path, write_match
from samples.truth import GENERATOR_VERSION, Truth
from shared.settings import ROOT

FOLDER = ROOT / ".run" / "bench"
BROADCAST_MBIT_S = (2.0, 8.0)
"""Bit rate with which broadcasters and streaming services send a 720p match."""


@dataclass(frozen=True)
class Standard:
    """How the match is made."""

    seconds: int = 300
    seed: int = 17
    width: int = 1280
    height: int = 720
    rate: Fraction = Fraction(25)
    bitrate: str | None = "5M"

    @property
    def name(self) -> str:
        rate = f"{self.rate.numerator}-{self.rate.denominator}"
        quality = self.bitrate or "crf"
        size = f"{self.width}x{self.height}"
        return f"v{GENERATOR_VERSION}-{self.seconds}s-seed{self.seed}-{size}-{rate}-{quality}"


def _quiet(done: int, total: int) -> None:
    pass


def master(standard: Standard = Standard(), progress: Callable[[int, int], None] = _quiet) -> Path:
    """The full match, made on first use."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{standard.name}.mp4"
    if not (path.exists() and truth_path(path).exists()):
        write_match(
            path,
            seconds=standard.seconds,
            seed=standard.seed,
            width=standard.width,
            height=standard.height,
            rate=standard.rate,
            bitrate=standard.bitrate,
            progress=progress,
        )
    return path


def of_length(seconds: int, standard: Standard = Standard()) -> Path:
    """The match's first `seconds`, or as many repetitions of it as fill them."""
    source = master(standard)
    if seconds == standard.seconds:
        return source
    path = FOLDER / f"{standard.name}-as-{seconds}s.mp4"
    if not path.exists():
        draft = path.with_name(f"{path.stem}.{os.getpid()}.part.mp4")
        loops = -(-seconds // standard.seconds) - 1
        copy = ["-c", "copy", "-t", str(seconds), "-movflags", "+faststart", str(draft)]
        command = [find_ffmpeg(), "-v", "error", "-y", "-stream_loop", str(loops), "-i", str(source), *copy]
        try:
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    return path


def truth(standard: Standard = Standard()) -> Truth:
    return Truth.model_validate_json(truth_path(master(standard)).read_bytes())


@dataclass(frozen=True)
class Facts:
    seconds: float
    mbit_s: float
    longest_gop_s: float

    @property
    def realistic(self) -> bool:
        low, high = BROADCAST_MBIT_S
        return low <= self.mbit_s <= high and self.longest_gop_s <= GOP_S


def facts(path: Path) -> Facts:
    """Facts about a cut, from its container's index."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        base = Fraction(stream.time_base or 1)
        keys = [entry.timestamp * base for entry in stream.index_entries if entry.is_keyframe]
        seconds = float((container.duration or 0) / av.time_base)
    gaps = [float(after - before) for before, after in pairwise(keys)]
    return Facts(seconds, path.stat().st_size * 8 / seconds / 1e6, max(gaps, default=seconds))


def main(arguments: list[str]) -> None:
    for seconds in [int(argument) for argument in arguments] or [Standard().seconds]:
        path = of_length(seconds)
        found = facts(path)
        low, high = BROADCAST_MBIT_S
        print(
            f"{path}: {found.seconds:.0f} s, {found.mbit_s:.2f} Mb/s (broadcast: {low:g} to {high:g}),"
            f" at most {found.longest_gop_s:g} s between key frames"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
