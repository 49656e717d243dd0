"""The index of an mp4 or mov, and how much of what it names the file holds.

Such an index may stand before what it names (faststart). A file that was cut off while it was sent then says
that all of it is there.
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
    """Whether it has such an index."""
    return "mov" in container.format.name


def entries_there(container: InputContainer, stream: Stream, length_bytes: int) -> list[IndexEntry]:
    """The entries of a stream whose bytes lie in the file as a whole, in order; in other containers, all."""
    entries = list(stream.index_entries)
    if not indexed(container):
        return entries
    return [entry for entry in entries if entry.pos + entry.size <= length_bytes]


def missing_frames(
    container: InputContainer, stream: Stream, length_bytes: int, origin_s: Fraction, rate: Fraction
) -> tuple[int, int] | None:
    """[start, end) on the timeline, by the time stamps: what a stream would have were the file not cut off.

    None where nothing of it is missing, or where it does not say how long it is.
    """
    there = len(entries_there(container, stream, length_bytes))
    entries = list(stream.index_entries)
    if there == len(entries) or not stream.duration or not stream.time_base:
        return None
    times = (entries[there].timestamp, (stream.start_time or 0) + stream.duration)
    start, end = (max(0, round((time * stream.time_base - origin_s) * rate)) for time in times)
    return start, end


def packets(container: InputContainer, streams: Sequence[Stream]) -> Iterator[Packet[Stream]]:
    """container.demux, to the end of each stream.

    It may end with an IndexError, after all that it has to say, where a stream begins in the middle of the
    file. And in an mp4 it ends with the first stream that breaks off, of all that it reads: so nothing is
    read there that was not asked for, and then each stream goes on alone.
    """
    if not indexed(container):
        with suppress(IndexError):
            yield from container.demux(*streams)
        return
    ends: dict[int, Packet[Stream]] = {}
    alone = [(stream,) for stream in streams] if len(streams) > 1 else []
    for asked in (streams, *alone):
        for stream in container.streams:
            stream.discard = Discard.default if stream in asked else Discard.all
        for packet in container.demux(*asked):
            if packet.size or packet.dts is not None:
                yield packet
            else:
                ends[packet.stream.index] = packet
    yield from ends.values()
