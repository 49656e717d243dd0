"""The sound that is heard is the first that becomes sound; a track that does not costs no job."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any, cast

import av
import numpy as np
import pytest
from av.audio.stream import AudioStream

from infra.local.azurite import Azurite
from shared.contracts import State, VideoInfo
from shared.video import Gather, Joined, Pictures, Sweep, gathered_sound, probe, sound
from shared.video.hearing import Mono
from shared.video.sound import Heard
from tests.support.clips import numbered, reader
from tests.support.in_process import InProcessService

RATE_HZ, SECONDS = 16000, 4
UNKNOWN = [b"zzzz", b"ac-4", b"mhm1", b"iamf", b"enca"]
"""Kinds of sound in an mp4 that libav has no decoder for: none at all, and some that broadcasters send."""


def clip(
    tones_hz: Sequence[int],
    *,
    container: str = "mp4",
    codec: str = "aac",
    channels: int = 1,
    sounding: int = 0,
) -> bytes:
    """Pictures, and one sound track for each tone, which sounds in one of its channels."""
    out = io.BytesIO()
    layout = "mono" if channels == 1 else f"{channels} channels"
    with av.open(out, "w", format=container) as muxer:
        video = muxer.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.options = {"g": "12", "preset": "veryfast"}
        tracks = [cast(AudioStream, muxer.add_stream(codec, rate=48000)) for _ in tones_hz]
        for track in tracks:
            track.layout = layout
        for index in range(SECONDS * 25):
            frame = av.VideoFrame.from_ndarray(numbered(index), format="rgb24")
            frame.pts = index
            muxer.mux(video.encode(frame))
            for track, tone_hz in zip(tracks, tones_hz, strict=True):
                times_s = (np.arange(1920) + index * 1920) / 48000
                samples = np.zeros((1920, channels), np.float32)
                samples[:, sounding] = 0.5 * np.sin(2 * np.pi * tone_hz * times_s)
                chunk = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "flt", layout)
                chunk.sample_rate, chunk.pts, chunk.time_base = 48000, index * 1920, Fraction(1, 48000)
                muxer.mux(track.encode(chunk))
        muxer.mux(video.encode(None))
        for track in tracks:
            muxer.mux(track.encode(None))
    return out.getvalue()


def of_kind(data: bytes, fourcc: bytes) -> bytes:
    """The first sound track of an mp4 called by another name, without the box that tells its codec."""
    track = data.index(b"smhd")
    changed = data[track:].replace(b"mp4a", fourcc, 1).replace(b"esds", b"free", 1)
    return data[:track] + changed


def garbled(data: bytes, packets: int | None = None) -> bytes:
    """The first packets of the first sound track, else all, overwritten."""
    changed = bytearray(data)
    with av.open(io.BytesIO(data), "r") as container:
        for entry in list(container.streams.audio[0].index_entries)[:packets]:
            changed[entry.pos : entry.pos + entry.size] = b"\xff" * entry.size
    return bytes(changed)


def info_of(data: bytes) -> VideoInfo:
    return probe(reader(data), "etag", len(data)).info


def heard(data: bytes) -> np.ndarray:
    return np.concatenate([*sound(reader(data), info_of(data), RATE_HZ, 60, [])])


def tone_of(samples: np.ndarray) -> int:
    """The loudest frequency, in Hz."""
    return round(int(np.abs(np.fft.rfft(samples[:RATE_HZ])).argmax()), -1)


@pytest.mark.parametrize("fourcc", UNKNOWN)
def test_a_track_without_a_decoder_is_no_sound_and_says_so(fourcc: bytes) -> None:
    info = info_of(of_kind(clip([1000]), fourcc))
    assert (None, None, "no_decoder") == (info.audio_stream, info.audio_codec, info.audio_fault)


@pytest.mark.parametrize("fourcc", UNKNOWN)
def test_the_next_track_that_decodes_is_heard(fourcc: bytes) -> None:
    data = of_kind(clip([1000, 3000]), fourcc)
    info = info_of(data)
    assert (2, "aac", None) == (info.audio_stream, info.audio_codec, info.audio_fault)
    assert 3000 == tone_of(heard(data))


def test_a_track_whose_packets_do_not_decode_is_passed_over_for_one_that_does() -> None:
    assert 1000 == tone_of(heard(clip([1000, 3000])))
    assert 3000 == tone_of(heard(garbled(clip([1000, 3000]))))


def test_the_only_track_is_heard_from_where_it_decodes() -> None:
    info = info_of(garbled(clip([1000])))
    assert (1, None) == (info.audio_stream, info.audio_fault)
    data = garbled(clip([1000]), packets=100)
    assert 1000 == tone_of(heard(data)[-RATE_HZ:])


@pytest.mark.parametrize("container", ["matroska", "mov"])
@pytest.mark.parametrize("channels", [9, 64])
def test_channels_without_places_are_heard_as_their_mean(container: str, channels: int) -> None:
    data = clip([1000], container=container, codec="pcm_s16le", channels=channels, sounding=channels - 1)
    samples = heard(data)
    assert SECONDS * RATE_HZ == pytest.approx(len(samples), abs=100)
    assert 1000 == tone_of(samples)
    assert 0.5 / channels == pytest.approx(float(np.abs(samples).max()), rel=0.02)


def test_channels_without_places_sound_the_same_however_they_are_read() -> None:
    data = clip([1000], container="mov", codec="pcm_s16le", channels=64)
    info, whole = info_of(data), heard(data)
    swept = [item.samples for item in Sweep(reader(data), info, (RATE_HZ,), 60) if isinstance(item, Heard)]
    assert np.array_equal(whole, np.concatenate(swept))
    parts = []
    for start, end in pairwise([0, 30, 60, None]):
        gather = Gather(info, start or 0, end)
        for _ in Pictures(reader(data), info, start or 0, end, gather):
            pass
        parts.append(gather.part())
    joined = Joined(parts)
    assert np.array_equal(
        whole, np.concatenate([*gathered_sound(joined, reader(data), info, RATE_HZ, 60, [])])
    )
    assert joined.broken is False


def test_a_stream_may_turn_from_known_channels_to_unknown_ones_and_back() -> None:
    def frame(layout: str, channels: int) -> av.AudioFrame:
        made = av.AudioFrame.from_ndarray(np.full((1, 4800 * channels), 0.25, np.float32), "flt", layout)
        made.sample_rate = 48000
        return made

    mono = Mono(RATE_HZ)
    frames = [frame("stereo", 2), frame("9 channels", 9), frame("9 channels", 9), frame("mono", 1), None]
    samples = np.concatenate([chunk for each in frames for chunk in mono.feed(each)])
    assert 4 * 1600 == pytest.approx(len(samples), abs=50)
    assert 0.25 == pytest.approx(float(np.median(samples)), abs=0.001)


@pytest.fixture(scope="module")
def service(azurite: Azurite) -> InProcessService:
    return InProcessService(azurite.connection_string)


@pytest.mark.azurite
@pytest.mark.parametrize("options", [{"segment_s": 2}, {"exhaustive": False}], ids=["exhaustive", "cascade"])
@pytest.mark.parametrize(
    ("name", "audio", "fault"),
    [("zzzz.mp4", False, "no_decoder"), ("next.mp4", True, None), ("desk.mov", True, None)],
)
def test_no_sound_ends_a_job(
    service: InProcessService, name: str, audio: bool, fault: str | None, options: dict[str, Any]
) -> None:
    data = {
        "zzzz.mp4": lambda: of_kind(clip([1000]), b"zzzz"),
        "next.mp4": lambda: of_kind(clip([1000, 3000]), b"zzzz"),
        "desk.mov": lambda: clip([1000], container="mov", codec="pcm_s16le", channels=64),
    }[name]()
    job, end = service.run(service.upload(data, name), models=["crowd-excitement", "pitch-share"], **options)
    video = service.result(job).video
    assert (State.COMPLETED, audio, fault) == (end.state, video.audio, video.audio_fault)
    assert SECONDS * 25 == video.duration_frames
