"""Frame numbers to timecode and back, in integers only.

A timecode is the reading of a 24 h clock that numbers `nominal_base(rate)` frames each second. Where the true
rate is a little lower (30000/1001 against 30), that clock loses 3.6 s an hour. Drop-frame (SMPTE ST 12-1)
corrects this: it skips the first 2 numbers (4 at 60000/1001) of every minute except each tenth one. It skips
numbers, never frames.

Text: HH:MM:SS:FF, and HH:MM:SS;FF for drop-frame. FF has as many digits as the highest number
needs, at least two: three above 100 frames a second.
"""

from __future__ import annotations

import re
from fractions import Fraction

DROP_FRAME_RATES = frozenset({Fraction(30000, 1001), Fraction(60000, 1001)})
"""The rates at which drop-frame is defined."""

_TEXT = re.compile(r"([0-9]{2})[:;.]([0-9]{2})([:;.])([0-9]{2})([:;.,])([0-9]{2,})")


def nominal_base(rate: Fraction) -> int:
    """How many frames one second of timecode numbers: the rate, rounded half up, at least 1.

    30000/1001 -> 30, 24000/1001 -> 24, 14985/1000 -> 15. Raises ValueError unless rate > 0.
    """
    if rate <= 0:
        raise ValueError(f"a rate is above 0 frames per second, not {rate}")
    return max(1, (2 * rate.numerator + rate.denominator) // (2 * rate.denominator))


def frames_per_day(rate: Fraction, drop_frame: bool = False) -> int:
    """How many frames 24 h of timecode number: at 29.97, 2589408 with drop-frame and 2592000 without.

    Raises ValueError where drop-frame is not defined for the rate.
    """
    return _frame_of(nominal_base(rate) * 86400, nominal_base(rate), _skip(rate, drop_frame))


def frame_to_timecode(frame: int, rate: Fraction, drop_frame: bool = False) -> str:
    """The timecode of a frame, from 0. It wraps at 24 h: frame `frames_per_day` is 00:00:00:00 again.

    Raises ValueError for a negative frame, and where drop-frame is not defined for the rate.
    """
    if frame < 0:
        raise ValueError(f"frame {frame} lies before the timeline")
    base, skip = nominal_base(rate), _skip(rate, drop_frame)
    number = _number_of(frame % frames_per_day(rate, drop_frame), base, skip)
    seconds, ff = divmod(number, base)
    minutes, ss = divmod(seconds, 60)
    hh, mm = divmod(minutes, 60)
    digits = max(2, len(str(base - 1)))
    return f"{hh:02d}:{mm:02d}:{ss:02d}{';' if drop_frame else ':'}{ff:0{digits}d}"


def timecode_to_frame(text: str, rate: Fraction, drop_frame: bool | None = None) -> int:
    """The frame, in [0, frames_per_day), that has this timecode.

    The separators may be `:`, `;` and `.`, and before FF also `,`. drop_frame None: the separators say
    whether the text is drop-frame (see `says_drop_frame`). True or False overrides them, since lists with the
    heading FCM: DROP FRAME often write `:`.

    Raises ValueError for text that is no timecode, for a column out of range, for a number that drop-frame
    skips, and where drop-frame is not defined for the rate.
    """
    hh, mm, _, ss, _, ff = _columns(text)
    base = nominal_base(rate)
    skip = _skip(rate, says_drop_frame(text) if drop_frame is None else drop_frame)
    hours, minutes, seconds, frames = int(hh), int(mm), int(ss), int(ff)
    if hours > 23 or minutes > 59 or seconds > 59 or frames >= base:
        raise ValueError(f"timecode {text!r} is out of range: 24 h, 60 min, 60 s, {base} frames")
    if frames < skip and seconds == 0 and minutes % 10:
        raise ValueError(f"timecode {text!r} does not exist: drop-frame skips it")
    return _frame_of(((hours * 60 + minutes) * 60 + seconds) * base + frames, base, skip)


def says_drop_frame(text: str) -> bool:
    """Whether a timecode is written as drop-frame: with `;` or `,` before FF, or with `.` before FF and
    another separator elsewhere, as players without a semicolon write it.

    Raises ValueError for text that is no timecode.
    """
    _, _, between, _, before_ff, _ = _columns(text)
    return before_ff in ";," or (before_ff == "." and between != ".")


def default_drop_frame(rate: Fraction, start_timecode: str | None) -> bool:
    """Whether a video's timeline counts drop-frame.

    At a rate that has drop-frame, the embedded start timecode decides. Without one, or with an unreadable
    one, the answer is True, so that timecode agrees with the clock. At other rates it is False.
    """
    if rate not in DROP_FRAME_RATES:
        return False
    if start_timecode is None or _TEXT.fullmatch(start_timecode) is None:
        return True
    return says_drop_frame(start_timecode)


def start_of_timeline(rate: Fraction, start_timecode: str | None) -> tuple[int, bool]:
    """(start frame, drop_frame) from the start timecode of a file, None where it has none.

    A faulty tag must not fail the job: a timecode that cannot be read, or that does not exist at this rate,
    counts as 00:00:00:00.
    """
    drop_frame = default_drop_frame(rate, start_timecode)
    try:
        return timecode_to_frame(start_timecode or "00:00:00:00", rate, drop_frame), drop_frame
    except ValueError:
        return 0, drop_frame


def _columns(text: str) -> tuple[str, ...]:
    found = _TEXT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no timecode HH:MM:SS:FF")
    return found.groups()


def _skip(rate: Fraction, drop_frame: bool) -> int:
    """How many numbers drop-frame skips in every minute except each tenth: 1/15 of the base, 2 at 30, 4 at
    60."""
    if not drop_frame:
        return 0
    if rate not in DROP_FRAME_RATES:
        raise ValueError(f"drop-frame is defined at 30000/1001 and 60000/1001, not at {rate}")
    return nominal_base(rate) // 15


def _number_of(frame: int, base: int, skip: int) -> int:
    """The frame's place in the count of all numbers, including skipped ones."""
    tens, rest = divmod(frame, 600 * base - 9 * skip)
    # The first of ten minutes skips nothing, so it has `skip` frames more than each of the other nine.
    minutes = max(0, (rest - skip) // (60 * base - skip))
    return frame + skip * (9 * tens + minutes)


def _frame_of(number: int, base: int, skip: int) -> int:
    """The inverse of _number_of."""
    minutes = number // (60 * base)
    return number - skip * (minutes - minutes // 10)
