"""Read video and sound exactly, through libav, from any seekable reader (floor 3).

Containers lie about length and frame counts, so what is trusted is what decodes: its PTS
put every frame on the timeline (contracts.VideoInfo), and a span is decoded by seeking to
a frame at or before its start and dropping what lies outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast, overload

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from shared.contracts import VideoInfo
from shared.errors import NotAVideo, NoVideoStream
from shared.ranges import RangeReader

Pixels = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.float32]

# By name, so that a playlist or a concat script opens nothing; and no protocol of libav's own.
_OPEN_OPTIONS = {
    "format_whitelist": "mov,mp4,matroska,webm,mpegts,avi,mxf,ogg",
    "protocol_whitelist": "none",
}
_STANDARD_RATES = tuple(
    Fraction(rate)
    for rate in (
        "24000/1001",
        "24",
        "25",
        "30000/1001",
        "30",
        "48",
        "50",
        "60000/1001",
        "60",
        "100",
        "120000/1001",
        "120",
    )
)
_MAX_RATE = 240


def snap_rate(rate: Fraction) -> Fraction:
    """The standard rate within 0.05 % of it, else the rate itself with a small denominator, at least 1:
    a slower video lies on a grid of seconds, as its timecode does."""
    nearest = min(_STANDARD_RATES, key=lambda standard: abs(standard - rate))
    return (
        nearest if abs(nearest - rate) <= nearest / 2000 else max(Fraction(1), rate.limit_denominator(1001))
    )


def _nominal_rate(stream: VideoStream) -> Fraction:
    for rate in (stream.guessed_rate, stream.average_rate, stream.base_rate):
        if rate and 0 < rate <= _MAX_RATE:
            return snap_rate(Fraction(rate))
    return Fraction(25)  # time stamps without a rhythm: the grid is a convention then


def timeline_frame(pts: int, origin_pts: int, time_base: Fraction, rate: Fraction) -> int:
    """floor((pts - origin) * time_base * rate + 1/2): rounding half up, in integers."""
    exact = (pts - origin_pts) * time_base * rate
    return (2 * exact.numerator + exact.denominator) // (2 * exact.denominator)


@contextmanager
def open_container(reader: RangeReader) -> Iterator[InputContainer]:
    """Raises NotAVideo where no allowed container format is found, or storage's own failure."""
    reader.seek(0)
    try:
        container = av.open(reader, mode="r", options=dict(_OPEN_OPTIONS), metadata_errors="replace")
    except (av.FFmpegError, ValueError):
        if reader.failure:
            raise reader.failure from None
        raise NotAVideo("The blob is none of the container formats this service reads.") from None
    with container:
        yield container


def demux(
    container: InputContainer, streams: Sequence[Stream], reader: RangeReader, errors: list[str]
) -> Iterator[Packet[Stream]]:
    """Packets of the streams as the file holds them, then an empty one for each, which flushes its decoder.

    Where the file breaks off, the error is added to `errors` and nothing is flushed.
    Raises storage's own failure.
    """
    packets = container.demux(*streams)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except (av.FFmpegError, ValueError) as error:
            errors.append(type(error).__name__)
            break
        yield packet
        if reader.failure:
            break
    if reader.failure:
        raise reader.failure


def decoded(packet: Packet[Stream], errors: list[str]) -> list[Any]:
    """The frames that a packet completes. What does not decode is counted and passed over."""
    try:
        return cast(list[Any], packet.decode())
    except (av.FFmpegError, ValueError) as error:
        errors.append(type(error).__name__)
        return []


@overload
def decode(
    container: InputContainer, stream: VideoStream, reader: RangeReader, errors: list[str]
) -> Iterator[VideoFrame]: ...
@overload
def decode(
    container: InputContainer, stream: AudioStream, reader: RangeReader, errors: list[str]
) -> Iterator[AudioFrame]: ...
def decode(
    container: InputContainer, stream: VideoStream | AudioStream, reader: RangeReader, errors: list[str]
) -> Iterator[VideoFrame] | Iterator[AudioFrame]:
    """Frames in presentation order. What does not decode is counted and passed over."""
    for packet in demux(container, (stream,), reader, errors):
        yield from decoded(packet, errors)


def _picture_stream(container: InputContainer) -> VideoStream:
    for stream in container.streams.video:
        if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic:
            stream.codec_context.thread_count = 1  # one thread per process costs 0.82 of many
            return stream
    raise NoVideoStream("The file has no video stream.")


def frame_number(pts: int | None, info: VideoInfo) -> int | None:
    """The place of a PTS on the video's timeline, 0 for those before it; None where there is no PTS."""
    if pts is None:
        return None
    return max(0, timeline_frame(pts, info.origin_pts, info.time_base, info.rate))


def pts_of(frame: VideoFrame) -> int | None:
    return frame.pts if frame.pts is not None else frame.dts


# ---------------------------------------------------------------- probe


@dataclass(frozen=True)
class Probe:
    info: VideoInfo
    key_frames: tuple[int, ...]
    """Timeline frames of key frames, ascending, as far as the container's index tells."""


def probe(reader: RangeReader, etag: str, length_bytes: int) -> Probe:
    """Index the video without decoding it: one frame is decoded, its end is demuxed.

    Raises NotAVideo, NoVideoStream (none, or none that decodes).
    """
    with open_container(reader) as container:
        stream = _picture_stream(container)
        first = next((f for f in decode(container, stream, reader, []) if pts_of(f) is not None), None)
        if first is None:
            raise NoVideoStream("The file's video stream does not decode.")
        origin = pts_of(first)
        assert origin is not None
        rate, time_base = _nominal_rate(stream), Fraction(stream.time_base or first.time_base or 1)

        def on_timeline(pts: int) -> int:
            return timeline_frame(pts, origin, time_base, rate)

        keys = [entry.timestamp for entry in stream.index_entries if entry.is_keyframe]
        # The index holds decoding times; the first key frame is the first frame shown.
        shift = origin - keys[0] if keys else 0
        times_hold, frames = True, None
        if "mov" not in container.format.name:
            times_hold, frames = _survey(container, stream, reader, rate)
        audio = next((s for s in container.streams.audio if s.codec_context is not None and s.rate), None)
        info = VideoInfo(
            container=container.format.name,
            codec=stream.codec_context.name,
            stream=stream.index,
            rate=rate,
            time_base=time_base,
            origin_pts=origin,
            width=first.width,
            height=first.height,
            sample_aspect=Fraction(stream.sample_aspect_ratio or 1),
            rotation=round(first.rotation / 90) * 90 % 360,
            numbering="pts" if times_hold else "count",
            planned_frames=frames
            if frames and not times_hold
            else on_timeline(_last_pts(container, stream, reader, origin)) + 1,
            start_timecode=_embedded_timecode(container),
            audio_stream=audio.index if audio else None,
            audio_codec=audio.codec_context.name if audio else None,
            etag=etag,
            length_bytes=length_bytes,
        )
        return Probe(info, tuple(sorted({on_timeline(key + shift) for key in keys} - {0})))


REORDERED_FRAMES = 16
"""How many frames a codec may show later than it codes them (H.264 and HEVC: at most 16)."""


def _survey(
    container: InputContainer, stream: VideoStream, reader: RangeReader, rate: Fraction
) -> tuple[bool, int]:
    """(whether time stamps place every frame, how many packets there are), by a look at every packet.

    They do not where one is missing, where time starts again (joined transport streams, chained oggs),
    and in an AVI with B-frames, which can only say when to decode. An mp4 or mov keeps a track's times
    in one table that counts upwards, so it is not asked.
    """
    reordered = bool(stream.codec_context.has_b_frames)
    backwards = (
        max(Fraction(2), REORDERED_FRAMES / rate) / Fraction(stream.time_base or 1) if reordered else 0
    )
    highest: int | None = None
    holds = not ("avi" in container.format.name and reordered)
    packets = 0
    try:
        container.seek(0)
        for packet in container.demux(stream):
            if packet.size:
                packets += 1
                if packet.pts is None or (highest is not None and packet.pts < highest - backwards):
                    holds = False
                elif highest is None or packet.pts > highest:
                    highest = packet.pts
    except (av.FFmpegError, ValueError):
        pass  # it is cut off here, which says nothing of the time before
    if reader.failure:
        raise reader.failure
    return holds, packets


def _last_pts(container: InputContainer, stream: VideoStream, reader: RangeReader, origin: int) -> int:
    """The highest PTS of the last packets: the claimed duration is only where to look for them."""
    claimed = 0
    if stream.duration:
        claimed = stream.duration
    elif container.duration and stream.time_base:
        claimed = int(Fraction(container.duration, av.time_base) / stream.time_base)
    last = origin
    try:
        container.seek(origin + max(0, claimed), stream=stream)
        for packet in container.demux(stream):
            if packet.pts is not None:
                last = max(last, packet.pts)
    except (av.FFmpegError, ValueError):
        last = max(last, origin + claimed)
    if reader.failure:
        raise reader.failure
    return last


def _embedded_timecode(container: InputContainer) -> str | None:
    for stream in container.streams:
        if timecode := stream.metadata.get("timecode"):
            return str(timecode)
    timecode = container.metadata.get("timecode")
    return str(timecode) if timecode else None
