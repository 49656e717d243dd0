"""Cuts of the standard match."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import pytest

from bench import match
from bench.job import key_frames
from bench.match import Facts, Standard, facts, of_length

SMALL = Standard(seconds=30, seed=3, width=160, height=90, bitrate="200k")


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(match, "FOLDER", tmp_path_factory.mktemp("bench"))
        yield


def frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_a_shorter_match_is_the_beginning_and_a_longer_one_repeats() -> None:
    assert [10 * 25, 30 * 25, 90 * 25] == pytest.approx(
        [frames(of_length(s, SMALL)) for s in (10, 30, 90)], abs=3
    )
    # A stream copy ends by decoding time, so it may keep the key frame at the very end.
    assert [0, 50, 100, 150, 200] == key_frames(of_length(10, SMALL))[:5]


def test_a_match_is_made_once() -> None:
    first = of_length(10, SMALL).stat().st_mtime_ns
    assert first == of_length(10, SMALL).stat().st_mtime_ns


def test_the_bit_rate_and_the_key_frames_are_read_from_the_file() -> None:
    found = facts(of_length(30, SMALL))
    assert found.seconds == pytest.approx(30, abs=0.2)
    assert found.longest_gop_s == 2
    assert 0.05 < found.mbit_s < 0.6
    assert not found.realistic


@pytest.mark.parametrize(
    ("mbit_s", "gop_s", "realistic"), [(5.3, 2, True), (1.9, 2, False), (8.1, 2, False), (5.3, 10, False)]
)
def test_realistic_is_what_broadcasters_send(mbit_s: float, gop_s: float, realistic: bool) -> None:
    assert realistic is Facts(300, mbit_s, gop_s).realistic


def test_the_name_tells_matches_apart() -> None:
    assert len({SMALL.name, Standard().name, Standard(rate=Fraction(50)).name, Standard(seed=1).name}) == 4
