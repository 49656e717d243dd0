"""An mp4 whose index stands first, cut off while it was sent: what is there is decoded, the rest is told."""

from __future__ import annotations

import io
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import av
import numpy as np
import pytest
from av.stream import Discard

from infra.local.azurite import Azurite
from shared.contracts import Result, State
from shared.steps import segments
from shared.video import Gather, Joined, Pictures, Sweep, gathered_sound, probe, sound
from shared.video.probe import Probe
from shared.video.sound import Heard
from tests.support.clips import make_clip, reader
from tests.support.in_process import InProcessService

FRAMES, RATE_HZ = 600, 16000
PERCENT = (9, 50, 90, 99)
Kind = Literal["h264", "h264 without B-frames", "mpeg4", "with sound", "sound behind the picture"]
KINDS: tuple[Kind, ...] = ("h264", "h264 without B-frames", "mpeg4", "with sound", "sound behind the picture")


@lru_cache(maxsize=8)
def faststart(kind: Kind) -> bytes:
    """24 s, the index first; of MPEG-4 a decoder shows a picture that is there in part only."""
    plain = make_clip(
        FRAMES,
        codec="mpeg4" if kind == "mpeg4" else "libx264",
        b_frames=0 if "without" in kind else 2,
        sound_from_s=Fraction(0) if "sound" in kind else None,
        sound_s=Fraction(24),
    )
    behind = kind == "sound behind the picture"
    with TemporaryDirectory() as folder, av.open(io.BytesIO(plain), "r") as source:
        path = str(Path(folder) / "faststart.mp4")
        options = {"movflags": "+faststart", **({"max_interleave_delta": "1"} if behind else {})}
        with av.open(path, "w", options=options) as muxer:
            streams = {stream.index: muxer.add_stream_from_template(stream) for stream in source.streams}
            packets = [packet for packet in source.demux() if packet.size]
            for packet in sorted(packets, key=lambda p: p.stream.index) if behind else packets:
                packet.stream = streams[packet.stream.index]
                muxer.mux(packet)
        return Path(path).read_bytes()


def cut(kind: Kind, percent: int) -> bytes:
    """With so much of what the index names."""
    data = faststart(kind)
    start = data.index(b"mdat")
    return data[: start + (len(data) - start) * percent // 100]


def decoded(data: bytes) -> list[int]:
    """Times of all pictures that a plain decode shows, in units of the time base: what to expect."""
    found: list[int] = []
    with av.open(io.BytesIO(data), "r") as container:
        video = container.streams.video[0]
        for stream in container.streams:
            stream.discard = Discard.default if stream is video else Discard.all
        for packet in container.demux(video):
            try:
                found += [frame.pts for frame in packet.decode() if frame.pts is not None]
            except av.FFmpegError:
                assert packet.is_corrupt
    return found


def probed(data: bytes) -> Probe:
    return probe(reader(data), "etag", len(data))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("percent", PERCENT)
def test_every_picture_that_is_there_is_decoded_for_any_segments(kind: Kind, percent: int) -> None:
    data = cut(kind, percent)
    expected, found = decoded(data), probed(data)
    assert len(expected) > 0
    for segment_s in (1, 2, 5, 60):
        spans = segments(found.info.planned, segment_s, found.key_frames)
        assert max(1, round(len(expected) / 25 / segment_s)) == pytest.approx(len(spans), abs=1)
        shown = []
        for start, end in spans:
            pictures = Pictures(reader(data), found.info, start, end)
            shown += [p.source.pts for p in pictures if start <= p.frame and (end is None or p.frame < end)]
        assert expected == shown


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("percent", PERCENT)
def test_a_sweep_ends_where_decoding_ends(kind: Kind, percent: int) -> None:
    data = cut(kind, percent)
    info = probed(data).info
    sweep = Sweep(reader(data), info, (RATE_HZ,), 60)
    heard = sum(len(item.samples) for item in sweep if isinstance(item, Heard))
    assert max(picture.frame for picture in Pictures(reader(data), info, 0)) == sweep.last_frame
    assert heard == sum(len(chunk) for chunk in sound(reader(data), info, RATE_HZ, 60, []))


@pytest.mark.parametrize("percent", PERCENT)
def test_gathered_sound_ends_where_the_file_ends(percent: int) -> None:
    data = cut("with sound", percent)
    info = probed(data).info
    gather = Gather(info, 0, None)
    assert len(decoded(data)) == len(list(Pictures(reader(data), info, 0, gather=gather)))
    joined = Joined([gather.part()])
    gathered = np.concatenate([*gathered_sound(joined, reader(data), info, RATE_HZ, 60, [])])
    assert joined.broken is False
    assert np.array_equal(np.concatenate([*sound(reader(data), info, RATE_HZ, 60, [])]), gathered)


def test_a_file_that_is_whole_declares_nothing() -> None:
    for kind in KINDS:
        info = probed(faststart(kind)).info
        assert (None, None) == (info.missing_picture, info.missing_sound)


@pytest.fixture(scope="module")
def service(azurite: Azurite) -> InProcessService:
    return InProcessService(azurite.connection_string)


@pytest.mark.azurite
@pytest.mark.parametrize("percent", PERCENT)
def test_a_job_says_what_is_missing_and_the_same_for_any_segments(
    service: InProcessService, percent: int
) -> None:
    data = cut("with sound", percent)
    url = service.upload(data, f"cut-{percent}.mp4")
    expected = len(decoded(data))
    last = max(picture.frame for picture in Pictures(reader(data), probed(data).info, 0))

    def run(**options: object) -> Result:
        job, end = service.run(url, models=["crowd-excitement", "pitch-share"], **options)
        assert State.COMPLETED_WITH_GAPS == end.state
        return service.result(job)

    results = [run(segment_s=2), run(segment_s=5), run(segment_s=60), run(exhaustive=False)]
    assert [expected] * 3 == [result.video.frames_decoded for result in results[:3]]
    for result in results:
        assert last + 1 == result.video.duration_frames
        assert results[0].gaps == result.gaps
    told = {gap.kind: gap for gap in results[0].gaps}
    assert {"file_ends_early"} == {gap.code for gap in told.values()}
    if last + 1 < FRAMES:
        assert (last + 1, FRAMES) == (told["video"].start_frame, told["video"].end_frame)
        assert ("pitch-share",) == told["video"].models
    assert FRAMES == pytest.approx(told["audio"].end_frame, abs=1)
    assert last == pytest.approx(told["audio"].start_frame, abs=30)


@pytest.mark.azurite
def test_a_strict_job_does_not_take_half_a_file_for_the_whole(service: InProcessService) -> None:
    url = service.upload(cut("h264", 50), "half.mp4")
    _, end = service.run(url, models=["pitch-share"], strict=True)
    assert end.error is not None
    assert (State.FAILED, "incomplete") == (end.state, end.error.code)
