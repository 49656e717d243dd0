from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentimelineio import opentime

from shared.timelines import frame_to_timecode, start_of_timeline, timecode_to_frame
from shared.timelines.timecode import default_drop_frame, frames_per_day, nominal_base, says_drop_frame

NTSC_24, NTSC_30, NTSC_60 = (Fraction(base * 1000, 1001) for base in (24, 30, 60))
COUNTS = [
    (NTSC_24, False),
    (Fraction(24), False),
    (Fraction(25), False),
    (NTSC_30, False),
    (NTSC_30, True),
    (Fraction(30), False),
    (Fraction(50), False),
    (NTSC_60, False),
    (NTSC_60, True),
    (Fraction(60), False),
]
ODD_COUNTS = [(Fraction(14985, 1000), False), (Fraction(120), False), (Fraction(1, 3), False)]


@st.composite
def counted_frames(draw: st.DrawFn) -> tuple[int, Fraction, bool]:
    rate, drop_frame = draw(st.sampled_from(COUNTS + ODD_COUNTS))
    return draw(st.integers(0, frames_per_day(rate, drop_frame) - 1)), rate, drop_frame


@pytest.mark.parametrize(
    ("rate", "drop_frame", "frame", "text"),
    [
        (NTSC_30, True, 1799, "00:00:59;29"),
        (NTSC_30, True, 1800, "00:01:00;02"),
        (NTSC_30, True, 17981, "00:09:59;29"),
        (NTSC_30, True, 17982, "00:10:00;00"),
        (NTSC_30, True, 107892, "01:00:00;00"),
        (NTSC_30, False, 107892, "00:59:56:12"),
        (Fraction(25), False, 29, "00:00:01:04"),
        (NTSC_60, True, 3599, "00:00:59;59"),
        (NTSC_60, True, 3600, "00:01:00;04"),
        (NTSC_60, True, 35964, "00:10:00;00"),
        (NTSC_60, False, 215784, "00:59:56:24"),
        (Fraction(120), False, 119, "00:00:00:119"),
        (Fraction(120), False, 120, "00:00:01:000"),
        (Fraction(100), False, 199, "00:00:01:99"),
    ],
)
def test_known_frames_have_their_known_timecode(
    rate: Fraction, drop_frame: bool, frame: int, text: str
) -> None:
    assert text == frame_to_timecode(frame, rate, drop_frame)
    assert frame == timecode_to_frame(text, rate)


@pytest.mark.parametrize(
    ("rate", "base"),
    [
        (NTSC_30, 30),
        (NTSC_24, 24),
        (Fraction(14985, 1000), 15),
        (Fraction(25, 2), 13),
        (Fraction(1, 3), 1),
        (Fraction(50), 50),
    ],
)
def test_nominal_base_is_the_rate_rounded_half_up(rate: Fraction, base: int) -> None:
    assert base == nominal_base(rate)


@pytest.mark.parametrize("rate", [Fraction(0), Fraction(-25)])
def test_a_rate_must_be_above_zero(rate: Fraction) -> None:
    with pytest.raises(ValueError, match="above 0"):
        frame_to_timecode(0, rate)


def test_drop_frame_skips_two_numbers_each_minute_but_every_tenth() -> None:
    missing = []
    for frame in range(1, 2 * 17982):
        before = frame_to_timecode(frame - 1, NTSC_30, drop_frame=True)
        after = frame_to_timecode(frame, NTSC_30, drop_frame=True)
        if before.endswith("59;29") and after.endswith("00;02"):
            missing.append(after[:5])
    assert [f"00:{minute:02d}" for minute in range(20) if minute % 10] == missing


@given(counted_frames())
def test_a_frame_survives_the_way_to_timecode_and_back(counted: tuple[int, Fraction, bool]) -> None:
    frame, rate, drop_frame = counted
    text = frame_to_timecode(frame, rate, drop_frame)
    assert frame == timecode_to_frame(text, rate, drop_frame)
    assert frame == timecode_to_frame(text, rate)


@given(counted_frames())
def test_the_next_frame_of_the_day_has_a_later_timecode(counted: tuple[int, Fraction, bool]) -> None:
    frame, rate, drop_frame = counted
    if frame + 1 < frames_per_day(rate, drop_frame):
        assert frame_to_timecode(frame, rate, drop_frame) < frame_to_timecode(frame + 1, rate, drop_frame)


@given(counted_frames(), st.integers(1, 3))
def test_timecode_wraps_at_24_hours(counted: tuple[int, Fraction, bool], days: int) -> None:
    frame, rate, drop_frame = counted
    wrapped = frame + days * frames_per_day(rate, drop_frame)
    assert frame_to_timecode(frame, rate, drop_frame) == frame_to_timecode(wrapped, rate, drop_frame)


def test_a_day_holds_the_frames_that_the_standard_says() -> None:
    assert 2589408 == frames_per_day(NTSC_30, drop_frame=True)
    assert 2592000 == frames_per_day(NTSC_30)
    assert 24 * 3600 * 25 == frames_per_day(Fraction(25))


@given(st.sampled_from([NTSC_30, NTSC_60]), st.data())
def test_drop_frame_keeps_to_the_clock(rate: Fraction, data: st.DataObject) -> None:
    """Within the numbers skipped at once, and the 3.6 ms an hour that drop-frame leaves."""
    frame = data.draw(st.integers(0, frames_per_day(rate, drop_frame=True) - 1))
    clock, ff = frame_to_timecode(frame, rate, drop_frame=True).split(";")
    hours, minutes, seconds = (int(column) for column in clock.split(":"))
    shown_s = (hours * 60 + minutes) * 60 + seconds + Fraction(int(ff), nominal_base(rate))
    assert abs(shown_s - frame / rate) < Fraction(1, 15) + (hours + 1) * Fraction(36, 10000)


@pytest.mark.parametrize("rate", [NTSC_30, NTSC_60])
def test_drop_frame_is_3_6_ms_ahead_of_the_clock_after_each_hour(rate: Fraction) -> None:
    for hour in range(24):
        frame = timecode_to_frame(f"{hour:02d}:00:00;00", rate)
        assert hour * Fraction(36, 10000) == hour * 3600 - frame / rate


@pytest.mark.parametrize(("rate", "drop_frame"), COUNTS)
def test_opentimelineio_gives_the_same_timecode(rate: Fraction, drop_frame: bool) -> None:
    """Compared over 24 h of the clock: there it wraps non-drop 29.97, which counts 86 s more."""
    day = min(frames_per_day(rate, drop_frame), int(86400 * rate))
    edges = [minute * 60 * nominal_base(rate) + near for minute in range(25) for near in range(-3, 6)]
    frames = [*range(0, day, 997), *(frame for frame in edges if frame >= 0)]
    fps = float(rate)
    theirs = [opentime.to_timecode(opentime.RationalTime(f, fps), fps, drop_frame) for f in frames]
    assert theirs == [frame_to_timecode(f, rate, drop_frame) for f in frames]


@pytest.mark.parametrize(("rate", "drop_frame"), COUNTS)
def test_opentimelineio_reads_our_timecode_as_the_same_frame(rate: Fraction, drop_frame: bool) -> None:
    frames = [*range(0, frames_per_day(rate, drop_frame), 9973), 1799, 1800, 3599, 3600, 17981, 17982]
    texts = [frame_to_timecode(f, rate, drop_frame) for f in frames]
    assert frames == [int(opentime.from_timecode(text, float(rate)).value) for text in texts]


@pytest.mark.parametrize("text", ["00:01:00;00", "00:01:00;01", "01:59:00;00", "00.11.00;01", "00:01:00.00"])
def test_numbers_that_drop_frame_skips_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        timecode_to_frame(text, NTSC_30)


def test_59_94_skips_four_numbers() -> None:
    with pytest.raises(ValueError, match="does not exist"):
        timecode_to_frame("00:01:00;03", NTSC_60)
    assert 3600 == timecode_to_frame("00:01:00;04", NTSC_60)


@pytest.mark.parametrize("text", ["24:00:00:00", "00:60:00:00", "00:00:60:00", "00:00:00:25"])
def test_columns_out_of_range_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="out of range"):
        timecode_to_frame(text, Fraction(25))


@pytest.mark.parametrize(
    "text", ["", "0:00:00:00", "00:00:00", "00:00:00:0", "-1:00:00:00", "00:00:00:00\n", "00:00:00:0٣", "1/1"]
)
def test_text_that_is_no_timecode_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no timecode"):
        timecode_to_frame(text, Fraction(25))


def test_a_negative_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="before the timeline"):
        frame_to_timecode(-1, Fraction(25))


@pytest.mark.parametrize(
    "rate", [Fraction(25), Fraction(30), NTSC_24, Fraction(2997, 100), Fraction(120000, 1001)]
)
def test_drop_frame_exists_at_29_97_and_59_94_only(rate: Fraction) -> None:
    with pytest.raises(ValueError, match="drop-frame is defined at"):
        frame_to_timecode(0, rate, drop_frame=True)
    with pytest.raises(ValueError, match="drop-frame is defined at"):
        timecode_to_frame("00:00:00;00", rate)


@pytest.mark.parametrize("text", ["00:10:00:00", "00.10.00.00", "00:10:00.00", "00:10:00,00", "00;10;00;00"])
def test_every_separator_seen_in_files_is_read_when_the_count_is_known(text: str) -> None:
    assert 17982 == timecode_to_frame(text, NTSC_30, drop_frame=True)
    assert 18000 == timecode_to_frame(text, NTSC_30, drop_frame=False)


@pytest.mark.parametrize(
    ("text", "drop_frame"),
    [
        ("01:00:00:00", False),
        ("01.00.00.00", False),
        ("01:00:00;00", True),
        ("01;00;00;00", True),
        ("01:00:00,00", True),
        ("01:00:00.00", True),
    ],
)
def test_the_separator_before_the_frames_says_drop_frame(text: str, drop_frame: bool) -> None:
    assert drop_frame is says_drop_frame(text)
    assert drop_frame is default_drop_frame(NTSC_30, text)


@pytest.mark.parametrize(
    ("rate", "embedded", "drop_frame"),
    [
        (NTSC_30, None, True),
        (NTSC_60, None, True),
        (NTSC_30, "unknown", True),
        (NTSC_30, "00:00:00:00", False),
        (NTSC_24, None, False),
        (Fraction(25), None, False),
        (Fraction(25), "10:00:00;00", False),
        (Fraction(2997, 100), None, False),
    ],
)
def test_an_embedded_timecode_decides_where_the_rate_leaves_a_choice(
    rate: Fraction, embedded: str | None, drop_frame: bool
) -> None:
    assert drop_frame is default_drop_frame(rate, embedded)


@pytest.mark.parametrize(
    ("rate", "embedded", "start"),
    [
        (Fraction(25), "10:00:00:00", (900000, False)),
        (Fraction(25), "10:00:00;00", (900000, False)),
        (NTSC_30, "01:00:00;00", (107892, True)),
        (NTSC_30, "01:00:00:00", (108000, False)),
        (NTSC_30, "00:01:00;00", (0, True)),
        (NTSC_30, None, (0, True)),
        (Fraction(25), "not a timecode", (0, False)),
        (Fraction(25), "", (0, False)),
    ],
)
def test_a_start_timecode_that_cannot_be_read_counts_as_midnight(
    rate: Fraction, embedded: str | None, start: tuple[int, bool]
) -> None:
    assert start == start_of_timeline(rate, embedded)
