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
from tests.support.in_process import Bench

pytestmark = pytest.mark.azurite
SECONDS, SEGMENTS, SOUND = 45, 3, 3
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
def bench(azurite: Azurite) -> Bench:
    return Bench(azurite.connection_string)


def segments(bench: Bench, url: str, **options: Any) -> str:
    """A job whose segments are scored, and whose sound is not."""
    cut = {"thresholds": {"highlight": 0.1}}
    job = bench.accept(url, **{"segment_s": SECONDS // SEGMENTS, "cut": cut, **options})
    plan = run_plan(bench.settings, Records(bench.store, job))
    assert [unit.kind for unit in plan.units] == ["video"] * SEGMENTS
    for unit in plan.units:
        run_score(bench.settings, Records(bench.store, job), unit.index)
    return job


def packets(bench: Bench, job: str) -> list[str]:
    return list(bench.store.list(paths.packets_folder(job)))


def finished(bench: Bench, job: str) -> Result:
    (unit,) = run_look(bench.settings, Records(bench.store, job), ()).units
    assert (unit.index, unit.kind) == (SOUND, "audio")
    run_score(bench.settings, Records(bench.store, job), SOUND)
    run_cut(bench.settings, Records(bench.store, job), {})
    return bench.result(job)


def sound_bytes(bench: Bench, job: str) -> int:
    return Records(bench.store, job).summary(SOUND).spent.bytes_read


def test_the_file_is_read_once(bench: Bench, video: bytes) -> None:
    job = segments(bench, bench.upload(video, "once.mp4"))
    assert len(packets(bench, job)) == SEGMENTS
    result = finished(bench, job)
    read = sum(stage.bytes_read for stage in result.timing.stages.values())
    assert len(video) < read < 1.15 * len(video)
    assert sound_bytes(bench, job) < 0.1 * len(video)
    assert set(result.timing.stages) == {"plan", "score", "cut"}
    assert packets(bench, job) == []


def lose(bench: Bench, job: str) -> None:
    bench.store.delete(packets(bench, job)[1])


def lose_all(bench: Bench, job: str) -> None:
    for path in packets(bench, job):
        bench.store.delete(path)


def swap(bench: Bench, job: str) -> None:
    first, second, _ = packets(bench, job)
    bench.store.put(second, bench.store.get(first))


@pytest.mark.parametrize("harm", [lose, lose_all, swap])
def test_packets_that_are_missing_or_wrong_cost_bytes_and_change_nothing(
    bench: Bench, match: bytes, harm: Callable[[Bench, str], None]
) -> None:
    whole = segments(bench, bench.upload(match, "whole.mp4"), name="match")
    harmed = segments(bench, bench.upload(match, f"{harm.__name__}.mp4"), name="match")
    harm(bench, harmed)
    expected, found = finished(bench, whole), finished(bench, harmed)
    assert sound_bytes(bench, harmed) >= len(match)
    assert expected.events == found.events
    assert len(found.events) > 0
    assert bench.file(whole, "cut.edl") == bench.file(harmed, "cut.edl")
    one, two = bench.tracks(whole), bench.tracks(harmed)
    assert one.keys() == two.keys()
    assert all(one[model].scores.tobytes() == two[model].scores.tobytes() for model in one)


def test_a_segment_that_was_given_up_costs_no_sound(bench: Bench, video: bytes) -> None:
    whole = segments(bench, bench.upload(video, "healthy.mp4"))
    finished(bench, whole)
    job = bench.accept(bench.upload(video, "given-up.mp4"), segment_s=SECONDS // SEGMENTS)
    run_plan(bench.settings, Records(bench.store, job))
    for index in (0, 2):
        run_score(bench.settings, Records(bench.store, job), index)
    run_look(bench.settings, Records(bench.store, job), [1])
    summary = run_score(bench.settings, Records(bench.store, job), SOUND)
    assert summary.spent.bytes_read > 0.9 * len(video)
    assert summary.facts == Records(bench.store, whole).summary(SOUND).facts
    run_cut(bench.settings, Records(bench.store, job), {1: "segment_failed"})
    assert [gap.kind for gap in bench.result(job).gaps] == ["video"]


def test_segments_that_were_scored_before_gather_nothing_and_a_new_model_hears_all(
    bench: Bench, video: bytes
) -> None:
    url = bench.upload(video, "cached.mp4")
    first = segments(bench, url, models=["pitch-share"], segment_s=SECONDS // SEGMENTS, cut={})
    assert Records(bench.store, first).plan.gathers is False
    assert packets(bench, first) == []
    second = segments(bench, url, models=["pitch-share", "crowd-excitement"], cut={})
    assert packets(bench, second) == []
    assert finished(bench, second).state == State.COMPLETED
    assert sound_bytes(bench, second) > 0.9 * len(video)
    again = segments(bench, url, models=["pitch-share", "crowd-excitement"], cut={"pre_roll_s": 1})
    finished(bench, again)
    assert sound_bytes(bench, again) == 0


def test_a_segment_that_is_scored_again_leaves_the_same_packets(bench: Bench, video: bytes) -> None:
    job = segments(bench, bench.upload(video, "twice.mp4"))
    path = packets(bench, job)[1]
    before = bench.store.get(path)
    bench.store.delete(path)
    for scores in Records(bench.store, job).summary(1).scores.values():
        bench.store.delete(paths.score_path(scores))
    assert run_score(bench.settings, Records(bench.store, job), 1).cached is False
    assert bench.store.get(path) == before


def test_a_job_that_is_cancelled_keeps_no_packets_and_gets_none_afterwards(
    bench: Bench, video: bytes
) -> None:
    stored = bench.request(bench.upload(video, "cancelled.mp4"), segment_s=SECONDS // SEGMENTS)
    run_plan(bench.settings, Records(bench.store, stored.run))
    run_score(bench.settings, Records(bench.store, stored.run), 0)
    assert len(packets(bench, stored.run)) == 1
    end, _ = cancel(bench.store, stored)
    assert end.total == SEGMENTS + 1
    assert packets(bench, stored.run) == []
    bench.store.delete(paths.cancel_path(stored.run))  # as if the segment had not looked since
    run_score(bench.settings, Records(bench.store, stored.run), 1)
    assert packets(bench, stored.run) == []


def test_frames_that_are_counted_leave_the_sound_a_unit_of_the_first_fan_out(bench: Bench) -> None:
    clip = make_clip(200, container="avi", sound_from_s=Fraction(0), sound_s=Fraction(8))
    job = bench.accept(bench.upload(clip, "counted.avi"))
    plan = run_plan(bench.settings, Records(bench.store, job))
    assert (plan.video.numbering, plan.gathers) == ("count", False)
    assert [unit.kind for unit in plan.units] == ["audio", "video"]
    bench.score(job)
    assert run_look(bench.settings, Records(bench.store, job), ()).units == ()
    assert run_cut(bench.settings, Records(bench.store, job), {}).state == State.COMPLETED
