"""The sound's packets, gathered while segments read the picture, so that the file is read once.

A segment demuxes the sound along with the picture anyway. It keeps the sound's packets whose PTS lies in its
core (a part), and the name of the packet that follows. Parts join to one sound only if, from the beginning of
the file to its end, each begins with the packet that follows the part before. If they do not, the sound is
read in a pass of its own (shared/video/sound.py).
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, cast, get_args

import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet, PacketSideData, PktSideDataT
from av.stream import Stream

from shared.contracts import VideoInfo
from shared.video._container import decoded, open_container
from shared.video.hearing import Samples
from shared.video.ranges import RangeReader
from shared.video.sound import Listener, hear

MOST_BYTES = 64 << 20
"""A larger part (uncompressed sound, long segments) is not gathered, since it would be in memory twice."""
_GATHER_ON_BYTES = 8 << 20
"""How much of the file to read after the last needed picture, to find the sound's next packet."""
_KEY, _CORRUPT, _DISCARD = 1, 2, 4
_NONE = np.iinfo(np.int64).min
_SIDE_DATA = cast(tuple[PktSideDataT, ...], get_args(PktSideDataT))


@dataclass(frozen=True)
class Packets:
    """n packets of one stream in the order of the file. Times are in units of the stream's time base."""

    times: npt.NDArray[np.int64]
    """(n, 3): pts, dts, duration; the lowest int64 for a missing one."""
    flags: npt.NDArray[np.uint8]
    """(n,): the sum of 1 for key, 2 for corrupt, 4 for discard."""
    sizes: npt.NDArray[np.int64]
    """(n,), in bytes."""
    data: npt.NDArray[np.uint8]
    """All payloads, concatenated."""
    side: npt.NDArray[np.int64]
    """(m, 3), one row per piece of side data, such as samples to skip: index of its packet, type (libav's
    number), size in bytes."""
    side_data: npt.NDArray[np.uint8]
    """All pieces of side data, concatenated."""

    def __len__(self) -> int:
        return len(self.sizes)

    def of(self, stream: Stream) -> Iterator[tuple[Packet[Stream], bool]]:
        """(packet, whether its frames must not be shown) of each packet, made for a stream of the open
        file."""
        ends, side_ends = np.cumsum(self.sizes).tolist(), np.cumsum(self.side[:, 2]).tolist()
        first_side = np.searchsorted(self.side[:, 0], np.arange(len(self) + 1)).tolist()
        sizes, times, flags = self.sizes.tolist(), self.times.tolist(), self.flags.tolist()
        for index, (size, end) in enumerate(zip(sizes, ends, strict=True)):
            packet = _empty(stream, size)
            packet.update(self.data[end - size : end].tobytes())
            packet.pts, packet.dts, packet.duration = (
                None if time == _NONE else time for time in times[index]
            )
            packet.is_keyframe = bool(flags[index] & _KEY)
            packet.is_corrupt = bool(flags[index] & _CORRUPT)
            for entry in range(first_side[index], first_side[index + 1]):
                _, kind, length = self.side[entry].tolist()
                piece = cast(Any, PacketSideData)(kind, length)
                stop = side_ends[entry]
                memoryview(piece)[:] = self.side_data[stop - length : stop].tobytes()
                packet.set_sidedata(piece)
            yield packet, bool(flags[index] & _DISCARD)


def _empty(stream: Stream, size: int = 0) -> Packet[Stream]:
    packet: Packet[Stream] = Packet(size)  # libav's own buffer: decoders read a few bytes past the end
    packet.stream = stream
    if stream.time_base is not None:
        packet.time_base = stream.time_base
    return packet


@dataclass(frozen=True)
class Part:
    """An unbroken sequence of packets that one segment gathered, and the names that join it to the next
    part."""

    packets: Packets
    first: bool
    """Whether the part begins at the start of the file."""
    head: str
    """Name of its first packet or, in an empty part, of the packet that follows; empty at the end of the
    file."""
    follower: str
    """Name of the packet after its last one; empty at the end of the file."""

    def to_npz(self) -> bytes:
        """The same part gives the same bytes (numpy writes fixed dates into the archive)."""
        out = io.BytesIO()
        joints = np.array([str(int(self.first)), self.head, self.follower])
        np.savez(out, joints=joints, **vars(self.packets))
        return out.getvalue()


def part_of_npz(data: bytes) -> Part:
    """The inverse of Part.to_npz."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    first, head, follower = (str(joint) for joint in arrays.pop("joints"))
    return Part(Packets(**arrays), first == "1", head, follower)


@dataclass
class Joined:
    """Parts in the order of their cores, as the packets of one sound; it holds one part at a time.

    Iterate, then check `broken`: the iteration stops at the first part that may not follow the one before.
    """

    parts: Iterable[Part | None]
    """None for a segment that gathered no complete part."""
    broken: bool = False
    """Whether packets may be missing."""

    def __iter__(self) -> Iterator[Packets]:
        self.broken = True
        expected = None
        for part in self.parts:
            if part is None or part.first != (expected is None) or (not part.first and part.head != expected):
                return
            yield part.packets
            expected = part.follower
        self.broken = expected != ""


def gathered_sound(
    joined: Joined, reader: RangeReader, info: VideoInfo, rate_hz: int, limit_s: int, errors: list[str]
) -> Iterator[Samples]:
    """sound() from gathered packets: the same samples, to the bit, but it reads only header and index of the
    file.

    The samples are worthless where joined.broken is set afterwards. It is not set if limit_s was reached.
    """
    if info.audio_stream is None:
        return
    with open_container(reader) as container:
        stream = container.streams[info.audio_stream]
        assert isinstance(stream, AudioStream)
        stream.codec_context.thread_count = 1
        listener = Listener(info, (rate_hz,), limit_s)
        yield from (heard.samples for heard in hear(_decoded(joined, stream, errors), listener))
        if listener.done:
            joined.broken = False  # later packets are beyond the limit


def _decoded(joined: Joined, stream: AudioStream, errors: list[str]) -> Iterator[AudioFrame]:
    for packets in joined:
        for packet, hidden in packets.of(stream):
            frames = decoded(packet, errors)
            if not hidden:  # PyAV cannot set the discard flag, by which the decoder would drop these frames
                yield from frames
    yield from decoded(_empty(stream), errors)


class Gather:
    """Collects the sound's packets of the core [start_frame, end_frame), or to the end of the file for None.

    The first core also gets the packets before frame 0.
    """

    def __init__(self, info: VideoInfo, start_frame: int, end_frame: int | None) -> None:
        self._info, self._start_frame, self._end_frame = info, start_frame, end_frame
        self._start_pts: int | None = None
        self._end_pts: int | None = None
        self.restart()

    def restart(self) -> None:
        """Forget all packets, because the demuxer has sought elsewhere."""
        self.done = False
        """Whether no further packet is needed: the part is complete, or never will be."""
        self._packets: list[Packet[Stream]] = []
        self._held_bytes = self._read_on_bytes = 0
        self._last_pts: int | None = None
        self._follower: str | None = None

    def stream_of(self, container: InputContainer) -> Stream | None:
        """The stream whose packets `take` needs; None for no sound."""
        if self._info.audio_stream is None:
            return None
        stream = container.streams[self._info.audio_stream]
        if stream.time_base is None:
            return None
        origin_s = self._info.origin_pts * self._info.time_base
        pts_of = [
            None if frame is None else ceil((frame / self._info.rate + origin_s) / stream.time_base)
            for frame in (self._start_frame or None, self._end_frame)
        ]
        self._start_pts, self._end_pts = pts_of
        return stream

    def take(self, packet: Packet[Stream]) -> None:
        """Take the next packet of the sound. Gathering gives up where times do not rise, since they cannot be
        cut."""
        if self.done:
            if self._follower == "":  # the end of the file turned out not to be its end
                self.give_up()
            return
        pts, whole = packet.pts, self._start_pts is None and self._end_pts is None
        if pts is None and not packet.size:
            self._finish("")
        elif not packet.size or (not whole and (pts is None or not self._rises(pts))):
            self.give_up()
        elif pts is not None and self._start_pts is not None and pts < self._start_pts:
            pass
        elif pts is not None and self._end_pts is not None and pts >= self._end_pts:
            self._finish(_name(packet))
        else:
            self._packets.append(packet)
            self._held_bytes += packet.size
            if self._held_bytes > MOST_BYTES:
                self.give_up()
        self._last_pts = pts

    def read_on(self, size_bytes: int) -> None:
        """Count bytes that were read after the last needed picture; give up beyond _GATHER_ON_BYTES."""
        self._read_on_bytes += size_bytes
        if self._read_on_bytes > _GATHER_ON_BYTES:
            self.give_up()

    def part(self) -> Part | None:
        """The part; None where the core's packets were not all taken."""
        if self._follower is None:
            return None
        head = _name(self._packets[0]) if self._packets else self._follower
        return Part(_packed(self._packets), not self._start_frame, head, self._follower)

    def _rises(self, pts: int) -> bool:
        return self._last_pts is None or pts > self._last_pts

    def _finish(self, follower: str) -> None:
        self.done, self._follower = True, follower

    def give_up(self) -> None:
        """Drop the part: the sound is then read in a pass of its own."""
        self.done, self._follower = True, None
        self._packets = []


def _name(packet: Packet[Stream]) -> str:
    """The packet's name: sha256 of all its data that a decoder sees."""
    return hashlib.sha256(b"".join(array.tobytes() for array in vars(_packed([packet])).values())).hexdigest()


def _packed(packets: Sequence[Packet[Stream]]) -> Packets:
    def number(time: int | None) -> int:
        return _NONE if time is None else time

    pieces = [(at, piece) for at, packet in enumerate(packets) for piece in packet.iter_sidedata()]
    times = [(number(packet.pts), number(packet.dts), number(packet.duration)) for packet in packets]
    side = [
        (at, _SIDE_DATA.index(cast(PktSideDataT, piece.data_type)), piece.data_size) for at, piece in pieces
    ]
    flags = [
        packet.is_keyframe * _KEY | packet.is_corrupt * _CORRUPT | packet.is_discard * _DISCARD
        for packet in packets
    ]
    return Packets(
        times=np.array(times, np.int64).reshape(-1, 3),
        flags=np.array(flags, np.uint8),
        sizes=np.array([packet.size for packet in packets], np.int64),
        data=np.frombuffer(b"".join(bytes(packet) for packet in packets), np.uint8),
        side=np.array(side, np.int64).reshape(-1, 3),
        side_data=np.frombuffer(b"".join(bytes(piece) for _, piece in pieces), np.uint8),
    )
