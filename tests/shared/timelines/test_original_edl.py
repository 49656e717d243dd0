from __future__ import annotations

import io
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import opentimelineio as otio
import pycmx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.contracts import Gap
from shared.timelines import timecode_to_frame
from shared.timelines._original_edl import MAX_CLIP_NAME_CHARS, MAX_TITLE_CHARS, edl_text, write_original_edl
from shared.timelines.timecode import nominal_base

GOLDEN = Path(__file__).parents[2] / "golden"
CLIP_NAME = "CelticvsParis_First Half_3707723.m4v"
NTSC_24, NTSC_30, NTSC_60 = (Fraction(base * 1000, 1001) for base in (24, 30, 60))
COUNTS = [
    (Fraction(25), False),
    (NTSC_30, True),
    (NTSC_30, False),
    (NTSC_24, False),
    (Fraction(50), False),
    (NTSC_60, True),
]
CLIPS = [(0, 90), (1790, 1810), (17000, 40000)]
START_FRAME = 1799
GAPS = [
    Gap(start_frame=250, end_frame=500, kind="video", models=("grass", "motion"), code="segment_failed"),
    Gap(start_frame=1000, end_frame=1500, kind="audio", models=("crowd",), code="file_ends_early"),
]
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=300)
"""Lone surrogates and control characters included."""


def write(
    *,
    title: str = "test_sequence_id",
    clip_name: str = CLIP_NAME,
    rate: Fraction = Fraction(25),
    drop_frame: bool = False,
    start_frame: int = 0,
    clips: Sequence[tuple[int, int]] = ((3150, 3350), (5375, 5525), (8375, 8525)),
    audio: bool = True,
    gaps: Sequence[Gap] = (),
) -> str:
    return write_original_edl(
        title=title,
        clip_name=clip_name,
        rate=rate,
        drop_frame=drop_frame,
        start_frame=start_frame,
        clips=clips,
        audio=audio,
        gaps=gaps,
    )


def event_lines(edl: str) -> list[str]:
    return [line for line in edl.splitlines() if re.match(r"\d", line)]


def test_three_clips_at_25_give_the_original_bytes() -> None:
    assert (GOLDEN / "original_three_clips.edl").read_bytes() == write().encode("ascii")


def test_drop_frame_a_start_timecode_no_audio_and_a_gap_give_the_golden_bytes() -> None:
    """Source columns shifted to 01:00:00;00; clips across the skipped numbers of 01:01 and over 01:10."""
    gap = Gap(
        start_frame=8992, end_frame=10790, kind="video", models=("grass", "motion"), code="segment_failed"
    )
    edl = write(
        title="Drop-frame match",
        clip_name="match.mp4",
        rate=NTSC_30,
        drop_frame=True,
        start_frame=107892,
        clips=[(1799, 1801), (17982, 19782)],
        audio=False,
        gaps=[gap],
    )
    assert (GOLDEN / "original_drop_frame.edl").read_bytes() == edl.encode("ascii")


def test_no_clips_give_a_list_with_its_head_alone() -> None:
    assert "TITLE: test_sequence_id\nFCM: NON-DROP FRAME\n" == write(clips=[])


def test_gaps_without_clips_stand_under_a_second_of_black() -> None:
    assert [
        "TITLE: test_sequence_id",
        "FCM: NON-DROP FRAME",
        "",
        "000001 BL V C 00:00:00:00 00:00:01:00 00:00:00:00 00:00:01:00",
        "* MATCHCUT GAP: 00:00:10:00 00:00:20:00 video segment_failed grass motion",
        "* MATCHCUT GAP: 00:00:40:00 00:01:00:00 audio file_ends_early crowd",
    ] == write(clips=[], gaps=GAPS).splitlines()


def test_without_audio_only_the_video_events_stay() -> None:
    silent = write(audio=False)
    assert ["BL V", "AX V"] * 3 == [" ".join(line.split()[1:3]) for line in event_lines(silent)]
    assert "AUD" not in silent


@pytest.mark.parametrize("span", [(5, 5), (5, 4), (-1, 5)])
def test_a_clip_must_be_a_span_of_the_timeline(span: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no span"):
        write(clips=[span], start_frame=100)


def test_drop_frame_at_25_is_refused() -> None:
    with pytest.raises(ValueError, match="drop-frame is defined at"):
        write(drop_frame=True)


def test_record_and_source_wrap_at_24_hours() -> None:
    edl = write(start_frame=24 * 3600 * 25 - 25, clips=[(0, 50)], audio=False)
    assert "000002 AX V C 23:59:59:00 00:00:01:00 00:00:01:00 00:00:03:00" == event_lines(edl)[1]


@given(
    st.sampled_from(COUNTS),
    st.lists(st.tuples(st.integers(0, 200_000), st.integers(1, 2000)), max_size=8),
    st.integers(0, 400_000),
)
def test_record_is_gapless_and_as_long_as_the_source(
    count: tuple[Fraction, bool], spans: list[tuple[int, int]], start_frame: int
) -> None:
    rate, drop_frame = count
    clips = [(start, start + length) for start, length in spans]
    edl = write(rate=rate, drop_frame=drop_frame, start_frame=start_frame, clips=clips, audio=False)
    record_end = 0
    for number, line in enumerate(event_lines(edl)):
        source_in, source_out, record_in, record_out = (
            timecode_to_frame(text, rate) for text in line.split()[4:]
        )
        black = number % 2 == 0
        expected = (0, nominal_base(rate)) if black else clips[number // 2]
        shift = 0 if black else start_frame
        assert expected == (source_in - shift, source_out - shift)
        assert (record_end, source_out - source_in) == (record_in, record_out - record_in)
        record_end = record_out


# ---------------------------------------------------------------- names


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
@example("x\n000099 AX V C 00:00:00:00 00:00:01:00 00:00:00:00 00:00:01:00", 'a"b\r\nAUD 3 4', "\x85\u2028")
def test_no_name_changes_a_line_that_is_not_its_own(title: str, clip_name: str, code: str) -> None:
    def list_of(title: str, clip_name: str, code: str) -> str:
        gap = Gap(start_frame=0, end_frame=1, kind="video", models=(), code=code)
        return write(title=title, clip_name=clip_name, gaps=[gap])

    plain, edl = list_of("t", "c", "g"), list_of(title, clip_name, code)
    assert plain.count("\n") == edl.count("\n") == len(edl.splitlines())
    assert event_lines(plain) == event_lines(edl)
    own = ("TITLE: ", "* FROM CLIP NAME: ", "* MATCHCUT GAP: ")
    for before, after in zip(plain.splitlines(), edl.splitlines(), strict=True):
        head = before[: before.find(":") + 2] if before.startswith(own) else before
        assert head == after[: len(head)]
        assert before.startswith(own) or before == after


@given(ANY_TEXT, st.integers(1, 100))
def test_any_text_becomes_printable_ascii_within_its_limit(text: str, max_chars: int) -> None:
    clean = edl_text(text, max_chars)
    assert clean.isascii()
    assert clean.isprintable()
    assert clean == " ".join(clean.split())
    assert clean == "UNNAMED" or 1 <= len(clean) <= max_chars


@given(ANY_TEXT, st.integers(7, 100))
def test_cleaning_twice_changes_nothing(text: str, max_chars: int) -> None:
    clean = edl_text(text, max_chars)
    assert clean == edl_text(clean, max_chars)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (CLIP_NAME, CLIP_NAME),
        ("Fenerbahçe – Bodø/Glimt", "Fenerbahce - Bodo/Glimt"),
        ("Beşiktaş “2:1” Łódź", 'Besiktas "2:1" Lodz'),
        ("a\r\nb\tc\x00d\x1be\u2028f\x85g\u00a0h", "a b c d e f g h"),
        ("zero\u200bwidth \u202egnp.exe", "zerowidth gnp.exe"),
        ("東京 vs 大阪", "?? vs ??"),
        ("goal ⚽", "goal ?"),
        ("\ud800", "?"),
        ("ﬁnal ②", "final 2"),
        (" \n\t ", "UNNAMED"),
        ("", "UNNAMED"),
    ],
)
def test_names_become_ascii_as_a_reader_would_write_them(text: str, clean: str) -> None:
    assert clean == edl_text(text, 70)


def test_overlong_names_are_cut() -> None:
    title, clip_name = write(title="t" * 200, clip_name="c" * 300, audio=False, clips=[(0, 1)]).split("\n")[
        0::6
    ]
    assert "TITLE: " + "t" * MAX_TITLE_CHARS == title
    assert "* FROM CLIP NAME: " + "c" * MAX_CLIP_NAME_CHARS == clip_name


# ---------------------------------------------------------------- outside readers


def cmx_columns(edl: str) -> str:
    """The same list with its columns where strict CMX 3600 has them; only spaces are added."""

    def padded(line: str) -> str:
        number, reel, channels, transition, *codes = line.split()
        return f"{number}  {reel:<8} {channels:<4}  {transition:<4}     {' '.join(codes)}"

    return "\n".join(padded(line) if re.match(r"\d", line) else line for line in edl.split("\n"))


def expected_edits(rate: Fraction) -> list[tuple[str, int, int, int, int]]:
    """(reel, source in, source out, record in, record out) of each event, in frames, as they should be."""
    edits, record, black = [], 0, nominal_base(rate)
    for start, end in CLIPS:
        edits.append(("BL", 0, black, record, record + black))
        record += black
        clip = ("AX", START_FRAME + start, START_FRAME + end, record, record + end - start)
        edits += [clip] * 3
        record += end - start
    return edits


@pytest.mark.parametrize("tolerant", [False, True])
def test_pycmx_does_not_see_events_parted_by_single_spaces(tolerant: bool) -> None:
    """A known limit of the dialect: this reader finds columns by place, two spaces after the number."""
    edit_list = pycmx.parse_cmx3600(io.StringIO(write()), tolerant=tolerant)
    assert "test_sequence_id" == edit_list.title
    unread = [statement.content for statement in edit_list.unrecognized_statements]
    assert event_lines(write()) == [line for line in unread if line]


@pytest.mark.parametrize(("rate", "drop_frame"), COUNTS)
def test_pycmx_reads_every_event_once_the_columns_are_padded(rate: Fraction, drop_frame: bool) -> None:
    edl = write(rate=rate, drop_frame=drop_frame, start_frame=START_FRAME, clips=CLIPS)
    edit_list = pycmx.parse_cmx3600(io.StringIO(cmx_columns(edl)))
    edits: list[Any] = [edit for event in edit_list.events for edit in event.edits]
    assert "3600" == edit_list.format
    assert expected_edits(rate) == [
        (
            edit.source,
            *(
                timecode_to_frame(text, rate, drop_frame)
                for text in (edit.source_in, edit.source_out, edit.record_in, edit.record_out)
            ),
        )
        for edit in edits
    ]
    assert [None, CLIP_NAME, CLIP_NAME, CLIP_NAME] * 3 == [edit.clip_name for edit in edits]
    video: tuple[bool, list[int]] = (True, [])
    sound = (False, [1, 2])
    none: tuple[bool, list[int]] = (False, [])
    # AUD stands under the clip name, not right under its event, so NONE has no channel for this reader.
    assert [video, video, sound, none] * 3 == [
        (edit.channels.video, sorted(edit.channels.channels)) for edit in edits
    ]


@pytest.mark.parametrize(("rate", "drop_frame"), COUNTS)
def test_the_cmx_adapter_of_opentimelineio_reads_the_dialect_as_it_is(
    rate: Fraction, drop_frame: bool
) -> None:
    """It reads single spaces, and takes NONE for a second video track; AUD it ignores."""
    edl = write(rate=rate, drop_frame=drop_frame, start_frame=START_FRAME, clips=CLIPS)
    timeline = otio.adapters.read_from_string(edl, "cmx_3600", rate=float(rate))
    assert ["V", "A1", "A2", "NONE"] == [track.name for track in timeline.tracks]
    ours = expected_edits(rate)
    picture = [*ours[0::4], *ours[1::4]]
    assert sorted(edit[1:4] for edit in picture) == sorted(
        (
            round(clip.source_range.start_time.value),
            round(clip.source_range.end_time_exclusive().value),
            round(clip.range_in_parent().start_time.value),
        )
        for clip in timeline.tracks[0]
    )
    for track in timeline.tracks[1:]:
        assert [(edit[1], edit[2]) for edit in ours[1::4]] == [
            (round(clip.source_range.start_time.value), round(clip.source_range.end_time_exclusive().value))
            for clip in track.find_clips()
        ]


def otio_events(edl: str, rate: Fraction) -> list[list[tuple[int, int, int, int]]]:
    """Of each track (source in, source out, record in, record out), in frames, by OpenTimelineIO."""
    timeline = otio.adapters.read_from_string(edl, "cmx_3600", rate=float(rate))
    tracks = []
    for track in timeline.tracks:
        offset = track.source_range.start_time.value if track.source_range else 0
        tracks.append(
            [
                (
                    round(clip.source_range.start_time.value),
                    round(clip.source_range.end_time_exclusive().value),
                    round(clip.range_in_parent().start_time.value - offset),
                    round(clip.range_in_parent().end_time_exclusive().value - offset),
                )
                for clip in track.find_clips()
            ]
        )
    return tracks


def test_opentimelineio_reads_the_golden_lists() -> None:
    three = otio_events((GOLDEN / "original_three_clips.edl").read_text("ascii"), Fraction(25))
    clips = [(3150, 3350, 25, 225), (5375, 5525, 250, 400), (8375, 8525, 425, 575)]
    black = [(0, 25, 0, 25), (0, 25, 225, 250), (0, 25, 400, 425)]
    assert [sorted([*black, *clips], key=lambda event: event[2]), clips, clips, clips] == three
    drop_frame = otio_events((GOLDEN / "original_drop_frame.edl").read_text("ascii"), NTSC_30)
    assert [
        [
            (0, 30, 0, 30),
            (107892 + 1799, 107892 + 1801, 30, 32),
            (0, 30, 32, 62),
            (107892 + 17982, 107892 + 19782, 62, 1862),
        ]
    ] == drop_frame


@pytest.mark.parametrize(("rate", "drop_frame"), COUNTS)
def test_gaps_change_nothing_of_what_opentimelineio_reads(rate: Fraction, drop_frame: bool) -> None:
    head: dict[str, Any] = {"rate": rate, "drop_frame": drop_frame, "start_frame": START_FRAME}
    with_gaps = write(**head, clips=CLIPS, gaps=GAPS)
    assert otio_events(write(**head, clips=CLIPS), rate) == otio_events(with_gaps, rate)
    assert 4 == len(otio_events(with_gaps, rate))
    timeline = otio.adapters.read_from_string(with_gaps, "cmx_3600", rate=float(rate))
    first = next(iter(timeline.tracks[0].find_clips()))
    told = [line[2:] for line in with_gaps.splitlines() if line.startswith("* MATCHCUT GAP")]
    assert told == list(first.metadata["cmx_3600"]["comments"])
    second = nominal_base(rate)
    assert [[(0, second, 0, second)]] == otio_events(write(**head, clips=[], gaps=GAPS), rate)
    assert [] == otio_events(write(**head, clips=[]), rate)


@pytest.mark.parametrize("clips", [CLIPS, []])
def test_gaps_change_nothing_of_what_pycmx_reads(clips: list[tuple[int, int]]) -> None:
    edit_list = pycmx.parse_cmx3600(io.StringIO(cmx_columns(write(clips=clips, gaps=GAPS))))
    edits: list[Any] = [edit for event in edit_list.events for edit in event.edits]
    assert (["BL", "AX", "AX", "AX"] * len(clips) or ["BL"]) == [edit.source for edit in edits]
    assert [] == [s.content for s in edit_list.unrecognized_statements if "GAP" in s.content]
