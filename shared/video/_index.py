"""The index of an mp4 or mov, and which of its entries lie in the file.

The index may precede the data (faststart). If such a file is cut off during its transfer, its index still
lists all of the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction

from av.container import InputContainer
from av.index import IndexEntry
from av.packet import Packet
from av.stream import Discard, Stream


def indexed(container: InputContainer) -> bool:
    """Whether the container is an mp4 or mov, which has such an index."""
    return "mov" in container.format.name


def complete_entries(container: InputContainer, stream: Stream, length_bytes: int) -> list[IndexEntry]:
    """The index entries of a stream whose bytes lie entirely in the file, in order; in other containers, all.

    length_bytes: the length of the file.
    """
    entries = list(stream.index_entries)
    if not indexed(container):
        return entries
    return [entry for entry in entries if entry.pos + entry.size <= length_bytes]


def missing_frames(
    container: InputContainer, stream: Stream, length_bytes: int, origin_s: Fraction, rate: Fraction
) -> tuple[int, int] | None:
    """[start, end) in timeline frames, by time stamps: the part of a stream that a cut-off file lacks.

    None where nothing is missing, or where the stream declares no duration.
    """
    complete = len(complete_entries(container, stream, length_bytes))
    entries = list(stream.index_entries)
    if complete == len(entries) or not stream.duration or not stream.time_base:
        return None
    times = (entries[complete].timestamp, (stream.start_time or 0) + stream.duration)
    start, end = (max(0, round((time * stream.time_base - origin_s) * rate)) for time in times)
    return start, end


def packets(container: InputContainer, streams: Sequence[Stream]) -> Iterator[Packet[Stream]]:
    """Packets as container.demux gives them, but to the end of each stream.

    demux raises IndexError after the last packet where a stream begins in the middle of the file: that is
    ignored. In an mp4, demux ends as soon as one of the streams that it reads breaks off. So here it reads
    only the streams of `streams`, first together, then the rest of each alone.
    """
    if not indexed(container):
        with suppress(IndexError):
            yield from container.demux(*streams)
        return
    ends: dict[int, Packet[Stream]] = {}
    alone = [(stream,) for stream in streams] if len(streams) > 1 else []
    for group in (streams, *alone):
        for stream in container.streams:
            stream.discard = Discard.default if stream in group else Discard.all
        for packet in container.demux(*group):
            if packet.size or packet.dts is not None:
                yield packet
            else:
                ends[packet.stream.index] = packet
    yield from ends.values()
