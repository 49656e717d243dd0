"""The scoreboard in a job: a drawn match whose score changes, over Azurite, read by the real engine."""

from __future__ import annotations

import io
import shutil
import sys
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from infra.local.azurite import Azurite
from shared.contracts import Result, State
from shared.settings import ROOT
from shared.storage import Records
from tests.support import boards
from tests.support.in_process import InProcessService

pytestmark = pytest.mark.azurite

RATE, SECONDS, ROAR_S, CHANGE_S, KICK_OFF_S = 10, 120, 55, 82, 1263
OPTIONS = {"models": ["crowd-excitement"], "extra_models": ["scoreboard"]}


@cache
def drawn_match() -> bytes:
    """Two minutes from 21:03 on the clock: a crowd that roars from ROAR_S for six seconds, and a board that
    says 1-0 from CHANGE_S on; a key frame every two seconds."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as muxer:
        video = muxer.add_stream("libx264", rate=RATE)
        video.width, video.height, video.pix_fmt = 640, 360, "yuv420p"
        video.codec_context.options = {"g": str(2 * RATE), "preset": "ultrafast", "sc_threshold": "0"}
        video.codec_context.thread_count = 1
        audio = muxer.add_stream("aac", rate=16000, layout="mono")
        for second in range(SECONDS):
            minutes, seconds = divmod(KICK_OFF_S + second, 60)
            home, clock = int(second >= CHANGE_S), f"{minutes}:{seconds:02d}"
            large = boards.draw("one line", cv2.FONT_HERSHEY_DUPLEX, home, 0, clock)
            picture = np.asarray(cv2.resize(large, (640, 360), interpolation=cv2.INTER_AREA), np.uint8)
            for _ in range(RATE):
                muxer.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        muxer.mux(video.encode(None))
        crowd = np.random.default_rng(7).normal(0, 0.02, SECONDS * 16000)
        crowd[ROAR_S * 16000 : (ROAR_S + 6) * 16000] *= 8
        for at in range(0, len(crowd), 1024):
            chunk = av.AudioFrame.from_ndarray(crowd[None, at : at + 1024].astype(np.float32), "fltp", "mono")
            chunk.sample_rate, chunk.pts = 16000, at
            muxer.mux(audio.encode(chunk))
        muxer.mux(audio.encode(None))
    return out.getvalue()


@pytest.fixture(scope="module")
def service(azurite: Azurite) -> InProcessService:
    return InProcessService(azurite.connection_string)


@pytest.fixture(scope="module")
def url(service: InProcessService) -> str:
    return service.upload(drawn_match(), "board.mp4")


@pytest.fixture(scope="module")
def swept(service: InProcessService, url: str) -> str:
    return service.run(url, exhaustive=False, **OPTIONS)[0]


@pytest.fixture(scope="module")
def segmented(service: InProcessService, url: str) -> str:
    return service.run(url, exhaustive=True, segment_s=13, **OPTIONS)[0]


def goals(result: Result) -> list[int]:
    return [event.anchor_frame for event in result.events if event.label == "goal"]


def test_score_and_clock_are_told_as_text(service: InProcessService, swept: str) -> None:
    board = service.result(swept).board
    assert board is not None
    before, after = board.score
    assert ("0-0", 0, "1-0", SECONDS * RATE) == (
        before.text, before.start_frame, after.text, after.end_frame
    )  # fmt: skip
    assert before.end_frame == after.start_frame == 850  # 82 s lies between the samples at 80 and 85 s
    assert SECONDS // 5 == len(board.clock)
    for span in board.clock:
        minutes, seconds = span.text.split(":")
        behind_s = KICK_OFF_S + span.start_frame // RATE - (60 * int(minutes) + int(seconds))
        assert 0 <= behind_s < 2  # as old as its key frame


def test_a_change_of_score_makes_the_roar_before_it_a_goal(service: InProcessService, swept: str) -> None:
    (goal,) = [event for event in service.result(swept).events if event.label == "goal"]
    assert ROAR_S - 2 <= goal.anchor_s <= ROAR_S + 8
    assert {"score-rise": "scoreboard", "crowd-background": "crowd-excitement"} == {
        said.signal: said.model for said in goal.evidence
    }
    assert [1.0] == [said.value for said in goal.evidence if said.signal == "score-rise"]
    assert goal.confidence > 0.9
    assert any(
        edit.source_in_frame <= goal.anchor_frame < edit.source_out_frame
        for edit in service.result(swept).edits
    )


def test_a_sweep_and_segments_read_the_same_board(
    service: InProcessService, swept: str, segmented: str
) -> None:
    assert (True, False) == (
        Records(service.store, swept).plan.cascade,
        Records(service.store, segmented).plan.cascade,
    )
    one, other = service.tracks(swept)["scoreboard"], service.tracks(segmented)["scoreboard"]
    assert one.scores.tobytes() == other.scores.tobytes()
    assert service.result(swept).board == service.result(segmented).board
    assert goals(service.result(swept)) == goals(service.result(segmented))


def test_it_runs_only_where_a_request_names_it(service: InProcessService, url: str) -> None:
    result = service.result(service.run(url, exhaustive=False, models=["crowd-excitement"])[0])
    assert ["crowd-excitement"] == [model.name for model in result.models]
    assert None is result.board
    assert [] == goals(result)
    assert any(ROAR_S - 2 <= event.anchor_s <= ROAR_S + 8 for event in result.events)


def test_without_rapidocr_it_is_a_declared_gap_and_the_rest_goes_on(
    azurite: Azurite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)  # what Python does for a package that is not there
    # Of a folder from which this process has loaded nothing.
    models = Path(shutil.copytree(ROOT / "models", tmp_path / "models"))
    service = InProcessService(azurite.connection_string, models_dir=models)
    url = service.upload(drawn_match(), "unread.mp4")
    job, end = service.run(url, exhaustive=False, **OPTIONS)
    result = service.result(job)
    assert State.COMPLETED_WITH_GAPS == end.state == result.state
    assert [(0, SECONDS * RATE, ("scoreboard",), "model_refused")] == [
        (gap.start_frame, gap.end_frame, gap.models, gap.code) for gap in result.gaps
    ]
    assert (None, []) == (result.board, goals(result))
    assert any(ROAR_S - 2 <= event.anchor_s <= ROAR_S + 8 for event in result.events)
