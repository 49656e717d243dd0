from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from runpy import run_path
from typing import Any, Literal, get_args

import pytest

from shared import contracts
from shared.contracts import (
    CutOptions,
    Edit,
    Event,
    Evidence,
    FormatName,
    Gap,
    ModelRef,
    Result,
    StageTiming,
    Timing,
)
from shared.errors import InvalidRequest
from shared.timelines import FORMATS, formats, write_timeline
from tests.support.results import a_result, a_video

GOLDEN = Path(__file__).parents[2] / "golden"
CLIPS = ((3150, 3350), (5375, 5525), (8375, 8525))


def result(video: dict[str, Any] | None = None, **changes: Any) -> Result:
    """The match of the golden list, its edits out of order."""
    seen = a_video(
        name="CelticvsParis_First Half_3707723.m4v",
        etag='"0x1"',
        frames_decoded=9000,
        duration_frames=9000,
        duration_s=Fraction(360),
    )
    event = Event(
        label="shot",
        anchor_frame=3250,
        anchor_s=Fraction(130),
        start_frame=3200,
        end_frame=3300,
        confidence=0.875,
        evidence=(Evidence(model="crowd", signal="roar", value=0.9, weight=1.0),),
    )
    edits = [
        Edit(number=number, source_in_frame=start, source_out_frame=end, events=(0,))
        for number, (start, end) in enumerate(CLIPS, 1)
    ]
    made = a_result(
        seen.model_copy(update=video or {}),
        title="test_sequence_id",
        models=(ModelRef(name="crowd", version="1", digest="0" * 64, manifest="1" * 64),),
        events=(event,),
        edits=(edits[2], edits[0], edits[1]),
        shot_changes=(3100,),
        timing=Timing(
            stages={"score": StageTiming(cpu_s=1.5, wall_s=2.0, bytes_read=10)},
            units_cached=0,
            units_scored=1,
        ),
    )
    return made.model_copy(update=changes)


def test_the_edits_of_a_result_become_the_original_bytes_in_order_of_number() -> None:
    assert (GOLDEN / "original_three_clips.edl").read_bytes() == write_timeline(result(), "original-edl")


def test_a_start_timecode_shifts_the_source_columns_only() -> None:
    written = write_timeline(result({"start_timecode": "10:00:00:05"}), "original-edl").decode()
    assert "000002 AX V C 10:02:06:05 10:02:14:05 00:00:01:00 00:00:09:00" in written.splitlines()


def test_drop_frame_and_audio_come_from_the_video() -> None:
    ntsc = {
        "rate": Fraction(30000, 1001),
        "drop_frame": True,
        "start_timecode": "01:00:00;00",
        "audio": False,
    }
    edit = Edit(number=1, source_in_frame=0, source_out_frame=1800, events=())
    lines = write_timeline(result(ntsc, edits=(edit,)), "original-edl").decode().splitlines()
    assert "FCM: DROP FRAME" == lines[1]
    assert "000002 AX V C 01:00:00;00 01:01:00;02 00:00:01;00 00:01:01;02" == lines[5]
    assert not [line for line in lines if " AA " in line or " NONE " in line]


def test_gaps_are_declared_in_the_list() -> None:
    gap = Gap(start_frame=250, end_frame=500, kind="audio", models=("crowd",), code="segment_failed")
    lines = write_timeline(result(gaps=(gap,)), "original-edl").decode().splitlines()
    assert [
        "000001 BL V C 00:00:00:00 00:00:01:00 00:00:00:00 00:00:01:00",
        "* MATCHCUT GAP: 00:00:10:00 00:00:20:00 audio segment_failed crowd",
    ] == lines[3:5]


def test_json_reads_back_as_the_same_result() -> None:
    named = result(title="Bodø\u2028Glimt")
    written = write_timeline(named, "json")
    assert named == Result.model_validate_json(written)
    assert written.endswith(b"}\n")
    assert "Bodø" in written.decode()


def test_json_does_not_hang_on_the_order_of_a_mapping() -> None:
    stages = {name: StageTiming(cpu_s=1.0, wall_s=1.0, bytes_read=0) for name in ("plan", "cut")}
    one, other = (
        result(timing=Timing(stages={name: stages[name] for name in names}, units_cached=0, units_scored=0))
        for names in (("plan", "cut"), ("cut", "plan"))
    )
    assert write_timeline(one, "json") == write_timeline(other, "json")
    assert sorted(json.loads(write_timeline(one, "json"))) == list(json.loads(write_timeline(one, "json")))


@pytest.mark.parametrize("format", list(FORMATS))
def test_every_format_writes_a_result_without_edits(format: str) -> None:
    assert write_timeline(result(edits=(), events=()), format).endswith(b"\n")


def test_the_formats_are_those_that_a_request_may_name() -> None:
    (choices, _) = get_args(CutOptions.model_fields["formats"].annotation)
    assert FormatName == choices
    assert list(get_args(FormatName)) == list(FORMATS)


def test_a_name_that_nothing_writes_ends_the_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contracts, "FormatName", Literal["original-edl", "json", "papyrus"])
    with pytest.raises(KeyError, match="papyrus"):
        run_path(str(Path(formats.__file__)))


def test_each_format_has_its_file_name() -> None:
    assert {"original-edl": "cut.edl", "json": "result.json"} == {
        name: format.file_name for name, format in FORMATS.items()
    }


def test_an_unknown_format_is_an_invalid_request_that_lists_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match="original-edl, json") as caught:
        write_timeline(result(), "fcp9")
    assert ("unknown_format", 400) == (caught.value.code, caught.value.status)
