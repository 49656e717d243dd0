"""The edit decision list in the original dialect. It reads and writes no files.

The dialect is CMX 3600 with one space between columns and event numbers of six digits. A second of black
precedes each clip. A clip is a V event, an AA event and a NONE event with AUD 3 4, each with the clip name.
Bytes: ASCII; every line, including the last, ends in a line feed; one empty line precedes each event and none
follows the last.

Strict CMX 3600 readers find columns by their position, and AUD only directly under its event. The dialect
meets neither rule; it exists for the systems that have always read it.
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
"""The longest file name of common file systems, since editors relink media by this name."""

_LIKE_ASCII = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛", "'"),
        **dict.fromkeys("“”„‟", '"'),
        **dict.fromkeys("‐‒–—", "-"),
        **dict(zip("øØłŁđĐðÐı", "oOlLdDdDi", strict=True)),
        **dict(zip("ßæÆœŒþÞ", ("ss", "ae", "AE", "oe", "OE", "th", "Th"), strict=True)),
    }
)
"""ASCII for letters of European names and for typographic marks that Unicode does not decompose."""


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
    gaps: spans that were not scored, as comments `* MATCHCUT GAP: <in> <out> <kind> <code> <models>` under
    the first event: readers attach a comment to the event before it, and may refuse one before all events.
    title, clip_name: any text; see `edl_text`.

    Black lasts `nominal_base(rate)` frames, which is one second of timecode at every rate (and 1001 ms at
    29.97). Without clips the list has only the TITLE and FCM lines, and, where there are gaps, one second of
    black that carries their comments.

    Raises ValueError for a span that is empty or begins before frame 0, and where drop-frame is not defined
    for the rate.
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
    lines[4:4] = remarks  # directly under the first event, which is black
    return "\n".join(lines) + "\n"


def edl_text(text: str, max_chars: int) -> str:
    """Any text as printable ASCII on one line, of at most max_chars characters.

    Letters lose their accents (by NFKD, and by _LIKE_ASCII for those that it does not decompose). A run of
    whitespace and control characters becomes one space. Marks and invisible characters are removed. Every
    other character outside ASCII becomes `?`. Quotes stay, since a list gives them no meaning. An empty text
    becomes UNNAMED.
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
