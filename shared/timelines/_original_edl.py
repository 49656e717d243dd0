"""The edit decision list in the original dialect (pure).

CMX 3600 with columns parted by one space and event numbers of six digits. Each clip is preceded
by a second of black, and stands in the list as a V event, an AA event and a NONE event with
AUD 3 4, each with its clip name. Bytes: ASCII; every line ends in a line feed, the last one too;
one empty line before each event and none after the last.

Strict CMX 3600 readers know columns by their place, and AUD only right under its event. This
dialect has neither; it is written for the systems that have always read it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from fractions import Fraction
from itertools import count

from shared.contracts import Gap
from shared.timelines.timecode import frame_to_timecode, nominal_base

MAX_TITLE_CHARS = 70
"""The TITLE line then fits a list of 80 columns."""
MAX_CLIP_NAME_CHARS = 255
"""The longest file name of the usual file systems: editors find media again by this name."""

_LIKE_ASCII = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛", "'"),
        **dict.fromkeys("“”„‟", '"'),
        **dict.fromkeys("‐‒–—", "-"),
        **dict(zip("øØłŁđĐðÐı", "oOlLdDdDi", strict=True)),
        **dict(zip("ßæÆœŒþÞ", ("ss", "ae", "AE", "oe", "OE", "th", "Th"), strict=True)),
    }
)
"""Letters of European names, and typographic marks, that Unicode does not decompose."""


def write_original_edl(
    *,
    title: str,
    clip_name: str,
    rate: Fraction,
    drop_frame: bool,
    start_frame: int,
    clips: Sequence[tuple[int, int]],
    audio: bool,
    gaps: Sequence[Gap] = (),
) -> str:
    """Write the list; the text is ASCII.

    clips: source spans [in, out) in frames of the timeline, in the order of the record side.
    start_frame: the video's start timecode as a frame count; it shifts the source columns and
    the gaps. Record columns begin at 00:00:00:00. Both wrap at 24 h.
    audio: False leaves out the AA and NONE events.
    gaps: spans that were not scored, written as comments under the first event, since readers take a
    comment for a part of the event before it and may refuse one before all events:
    `* MATCHCUT GAP: <in> <out> <kind> <code> <models>`.
    title, clip_name: any text; see `edl_text`.

    Black lasts `nominal_base(rate)` frames, so it reads as one second at every rate (and is
    1001 ms at 29.97). No clips give the TITLE and FCM lines alone; with gaps, one second of black as well,
    which bears them.

    Raises ValueError for a span that is empty or begins before frame 0, and where drop-frame is
    not defined for the rate.
    """

    def columns(in_frame: int, out_frame: int) -> str:
        in_code, out_code = (frame_to_timecode(frame, rate, drop_frame) for frame in (in_frame, out_frame))
        return f"{in_code} {out_code}"

    def source_columns(in_frame: int, out_frame: int) -> str:
        if not 0 <= in_frame < out_frame:
            raise ValueError(f"[{in_frame}, {out_frame}) is no span of the timeline")
        return columns(start_frame + in_frame, start_frame + out_frame)

    lines = [
        f"TITLE: {edl_text(title, MAX_TITLE_CHARS)}",
        f"FCM: {'DROP FRAME' if drop_frame else 'NON-DROP FRAME'}",
    ]
    remarks = []
    for gap in gaps:
        reason = edl_text(f"{gap.kind} {gap.code} {' '.join(gap.models)}", MAX_CLIP_NAME_CHARS)
        remarks.append(f"* MATCHCUT GAP: {source_columns(gap.start_frame, gap.end_frame)} {reason}")

    comment = f"* FROM CLIP NAME: {edl_text(clip_name, MAX_CLIP_NAME_CHARS)}"
    numbers = count(1)
    black_frames = nominal_base(rate)
    record = 0
    for in_frame, out_frame in clips:
        black = f"{columns(0, black_frames)} {columns(record, record + black_frames)}"
        record += black_frames
        clip = f"{source_columns(in_frame, out_frame)} {columns(record, record + out_frame - in_frame)}"
        record += out_frame - in_frame
        lines += ["", f"{next(numbers):06d} BL V C {black}"]
        for channels in ("V", "AA", "NONE") if audio else ("V",):
            lines += ["", f"{next(numbers):06d} AX {channels} C {clip}", comment]
            if channels == "NONE":
                lines.append("AUD 3 4")
    if remarks and not clips:
        second = columns(0, black_frames)
        lines += ["", f"{next(numbers):06d} BL V C {second} {second}"]
    lines[4:4] = remarks  # right under the first event, which is black
    return "\n".join(lines) + "\n"


def edl_text(text: str, max_chars: int) -> str:
    """Any text as one stretch of printable ASCII that cannot end its line.

    Letters lose their accents (NFKD, and a few that it does not take apart); whitespace and
    control characters become one space; marks and invisible characters go; what is left that is
    not ASCII becomes `?`. Quotes stay: they mean nothing in a list. Cut at max_chars; UNNAMED
    where nothing is left.
    """
    ascii_text = "".join(
        _as_ascii(char) for char in unicodedata.normalize("NFKD", text.translate(_LIKE_ASCII))
    )
    return " ".join(ascii_text.split())[:max_chars].rstrip() or "UNNAMED"


def _as_ascii(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Cc" or category.startswith("Z"):
        return " "
    if char.isascii():
        return char
    return "" if category == "Cf" or category.startswith("M") else "?"
