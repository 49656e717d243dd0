"""Timeline formats: each turns a result into the bytes of a file that an editor opens.

A format is a name in `FormatName` (shared.contracts) and an entry of that name in `_WRITERS`: mypy refuses
an entry without a name, and the import fails for a name without an entry. Every timeline can be written again
from result.json, which is itself the format "json".
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

from shared.contracts import FormatName, Result
from shared.errors import InvalidRequest
from shared.timelines._original_edl import write_original_edl
from shared.timelines.timecode import timecode_to_frame


class UnknownFormat(InvalidRequest):
    code = "unknown_format"
    action = "Name one of the timeline formats that the message lists."


@dataclass(frozen=True)
class Format:
    file_name: str
    media_type: str
    write: Callable[[Result], bytes]


def write_timeline(result: Result, format: str) -> bytes:
    """The result as the bytes of one format: the same result gives the same bytes.

    Raises UnknownFormat for a name that is not in FORMATS, and ValueError where the result
    contradicts itself (its start timecode does not exist at its rate).
    """
    if format not in FORMATS:
        raise UnknownFormat(f"There is no timeline format {format!r}; there are {', '.join(FORMATS)}.")
    return FORMATS[format].write(result)


def _original_edl(result: Result) -> bytes:
    video = result.video
    edits = sorted(result.edits, key=lambda edit: edit.number)
    return write_original_edl(
        title=result.title,
        clip_name=video.name,
        rate=video.rate,
        drop_frame=video.drop_frame,
        start_frame=timecode_to_frame(video.start_timecode, video.rate, video.drop_frame),
        clips=[(edit.source_in_frame, edit.source_out_frame) for edit in edits],
        audio=video.audio,
        gaps=result.gaps,
    ).encode("ascii")


def _json(result: Result) -> bytes:
    """Canonical: keys sorted, two spaces, UTF-8 as it is, a line feed at the end, no NaN."""
    value = result.model_dump(mode="json")
    return (json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


_WRITERS: dict[FormatName, Format] = {
    "original-edl": Format("cut.edl", "text/plain; charset=us-ascii", _original_edl),
    "json": Format("result.json", "application/json", _json),
}

FORMATS: dict[str, Format] = {name: _WRITERS[name] for name in get_args(FormatName)}
"""Name of a format, as a request gives it -> the format."""
