"""What a video may declare and decode to, and what one activity may take of its process."""

from __future__ import annotations

import io
import json
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import pytest
from av.video.stream import VideoStream

from bench.mutations import bombs
from infra.local.azurite import Azurite
from shared.errors import (
    CodecNotAllowed,
    FrameRateTooHigh,
    MatchcutError,
    NotAVideo,
    NoVideoStream,
    PictureTooLarge,
    TooCostly,
    TooDamaged,
    TooManyFrames,
    TooManyStreams,
)
from shared.settings import ROOT, Settings
from shared.steps import run_limited, run_plan
from shared.storage import Records
from shared.video import MediaLimits, Pictures, RangeReader, Sweep, probe
from tests.support.clips import make_clip, reader
from tests.support.in_process import InProcessService
from tests.support.waiting import LIMIT_S

MIB = 2**20


def limited(data: bytes, **limits: Any) -> RangeReader:
    made = reader(data)
    made.limits = replace(MediaLimits.default(), **limits)
    return made


def settings(**limits: Any) -> Settings:
    return Settings(storage="UseDevelopmentStorage=true", **limits)


# ---------------------------------------------------------------- media


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        ({"pixels": 64 * 48 - 1}, PictureTooLarge),
        ({"streams": 0}, TooManyStreams),
        ({"frames": 29}, TooManyFrames),
        ({"rate": 24}, FrameRateTooHigh),
        ({"video_codecs": frozenset({"hevc"})}, CodecNotAllowed),
    ],
)
@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts"])
def test_what_a_container_declares_beyond_a_limit_is_refused(
    container: str, limits: dict[str, Any], error: type[MatchcutError]
) -> None:
    data = make_clip(30, container=container)
    with pytest.raises(error):
        probe(limited(data, **limits), "etag", len(data))
    at_the_limit: dict[str, Any] = {
        "pixels": 64 * 48,
        "streams": 1,
        "frames": 30,
        "rate": 30,
        "video_codecs": frozenset({"h264"}),
    }
    assert "h264" == probe(limited(data, **at_the_limit), "etag", len(data)).info.codec


@pytest.mark.parametrize("codec", ["png", "qtrle"])
def test_a_codec_that_no_footage_is_coded_with_is_refused(codec: str) -> None:
    data = _coded(codec, "rgb24")
    with pytest.raises(CodecNotAllowed, match=codec):
        probe(reader(data), "etag", len(data))


def test_sound_of_a_codec_that_is_not_allowed_counts_as_none() -> None:
    data = make_clip(30, sound_from_s=Fraction(0), sound_s=Fraction(1))
    assert probe(reader(data), "etag", len(data)).info.audio_codec == "aac"
    info = probe(limited(data, audio_codecs=frozenset({"mp3"})), "etag", len(data)).info
    assert (info.audio_stream, info.audio_codec) == (None, None)


def test_a_picture_that_turns_too_large_is_never_decoded() -> None:
    data = bombs()["vp8 that turns to 16383 x 16383.webm"]()
    info = probe(reader(data), "etag", len(data)).info
    assert (info.width, info.height) == (64, 48)
    with pytest.raises(PictureTooLarge):
        list(Pictures(reader(data), info, 0))
    with pytest.raises(PictureTooLarge):
        list(Sweep(reader(data), info, (), 60))


def test_a_picture_is_refused_by_what_its_own_header_says() -> None:
    data = bombs()["vp8 of 16383 x 16383.webm"]()
    with pytest.raises(PictureTooLarge):
        probe(reader(data), "etag", len(data))


def test_frames_are_counted_where_a_container_declares_fewer() -> None:
    data = make_clip(30)
    info = probe(reader(data), "etag", len(data)).info
    with pytest.raises(TooManyFrames):
        list(Pictures(limited(data, frames=29), info, 0))
    assert 30 == len(list(Pictures(limited(data, frames=30), info, 0)))


def test_decoding_gives_up_on_what_is_all_damage() -> None:
    data = bytearray(make_clip(100, gop=250))
    info = probe(reader(bytes(data)), "etag", len(data)).info
    start = data.index(b"mdat") + 1500
    end = data.index(b"moov") - 4
    data[start:end] = bytes(end - start)
    pictures = Pictures(limited(bytes(data), decode_errors=3), info, 0)
    with pytest.raises(TooDamaged):
        list(pictures)
    assert 4 == len(pictures.errors)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("samples by the billion.mp4", TooManyFrames),
        ("two hundred streams.mkv", TooManyStreams),
        ("a thousand pictures a second.mkv", FrameRateTooHigh),
        ("mjpeg of 65500 x 65500.avi", NoVideoStream),
        ("boxes in boxes.mp4", NotAVideo),
    ],
)
def test_small_files_that_ask_for_much_are_told_so(name: str, error: type[MatchcutError]) -> None:
    data = bombs()[name]()
    with pytest.raises(error):
        probe(reader(data), "etag", len(data))


def test_streams_that_begin_in_the_middle_of_the_file_end_nothing() -> None:
    data = bombs()["sixty streams that begin in the middle.ts"]()
    info = probe(reader(data), "etag", len(data)).info
    assert (info.numbering, info.planned_frames) == ("count", 200)
    assert 200 == len(list(Pictures(reader(data), info, 0)))


def test_a_stream_that_turns_from_picture_to_sound_is_still_a_picture() -> None:
    data = bombs()["picture that turns to sound.ts"]()
    info = probe(reader(data), "etag", len(data)).info
    assert (info.codec, info.stream, info.audio_stream) == ("h264", 0, None)
    assert 99 == len(list(Pictures(reader(data), info, 0)))  # the last one breaks off


def _coded(codec: str, pixels: str) -> bytes:
    out = io.BytesIO()
    with av.open(out, "w", format="mov") as muxer:
        stream = cast(VideoStream, muxer.add_stream(codec, rate=25))
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        for _ in range(3):
            muxer.mux(stream.encode(av.VideoFrame(64, 48, pixels)))
        muxer.mux(stream.encode(None))
    return out.getvalue()


# ---------------------------------------------------------------- one activity


linux = pytest.mark.skipif(sys.platform != "linux", reason="the limits of a process are Linux's")
KINDS = (resource.RLIMIT_DATA, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE)


@pytest.fixture
def limits_stay() -> Iterator[None]:
    before = [resource.getrlimit(kind) for kind in KINDS]
    yield
    assert before == [resource.getrlimit(kind) for kind in KINDS]


def _spin(work: Callable[[], None] = lambda: None) -> None:
    while True:
        try:
            work()
        except Exception:
            continue


@linux
@pytest.mark.usefixtures("limits_stay")
class TestOneActivity:
    def test_what_work_answers_and_raises_is_handed_on(self) -> None:
        assert 5 == run_limited(settings(), lambda: 5)
        with pytest.raises(ZeroDivisionError):
            run_limited(settings(), lambda: 1 // 0)

    def test_memory_beyond_the_allowance_is_too_costly_and_that_below_is_had(self) -> None:
        tight = settings(max_activity_bytes=256 * MIB)
        assert 100 * MIB == len(run_limited(tight, lambda: bytearray(100 * MIB)))
        with pytest.raises(TooCostly, match="memory"):
            run_limited(tight, lambda: bytearray(1024 * MIB))
        assert 1024 * MIB == len(bytearray(1024 * MIB))

    def test_cpu_time_beyond_the_allowance_ends_work_that_swallows_every_exception(self) -> None:
        began = time.thread_time()
        with pytest.raises(TooCostly, match="CPU"):
            run_limited(settings(max_activity_cpu_s=1), _spin)
        assert 0.9 < time.thread_time() - began < 10

    def test_cpu_time_is_counted_in_whatever_thread_works(self) -> None:
        def work() -> str:
            try:
                return run_limited(settings(max_activity_cpu_s=1), _spin) or "nothing"
            except TooCostly as told:
                return told.code

        with ThreadPoolExecutor(1) as thread:
            assert "too_costly" == thread.submit(work).result(LIMIT_S)

    def test_wall_time_beyond_the_allowance_is_too_costly_although_nothing_is_computed(self) -> None:
        with pytest.raises(TooCostly, match="wall"):
            run_limited(settings(max_activity_wall_s=1), lambda: _spin(lambda: time.sleep(0.05)))

    def test_by_default_an_activity_ends_before_its_host_would_end_it(self) -> None:
        hours, minutes, seconds = json.loads((ROOT / "host.json").read_text())["functionTimeout"].split(":")
        allowed_s = 3600 * int(hours) + 60 * int(minutes) + int(seconds)
        assert 0 < settings().max_activity_wall_s < allowed_s

    def test_waiting_costs_nothing(self) -> None:
        assert run_limited(settings(max_activity_cpu_s=1), lambda: time.sleep(2.5)) is None

    def test_a_file_beyond_the_allowance_is_too_costly(self, tmp_path: Path) -> None:
        path = tmp_path / "file"
        with pytest.raises(TooCostly, match="file"):
            run_limited(settings(max_activity_file_bytes=MIB), lambda: path.write_bytes(bytes(2 * MIB)))
        path.write_bytes(bytes(2 * MIB))

    def test_activities_at_once_have_an_allowance_each(self) -> None:
        both = threading.Barrier(2)
        roomy = settings(max_activity_bytes=256 * MIB)

        def work() -> int:
            both.wait(LIMIT_S)
            held = bytearray(200 * MIB)
            both.wait(LIMIT_S)
            return len(held)

        with ThreadPoolExecutor(2) as threads:
            done = [threads.submit(run_limited, roomy, work) for _ in range(2)]
            assert [200 * MIB] * 2 == [each.result(LIMIT_S) for each in done]


@linux
def test_a_library_that_never_comes_back_is_ended_by_the_kernel() -> None:
    program = (
        "from shared.settings import Settings\n"
        "from shared.steps import allowance\n"
        "allowance._BACKSTOP_S = 1\n"
        "settings = Settings(storage='UseDevelopmentStorage=true', max_activity_cpu_s=1)\n"
        "allowance.run_limited(settings, lambda: sum(range(10**12)))\n"  # holds the interpreter in one call
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=120)
    assert ended.returncode == -signal.SIGXCPU


@pytest.mark.azurite
def test_a_job_keeps_to_the_operators_limits(azurite: Azurite) -> None:
    service = InProcessService(
        azurite.connection_string, max_picture_pixels=64 * 48 - 1, video_codecs=("h264",)
    )
    job = service.accept(service.upload(make_clip(30), "limits.mp4"))
    with pytest.raises(PictureTooLarge):
        run_plan(service.settings, Records(service.store, job))
