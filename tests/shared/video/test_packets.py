"""What segments gather of the sound is the whole of it, to the bit, or nothing."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from functools import cache

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contracts import VideoInfo
from shared.errors import MatchcutError, StorageUnavailable
from shared.video import (
    Gather,
    Joined,
    Part,
    Pictures,
    RangeReader,
    gathered_sound,
    part_of_npz,
    probe,
    sound,
)
from shared.video._container import open_container
from tests.support.clips import MEDIA, NTSC, Made, broken_reader, info_of, make_clip, reader

RATE_HZ = 16000
SOUND_S = Fraction(12)


def trimmed(data: bytes, seconds: int) -> bytes:
    """The same packets in an mp4 whose edit list hides its first seconds."""
    out = io.BytesIO()
    options = {"avoid_negative_ts": "disabled"}
    with av.open(io.BytesIO(data), "r") as source, av.open(out, "w", format="mp4", options=options) as muxer:
        streams = {stream.index: muxer.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None and packet.pts is not None:
                shift = int(seconds / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = streams[packet.stream.index]
                muxer.mux(packet)
    return out.getvalue()


CLIPS = Made(
    {
        "mp4": lambda: make_clip(300, sound_from_s=Fraction(0), sound_s=SOUND_S),
        "an edit list that hides two seconds": lambda: trimmed(
            make_clip(300, sound_from_s=Fraction(0), sound_s=SOUND_S), 2
        ),
        "sound that is late and short": lambda: make_clip(300, sound_from_s=Fraction(5), sound_s=Fraction(3)),
        "sound longer than the picture": lambda: make_clip(
            100, sound_from_s=Fraction(0), sound_s=Fraction(9)
        ),
        "29.97 in matroska": lambda: make_clip(
            300, NTSC, container="matroska", sound_from_s=Fraction(0), sound_s=SOUND_S
        ),
        "transport stream": lambda: make_clip(
            300, container="mpegts", sound_from_s=Fraction(0), sound_s=SOUND_S
        ),
        "long groups of pictures": lambda: make_clip(300, gop=250, sound_from_s=Fraction(0), sound_s=SOUND_S),
    }
)


def gathered(data: bytes, info: VideoInfo, edges: Sequence[int], halo: int) -> list[Part | None]:
    """The parts of the segments that begin at these frames, the first at 0, each through its bytes."""
    parts: list[Part | None] = []
    for start, end in zip(edges, [*edges[1:], None], strict=True):
        gather = Gather(info, start, end)
        end_needed = None if end is None else end + halo
        list(Pictures(reader(data), info, max(0, start - halo), end_needed, gather))
        part = gather.part()
        parts.append(part if part is None else part_of_npz(part.to_npz()))
    return parts


def split(info: VideoInfo, pieces: int) -> list[int]:
    return sorted({info.planned_frames * piece // pieces for piece in range(pieces)})


def flat(chunks: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.empty(0, np.float32), *chunks])


def plain(data: bytes, info: VideoInfo, limit_s: int = 3600) -> tuple[bytes, list[str]]:
    """(samples, errors) of a pass through the file."""
    errors: list[str] = []
    return flat([*sound(reader(data), info, RATE_HZ, limit_s, errors)]).tobytes(), errors


def from_parts(
    parts: Sequence[Part | None], data: bytes, info: VideoInfo, limit_s: int = 3600
) -> tuple[bytes, list[str]] | None:
    """(samples, errors); None where the parts are not the whole for certain."""
    errors: list[str] = []
    joined = Joined(parts)
    samples = flat([*gathered_sound(joined, reader(data), info, RATE_HZ, limit_s, errors)])
    return None if joined.broken else (samples.tobytes(), errors)


@pytest.mark.parametrize("halo", [0, 13])
@pytest.mark.parametrize("name", CLIPS)
def test_any_number_of_segments_gathers_the_sound_to_the_bit(name: str, halo: int) -> None:
    data = CLIPS[name]
    info = info_of(data)
    expected = plain(data, info)
    assert len(expected[0]) > 4 * 2 * RATE_HZ
    for pieces in (1, 3, 20):
        assert from_parts(gathered(data, info, split(info, pieces), halo), data, info) == expected


@cache
def plain_of(name: str) -> tuple[bytes, list[str]]:
    return plain(CLIPS[name], info_of(CLIPS[name]))


@settings(max_examples=20)
@given(st.sampled_from(sorted(CLIPS)), st.sets(st.integers(1, 320), max_size=4), st.integers(0, 40))
def test_wherever_the_edges_lie_the_sound_is_the_same(name: str, edges: set[int], halo: int) -> None:
    data = CLIPS[name]
    info = info_of(data)
    parts = gathered(data, info, [0, *sorted(edges)], halo)
    assert from_parts(parts, data, info) == plain_of(name)


def test_every_packet_lies_in_one_part() -> None:
    data = CLIPS["transport stream"]
    info = info_of(data)
    with open_container(reader(data)) as container:
        times = [packet.pts for packet in container.demux(container.streams.audio[0]) if packet.size]
    parts = gathered(data, info, split(info, 5), 13)
    assert all(part and len(part.packets) for part in parts)
    assert times == [time for part in parts if part for time in part.packets.times[:, 0].tolist()]


def test_the_same_part_gives_the_same_bytes() -> None:
    data = CLIPS["mp4"]
    info = info_of(data)
    one, two = (gathered(data, info, split(info, 5), halo)[2] for halo in (0, 30))
    assert one
    assert two
    assert one.to_npz() == two.to_npz()


def test_sound_beyond_the_limit_needs_no_parts() -> None:
    data = CLIPS["mp4"]
    info = info_of(data)
    parts = gathered(data, info, split(info, 5), 13)
    assert from_parts([*parts[:3], None], data, info, limit_s=3) == plain(data, info, limit_s=3)


def test_a_part_that_is_missing_or_elsewhere_breaks_the_rest() -> None:
    data = CLIPS["mp4"]
    info = info_of(data)
    parts = gathered(data, info, split(info, 5), 13)
    assert from_parts(parts, data, info) == plain_of("mp4")
    for wrong in (
        parts[1:],
        parts[:-1],
        [*parts[:2], *parts[3:]],
        [*parts[:2], None, *parts[3:]],
        [parts[0], *parts],
        [*parts, parts[-1]],
        [parts[0], parts[2], parts[1], *parts[3:]],
        [],
    ):
        assert from_parts(wrong, data, info) is None


def test_a_caller_who_stops_early_gathers_no_part() -> None:
    data = CLIPS["mp4"]
    info = info_of(data)
    gather = Gather(info, 0, 100)
    for picture in Pictures(reader(data), info, 0, gather=gather):
        if picture.frame >= 20:
            break
    assert gather.part() is None


def test_a_file_that_breaks_off_gathers_nothing_or_the_same() -> None:
    data = CLIPS["29.97 in matroska"]
    info = info_of(data)
    for length in range(len(data) // 2, len(data), len(data) // 15):
        parts = gathered(data[:length], info, [0, 60], 13)
        assert from_parts(parts, data[:length], info) in (None, plain(data[:length], info))


def test_storage_that_fails_while_gathering_is_never_a_short_sound() -> None:
    data = CLIPS["mp4"]
    info = info_of(data)
    gather = Gather(info, 0, None)
    with pytest.raises(StorageUnavailable):
        list(Pictures(broken_reader(data), info, 0, None, gather))
    assert gather.part() is None


def test_storage_that_fails_behind_the_last_picture_costs_the_sound_and_no_picture() -> None:
    data = make_clip(2000, coder={"crf": "1"}, sound_from_s=Fraction(0), sound_s=Fraction(80))
    info, healthy = info_of(data), True

    def fetch(offset: int, length: int) -> bytes:
        if not healthy:
            raise StorageUnavailable("Storage answered 503.")
        return data[offset : offset + length]

    source, gather, frames = RangeReader(fetch, len(data)), Gather(info, 0, 50), []
    source.least_bytes = source.most_bytes = source.kept_bytes = 1024
    for picture in Pictures(source, info, 0, 50, gather):
        frames.append(picture.frame)
        healthy = picture.frame < 50
    assert frames == list(range(51))
    assert source.failure is not None
    assert gather.part() is None


@pytest.mark.parametrize("name", CLIPS)
def test_gathering_changes_no_picture_and_no_error(name: str) -> None:
    data = CLIPS[name]
    info = info_of(data)
    seen = [Pictures(reader(data), info, 40, 80, gather) for gather in (None, Gather(info, 40, 80))]
    frames = [[picture.frame for picture in pictures] for pictures in seen]
    assert frames[0] == frames[1]
    assert frames[0][-1] == 80
    assert seen[0].errors == seen[1].errors


APART = ["firefox/gizmo-frag.mp4"]
"""Real files whose sound is read in a pass of its own, in twenty segments."""


@pytest.mark.media
@pytest.mark.skipif(not MEDIA.is_dir(), reason="no real footage beside the checkout")
def test_real_files_give_the_same_sound_or_none() -> None:
    apart, tried = [], 0
    for path in sorted(MEDIA.rglob("*")):
        name, data = str(path.relative_to(MEDIA)), path.read_bytes() if path.is_file() else b""
        try:
            info = probe(reader(data), "etag", len(data)).info
        except MatchcutError:
            continue
        if info.audio_stream is None or info.numbering != "pts":
            continue
        tried += 1
        # As a job has them, of two seconds at least: each decodes again what its first group began with.
        pieces = 20 if name in APART else min(20, max(5, info.planned_frames // 50))
        found = from_parts(gathered(data, info, split(info, pieces), 13), data, info)
        assert found in (None, plain(data, info)), name
        if found is None:
            apart.append(name)
    assert tried > 40
    assert apart == APART
