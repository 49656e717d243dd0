"""An exhaustive job reads the file once, since segments gather the sound. Without that nothing is lost."""

from __future__ import annotations

import io
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest

from infra.local.azurite import Azurite
from shared.contracts import Result, State
from shared.jobs import cancel
from shared.steps import run_cut, run_look, run_plan, run_score
from shared.storage import Records, paths
from tests.support.clips import make_clip
from tests.support.in_process import InProcessService

pytestmark = pytest.mark.azurite
SECONDS, SEGMENTS, SOUND = 30, 3, 3
"""SOUND: the number of the unit that is the sound."""


def noise(seconds: int) -> bytes:
    """Some 6 Mb/s of pictures, and sound, that are noise: large enough for bytes to be told apart."""
    out, rng = io.BytesIO(), np.random.default_rng(5)
    with av.open(out, "w", format="mp4") as muxer:
        video = muxer.add_stream("mpeg4", rate=Fraction(25))
        video.width, video.height, video.pix_fmt, video.gop_size = 160, 96, "yuv420p", 25
        video.codec_context.thread_count = 1
        video.bit_rate = 6_000_000
        audio = muxer.add_stream("aac", rate=48000, layout="mono")
        for index in range(seconds * 25):
            frame = av.VideoFrame.from_ndarray(rng.integers(0, 256, (144, 160), np.uint8), "yuv420p")
            frame.pts = index
            muxer.mux(video.encode(frame))
            chunk = av.AudioFrame.from_ndarray(
                rng.uniform(-0.5, 0.5, (1, 1920)).astype(np.float32), "fltp", "mono"
            )
            chunk.sample_rate, chunk.pts, chunk.time_base = 48000, index * 1920, Fraction(1, 48000)
            muxer.mux(audio.encode(chunk))
        muxer.mux(video.encode(None))
        muxer.mux(audio.encode(None))
    return out.getvalue()


@pytest.fixture(scope="module")
def video() -> bytes:
    return noise(SECONDS)


@pytest.fixture(scope="module")
def service(azurite: Azurite) -> InProcessService:
    return InProcessService(azurite.connection_string)


def segments(service: InProcessService, url: str, **options: Any) -> str:
    """A job whose segments are scored, and whose sound is not."""
    cut = {"thresholds": {"highlight": 0.1}}
    job = service.accept(url, **{"segment_s": SECONDS // SEGMENTS, "cut": cut, **options})
    plan = run_plan(service.settings, Records(service.store, job))
    assert [unit.kind for unit in plan.units] == ["video"] * SEGMENTS
    for unit in plan.units:
        run_score(service.settings, Records(service.store, job), unit.index)
    return job


MATCH: dict[str, Any] = {"name": "match", "segment_s": 15}


@pytest.fixture(scope="module")
def whole(service: InProcessService, match: bytes) -> str:
    """A finished job on the match, of which nothing was lost."""
    job = segments(service, service.upload(match, "whole.mp4"), **MATCH)
    finished(service, job)
    return job


def packets(service: InProcessService, job: str) -> list[str]:
    return list(service.store.list(paths.packets_folder(job)))


def finished(service: InProcessService, job: str) -> Result:
    (unit,) = run_look(service.settings, Records(service.store, job), ()).units
    assert (unit.index, unit.kind) == (SOUND, "audio")
    run_score(service.settings, Records(service.store, job), SOUND)
    run_cut(service.settings, Records(service.store, job), {})
    return service.result(job)


def sound_bytes(service: InProcessService, job: str) -> int:
    return Records(service.store, job).summary(SOUND).spent.bytes_read


def test_the_file_is_read_once(service: InProcessService, video: bytes) -> None:
    job = segments(service, service.upload(video, "once.mp4"))
    assert len(packets(service, job)) == SEGMENTS
    result = finished(service, job)
    read = sum(stage.bytes_read for stage in result.timing.stages.values())
    assert len(video) < read < 1.15 * len(video)
    assert sound_bytes(service, job) < 0.1 * len(video)
    assert set(result.timing.stages) == {"plan", "score", "cut"}
    assert packets(service, job) == []


def lose(service: InProcessService, job: str) -> None:
    service.store.delete(packets(service, job)[1])


def lose_all(service: InProcessService, job: str) -> None:
    for path in packets(service, job):
        service.store.delete(path)


def swap(service: InProcessService, job: str) -> None:
    first, second, _ = packets(service, job)
    service.store.put(second, service.store.get(first))


@pytest.mark.parametrize("harm", [lose, lose_all, swap])
def test_packets_that_are_missing_or_wrong_cost_bytes_and_change_nothing(
    service: InProcessService, match: bytes, whole: str, harm: Callable[[InProcessService, str], None]
) -> None:
    harmed = segments(service, service.upload(match, f"{harm.__name__}.mp4"), **MATCH)
    harm(service, harmed)
    expected, found = service.result(whole), finished(service, harmed)
    assert sound_bytes(service, harmed) > 0.9 * len(match)  # this process may still have its head
    assert expected.events == found.events
    assert len(found.events) > 0
    assert service.file(whole, "cut.edl") == service.file(harmed, "cut.edl")
    one, two = service.tracks(whole), service.tracks(harmed)
    assert one.keys() == two.keys()
    assert all(one[model].scores.tobytes() == two[model].scores.tobytes() for model in one)


def test_a_segment_that_was_given_up_costs_no_sound(service: InProcessService, video: bytes) -> None:
    whole = segments(service, service.upload(video, "healthy.mp4"))
    finished(service, whole)
    job = service.accept(service.upload(video, "given-up.mp4"), segment_s=SECONDS // SEGMENTS)
    run_plan(service.settings, Records(service.store, job))
    for index in (0, 2):
        run_score(service.settings, Records(service.store, job), index)
    run_look(service.settings, Records(service.store, job), [1])
    summary = run_score(service.settings, Records(service.store, job), SOUND)
    assert summary.spent.bytes_read > 0.9 * len(video)
    assert summary.facts == Records(service.store, whole).summary(SOUND).facts
    run_cut(service.settings, Records(service.store, job), {1: "segment_failed"})
    assert [gap.kind for gap in service.result(job).gaps] == ["video"]


def test_segments_that_were_scored_before_gather_nothing_and_a_new_model_hears_all(
    service: InProcessService, video: bytes
) -> None:
    url = service.upload(video, "cached.mp4")
    first = segments(service, url, models=["pitch-share"], segment_s=SECONDS // SEGMENTS, cut={})
    assert Records(service.store, first).plan.gathers is False
    assert packets(service, first) == []
    second = segments(service, url, models=["pitch-share", "crowd-excitement"], cut={})
    assert packets(service, second) == []
    assert finished(service, second).state == State.COMPLETED
    assert sound_bytes(service, second) > 0.9 * len(video)
    again = segments(service, url, models=["pitch-share", "crowd-excitement"], cut={"pre_roll_s": 1})
    finished(service, again)
    assert sound_bytes(service, again) == 0


def test_a_segment_that_is_scored_again_leaves_the_same_packets(
    service: InProcessService, video: bytes
) -> None:
    job = segments(service, service.upload(video, "twice.mp4"))
    path = packets(service, job)[1]
    before = service.store.get(path)
    service.store.delete(path)
    for scores in Records(service.store, job).summary(1).scores.values():
        service.store.delete(paths.score_path(scores))
    assert run_score(service.settings, Records(service.store, job), 1).cached is False
    assert service.store.get(path) == before


def test_a_job_that_is_cancelled_keeps_no_packets_and_gets_none_afterwards(
    service: InProcessService, video: bytes
) -> None:
    stored = service.request(service.upload(video, "cancelled.mp4"), segment_s=SECONDS // SEGMENTS)
    run_plan(service.settings, Records(service.store, stored.run))
    run_score(service.settings, Records(service.store, stored.run), 0)
    assert len(packets(service, stored.run)) == 1
    end, _ = cancel(service.store, stored)
    assert end.total == SEGMENTS + 1
    assert packets(service, stored.run) == []
    service.store.delete(paths.cancel_path(stored.run))  # as if the segment had not looked since
    run_score(service.settings, Records(service.store, stored.run), 1)
    assert packets(service, stored.run) == []


def test_frames_that_are_counted_leave_the_sound_a_unit_of_the_first_fan_out(
    service: InProcessService,
) -> None:
    clip = make_clip(200, container="avi", sound_from_s=Fraction(0), sound_s=Fraction(8))
    job = service.accept(service.upload(clip, "counted.avi"))
    plan = run_plan(service.settings, Records(service.store, job))
    assert (plan.video.numbering, plan.gathers) == ("count", False)
    assert [unit.kind for unit in plan.units] == ["audio", "video"]
    service.score(job)
    assert run_look(service.settings, Records(service.store, job), ()).units == ()
    assert run_cut(service.settings, Records(service.store, job), {}).state == State.COMPLETED
