"""Whole jobs, step by step in one process, over Azurite with the real models."""

from __future__ import annotations

import io
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from infra.local.azurite import Azurite
from shared.contracts import State
from shared.errors import BlobAccessDenied, Cancelled, NotAVideo, SegmentFailed, VideoChanged, VideoTooLong
from shared.jobs import cancel
from shared.steps import run_cut, run_look, run_plan, run_score
from shared.storage import Records, find_sas
from shared.video import probe
from tests.support.clips import make_clip, reader
from tests.support.in_process import InProcessService

pytestmark = pytest.mark.azurite


@pytest.fixture(scope="module")
def service(azurite: Azurite) -> InProcessService:
    return InProcessService(azurite.connection_string)


@pytest.fixture(scope="module")
def clip() -> bytes:
    """40 s at 29.97 with sound that starts late and a burst of tone: enough for every model."""
    return make_clip(1200, Fraction(30000, 1001), gop=30, sound_from_s=Fraction(2), sound_s=Fraction(30))


@pytest.mark.parametrize("name", ["clip", "match"])
def test_one_three_and_twenty_segments_give_the_same_tracks_and_the_same_edl(
    service: InProcessService, name: str, request: pytest.FixtureRequest
) -> None:
    url = service.upload(request.getfixturevalue(name), f"split-{name}.mp4")
    options = {"cut": {"thresholds": {"highlight": 0.1}}}
    jobs = {segment_s: service.run(url, segment_s=segment_s, **options)[0] for segment_s in (40, 13, 2)}
    assert [len(run_plan(service.settings, Records(service.store, job)).units) for job in jobs.values()] == [
        1,
        3,
        20,
    ]
    whole = service.tracks(jobs[40])
    assert set(whole) == {"crowd-excitement", "motion", "pitch-share", "shot-change"}
    for segment_s in (13, 2):
        split = service.tracks(jobs[segment_s])
        for model, track in whole.items():
            assert track.grid == split[model].grid
            assert np.array_equal(track.scores, split[model].scores)
        assert service.file(jobs[40], "cut.edl") == service.file(jobs[segment_s], "cut.edl")
    if name == "match":
        assert len(service.result(jobs[40]).edits) > 0


def test_the_result_tells_what_decoded_and_not_what_the_container_says(
    service: InProcessService, clip: bytes
) -> None:
    job, end = service.run(service.upload(clip, "facts.mp4"))
    result = service.result(job)
    assert end.state == result.state == State.COMPLETED
    assert set(end.files) == {"result.json", "cut.edl"}
    assert result.video.frames_decoded == result.video.duration_frames == 1200
    assert result.video.rate == Fraction(30000, 1001)
    assert result.video.start_timecode == "00:00:00;00"
    assert {model.name for model in result.models} == {
        "crowd-excitement",
        "motion",
        "pitch-share",
        "shot-change",
    }


def test_the_same_video_and_models_are_never_scored_twice(service: InProcessService, clip: bytes) -> None:
    url = service.upload(clip, "cache.mp4")
    first, _ = service.run(url)
    again, _ = service.run(url, cut={"pre_roll_s": 1})
    assert first != again
    assert service.result(first).timing.units_scored == 2
    assert service.result(again).timing.units_scored == 0
    assert service.result(again).timing.units_cached == 2


def test_the_same_video_and_options_give_the_same_job(service: InProcessService, clip: bytes) -> None:
    url = service.upload(clip, "same.mp4")
    assert service.accept(url) == service.accept(service.sas(url))
    assert service.accept(url) != service.accept(url, name="another")
    assert service.accept(url, key="k-1") == service.accept(url, key="k-1") != service.accept(url)


def test_a_video_without_sound_or_events_gives_a_valid_edl(service: InProcessService) -> None:
    job, end = service.run(service.upload(make_clip(50), "silent.mp4"))
    assert end.state == State.COMPLETED
    assert service.file(job, "cut.edl") == b"TITLE: silent.mp4\nFCM: NON-DROP FRAME\n"
    assert not service.result(job).video.audio


def test_a_unit_that_was_given_up_is_a_declared_gap(service: InProcessService, clip: bytes) -> None:
    job = service.accept(service.upload(clip, "gap.mp4"), segment_s=13)
    plan = run_plan(service.settings, Records(service.store, job))
    for index in (0, 2):
        run_score(service.settings, Records(service.store, job), index)
    run_look(service.settings, Records(service.store, job), [1])
    run_score(service.settings, Records(service.store, job), 3)  # the sound
    end = run_cut(service.settings, Records(service.store, job), {1: "segment_failed"})
    result = service.result(job)
    assert end.state == result.state == State.COMPLETED_WITH_GAPS
    (gap,) = result.gaps
    assert (gap.start_frame, gap.end_frame) == (plan.units[1].start_frame, plan.units[1].end_frame)
    assert gap.models == plan.units[1].models
    assert b"MATCHCUT GAP" in service.file(job, "cut.edl")


def test_nothing_scored_is_a_failure_and_not_an_empty_cut(service: InProcessService, clip: bytes) -> None:
    job = service.accept(service.upload(clip, "nothing.mp4"))
    run_plan(service.settings, Records(service.store, job))
    run_look(service.settings, Records(service.store, job), [0, 1])
    with pytest.raises(SegmentFailed):
        run_cut(service.settings, Records(service.store, job), {0: "segment_failed", 1: "segment_failed"})


def test_a_model_that_is_refused_leaves_a_gap_and_the_others_go_on(
    azurite: Azurite, clip: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    healthy = InProcessService(azurite.connection_string)
    folder = tmp_path_factory.mktemp("m") / "models"
    shutil.copytree(healthy.settings.models_dir, folder)
    graph = folder / "motion" / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    service = InProcessService(azurite.connection_string, models_dir=folder)
    job, end = service.run(service.upload(clip, "refused.mp4"))
    assert end.state == State.COMPLETED_WITH_GAPS
    assert [(gap.models, gap.code) for gap in service.result(job).gaps] == [(("motion",), "model_refused")]


def test_cancelling_stops_the_units_and_forgets_the_secret(service: InProcessService, clip: bytes) -> None:
    stored = service.request(service.sas(service.upload(clip, "cancel.mp4")))
    run_plan(service.settings, Records(service.store, stored.run))
    end, by_this_call = cancel(service.store, stored)
    assert (end.state, by_this_call) == (State.CANCELLED, True)
    assert find_sas(service.store, stored) == ""
    with pytest.raises(Cancelled):
        run_score(service.settings, Records(service.store, stored.run), 0)


def test_a_cancelled_job_is_opened_again_with_records_of_its_own(
    service: InProcessService, clip: bytes
) -> None:
    url = service.upload(clip, "again.mp4")
    first = service.request(url)
    run_plan(service.settings, Records(service.store, first.run))
    cancel(service.store, first)
    second, third = service.request(url), service.request(url)
    assert (second.job, second.attempt, second.run) == (first.job, 2, f"{first.job}-2")
    assert second.run == third.run
    with pytest.raises(Cancelled):  # what is left of the first attempt stays cancelled
        run_score(service.settings, Records(service.store, first.run), 0)
    run, end = service.run(url)
    assert (run, end.job, end.state) == (second.run, first.job, State.COMPLETED)
    assert service.result(run).job == first.job


def test_a_manifest_that_changed_is_scored_anew_and_never_mixed(
    azurite: Azurite, clip: bytes, tmp_path: Path
) -> None:
    shutil.copytree(InProcessService(azurite.connection_string).settings.models_dir, tmp_path / "models")
    service = InProcessService(azurite.connection_string, models_dir=tmp_path / "models")
    url = service.upload(clip, "manifest.mp4")
    job = service.accept(url, name="planned before")
    run_plan(service.settings, Records(service.store, job))
    service.run(url)
    path = tmp_path / "models" / "pitch-share" / "model.json"
    path.write_text(path.read_text().replace('"rate": "2/1"', '"rate": "5/1"'))
    after, end = service.run(url, name="planned after")
    assert end.state == State.COMPLETED
    assert service.tracks(after)["pitch-share"].grid.rate == 5
    summary = run_score(service.settings, Records(service.store, job), 0)
    assert summary.refused == {}  # its scores were there, under its own key
    path.write_text(path.read_text().replace('"rate": "5/1"', '"rate": "3/1"'))
    job = service.accept(url, name="planned at three")
    run_plan(service.settings, Records(service.store, job))
    path.write_text(path.read_text().replace('"rate": "3/1"', '"rate": "4/1"'))
    assert (
        "was planned as" in run_score(service.settings, Records(service.store, job), 0).refused["pitch-share"]
    )


def test_sound_that_stops_decoding_is_a_declared_gap(service: InProcessService) -> None:
    data = bytearray(make_clip(750, container="matroska", sound_from_s=Fraction(0), sound_s=Fraction(30)))
    info = probe(reader(bytes(data)), "", len(data)).info
    with av.open(io.BytesIO(bytes(data)), "r") as container:
        for packet in container.demux(container.streams[info.audio_stream or 0]):
            if packet.pos is not None and packet.pts is not None and packet.pts * packet.time_base > 10:
                at = data.find(bytes(packet), packet.pos)
                data[at : at + packet.size] = b"\xff" * packet.size
    job, end = service.run(service.upload(bytes(data), "deaf.mkv"))
    assert end.state == State.COMPLETED_WITH_GAPS
    (gap,) = service.result(job).gaps
    assert (gap.kind, gap.code, gap.end_frame) == ("audio", "damaged", 750)
    assert 200 < gap.start_frame < 300


def test_a_video_replaced_while_the_job_runs_is_noticed(service: InProcessService, clip: bytes) -> None:
    url = service.upload(clip, "changed.mp4")
    job = service.accept(url)
    run_plan(service.settings, Records(service.store, job))
    service.upload(clip + b"more", "changed.mp4")
    with pytest.raises(VideoChanged):
        run_score(service.settings, Records(service.store, job), 0)


def test_text_posing_as_a_video_is_refused_with_its_code(service: InProcessService) -> None:
    job = service.accept(service.upload(b"#EXTM3U\n#EXTINF:1,\nhttps://example.org/x.ts\n", "list.mp4"))
    with pytest.raises(NotAVideo):
        run_plan(service.settings, Records(service.store, job))


def test_a_video_above_the_limit_is_refused(azurite: Azurite, clip: bytes) -> None:
    service = InProcessService(azurite.connection_string, max_video_s=30)
    job = service.accept(service.upload(clip, "long.mp4"))
    with pytest.raises(VideoTooLong, match="40 s"):
        run_plan(service.settings, Records(service.store, job))


def test_a_source_is_read_with_its_sas_and_only_with_what_the_sas_grants(
    service: InProcessService, clip: bytes
) -> None:
    url = service.upload(clip, "sas.mp4")
    assert service.accept(service.sas(url))
    with pytest.raises(BlobAccessDenied):
        service.accept(service.sas(url, read=False))
