"""A sweep gives the key frames and the sound of a full decode, to the bit, and knows where the video ends."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from shared.contracts import VideoInfo
from shared.errors import MatchcutError, StorageUnavailable
from shared.video import Picture, Pictures, Sweep, probe, sound
from tests.support.clips import CLIPS, MEDIA, NTSC, Made, broken_reader, info_of, joined, make_clip, reader

SOUND_FROM_S, SOUND_S = Fraction(1, 2), Fraction(4)
SWEPT = Made({
    **{name: maker for name, maker in CLIPS.makers.items() if name != "AVI"},  # whose frames are counted
    "open groups of pictures": lambda: make_clip(
        100, coder={"x264-params": "open-gop=1"}, gop=10, b_frames=3
    ),
    "open groups in a transport stream": lambda: make_clip(
        100, coder={"x264-params": "open-gop=1"}, gop=10, b_frames=3, container="mpegts"
    ),
    "HEVC with open groups longer than half its order count": lambda: make_clip(
        700, codec="libx265", coder={"x265-params": "keyint=200:min-keyint=200:log-level=none"}
    ),
    "a picture that is refreshed bit by bit": lambda: make_clip(
        100, coder={"x264-params": "intra-refresh=1"}, gop=20, b_frames=0
    ),
    "interlaced": lambda: make_clip(60, coder={"flags": "+ildct+ilme"}),
    "every frame a key frame": lambda: make_clip(40, gop=1, b_frames=0),
    "VP8": lambda: make_clip(60, codec="libvpx", container="webm", coder={"g": "10"}),
    "late sound in a transport stream": lambda: make_clip(
        120, container="mpegts", sound_from_s=SOUND_FROM_S, sound_s=SOUND_S
    ),
    "sound in mp4": lambda: make_clip(120, sound_from_s=Fraction(0), sound_s=SOUND_S),
    "sound in matroska": lambda: make_clip(
        120, NTSC, container="matroska", sound_from_s=SOUND_FROM_S, sound_s=SOUND_S
    ),
})  # fmt: skip


def keys_of_all(data: bytes, info: VideoInfo) -> tuple[list[tuple[int, bytes]], int | None]:
    """(frame, pixels) of what a full decode calls key, and the last frame."""
    keys, last = [], None
    for picture in Pictures(reader(data), info, 0):
        last = picture.frame
        if picture.key:
            keys.append((picture.frame, pixels(picture)))
    return keys, last


def errors_of(data: bytes) -> list[str]:
    pictures = Pictures(reader(data), info_of(data), 0)
    list(pictures)
    return pictures.errors


def pixels(picture: Picture) -> bytes:
    return picture.image(picture.info.width, picture.info.height, "rgb", "stretch").tobytes()


def swept(sweep: Sweep) -> tuple[list[tuple[int, bytes]], dict[int, np.ndarray]]:
    keys, samples = [], {rate: [np.empty(0, np.float32)] for rate in sweep.rates_hz}
    for item in sweep:
        if isinstance(item, Picture):
            assert item.key
            keys.append((item.frame, pixels(item)))
        else:
            samples[item.rate_hz].append(item.samples)
    return keys, {rate: np.concatenate(chunks) for rate, chunks in samples.items()}


def heard(data: bytes, info: VideoInfo, rate_hz: int, errors: list[str]) -> np.ndarray:
    return np.concatenate([np.empty(0, np.float32), *sound(reader(data), info, rate_hz, 3600, errors)])


def disagreements(data: bytes) -> set[str]:
    """In what a sweep differs from full decodes."""
    info = info_of(data)
    sweep = Sweep(reader(data), info, (16000, 22050), 3600)
    (keys, last), (swept_keys, samples) = keys_of_all(data, info), swept(sweep)
    errors: list[list[str]] = [[], []]
    same_sound = all(
        np.array_equal(heard(data, info, rate, found), samples[rate], equal_nan=True)
        for rate, found in zip((16000, 22050), errors, strict=True)
    )
    agrees = {
        "keys": keys == swept_keys,
        "count": len(keys) == sweep.key_frames,
        "sound": same_sound,
        "sound errors": errors[0] == errors[1] == sweep.sound_errors,
        "last": last == sweep.last_frame,
    }
    return {name for name, agreed in agrees.items() if not agreed}


@pytest.mark.parametrize("name", SWEPT)
def test_a_sweep_agrees_with_a_full_decode(name: str) -> None:
    assert disagreements(SWEPT[name]) == set()


def test_a_sweep_finds_every_group_of_pictures_and_hears_the_sound() -> None:
    """Else two ways of finding nothing would agree."""
    data = SWEPT["sound in mp4"]
    sweep = Sweep(reader(data), info_of(data), (16000,), 3600)
    keys, samples = swept(sweep)
    assert [frame for frame, _ in keys] == list(range(0, 120, 12))
    assert sweep.last_frame == 119
    assert len(samples[16000]) == pytest.approx(4 * 16000, abs=2000)
    assert float(np.abs(samples[16000]).max()) > 0.4


def test_refreshing_bit_by_bit_makes_no_key_frames_but_the_first() -> None:
    data = SWEPT["a picture that is refreshed bit by bit"]
    assert [frame for frame, _ in swept(Sweep(reader(data), info_of(data), (), 3600))[0]] == [0]


def test_without_rates_no_sound_is_decoded() -> None:
    data = SWEPT["sound in mp4"]
    sweep = Sweep(reader(data), info_of(data), (), 3600)
    assert swept(sweep)[1] == {}
    assert sweep.sound_errors == []


def test_sound_ends_at_the_limit_and_pictures_do_not() -> None:
    data = SWEPT["sound in mp4"]
    info = info_of(data)
    sweep = Sweep(reader(data), info, (16000,), 1)
    keys, samples = swept(sweep)
    assert np.array_equal(np.concatenate([*sound(reader(data), info, 16000, 1, [])]), samples[16000])
    assert len(samples[16000]) < 2 * 16000
    assert len(keys) == 10


def leaping(at: int, by: int, b_frames: int) -> bytes:
    """100 frames in an mp4; the one that is coded as number `at` says a time that is `by` frames late."""
    out = io.BytesIO()
    plain = io.BytesIO(make_clip(100, gop=10, b_frames=b_frames))
    with av.open(plain, "r") as source, av.open(out, "w", format="mp4") as muxer:
        stream = muxer.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        step = round(Fraction(1, 25) / packets[0].time_base)
        for number, packet in enumerate(packets):
            if number == at:
                assert packet.pts is not None
                packet.pts += by * step
            packet.stream = stream
            muxer.mux(packet)
    return out.getvalue()


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("at", [40, 43, 70])
@pytest.mark.parametrize("by", [25, 60])
def test_a_time_that_leaps_ahead_is_passed_over_by_both(at: int, by: int, b_frames: int) -> None:
    data = leaping(at, by, b_frames)
    assert errors_of(data) == ["TimeLeapsAhead"]
    assert disagreements(data) == set()


def test_a_key_frame_that_leaps_less_than_frames_are_reordered_is_seen_by_the_sweep_alone() -> None:
    """Its followers look like frames that are shown before it: only decoding would tell."""
    assert disagreements(leaping(40, 5, 2)) == {"keys", "count"}


def test_a_video_that_is_counted_cannot_be_swept() -> None:
    data = joined(100, 50)
    with pytest.raises(ValueError, match="counted"):
        Sweep(reader(data), info_of(data), (16000,), 3600)


def test_a_lost_connection_is_a_failure() -> None:
    data = SWEPT["sound in mp4"]
    info = info_of(data)
    with pytest.raises(StorageUnavailable):
        list(Sweep(broken_reader(data), info, (16000,), 3600))


DIFFERS = {
    # Encrypted: of what does not decode, the times are seen all the same.
    "firefox/bipbop-cenc-video-10s.mp4": {"last"},
    "firefox/gizmo-frag.mp4": {"last"},
    # Damaged key frames: even two full decodes differ, by what lay in the decoder's memory.
    "firefox/bug1535980.webm": {"keys"},
}
"""Real files where a sweep and a full decode do not agree, and in what."""


@pytest.mark.media
@pytest.mark.skipif(not MEDIA.is_dir(), reason="no real footage beside the checkout")
def test_a_sweep_agrees_with_full_decodes_of_real_files() -> None:
    found, tried = {}, 0
    for path in sorted(MEDIA.rglob("*")):
        name, data = str(path.relative_to(MEDIA)), path.read_bytes() if path.is_file() else b""
        try:
            info = probe(reader(data), "etag", len(data)).info
        except MatchcutError:
            continue
        if info.numbering == "pts":
            tried += 1
            if differs := disagreements(data):
                found[name] = differs
    assert tried > 90
    assert {name: found[name] for name in found if DIFFERS.get(name) != found[name]} == {}
