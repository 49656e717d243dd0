"""Read video and sound exactly, through libav, from any seekable reader.

Containers lie about length and frame counts, so what is trusted is what decodes: its PTS
put every frame on the timeline (contracts.VideoInfo), and a span is decoded by seeking to
a frame at or before its start and dropping what lies outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from functools import lru_cache
from typing import Any, cast, overload

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.codec import UnknownCodecError
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from shared.contracts import VideoInfo
from shared.errors import (
    NotAVideo,
    NoVideoStream,
    PictureTooLarge,
    TooCostly,
    TooDamaged,
    TooManyStreams,
)
from shared.video._index import packets
from shared.video.ranges import RangeReader

Pixels = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.float32]

# By name, so that a playlist or a concat script opens nothing; and no protocol of libav's own.
_OPEN_OPTIONS = {
    "format_whitelist": "mov,mp4,matroska,webm,mpegts,avi,mxf,ogg",
    "protocol_whitelist": "none",
}


def timeline_frame(pts: int, origin_pts: int, time_base: Fraction, rate: Fraction) -> int:
    """floor((pts - origin) * time_base * rate + 1/2): rounding half up, in integers."""
    above = (pts - origin_pts) * time_base.numerator * rate.numerator
    below = time_base.denominator * rate.denominator
    return (2 * above + below) // (2 * below)


@contextmanager
def open_container(reader: RangeReader) -> Iterator[InputContainer]:
    """Its decoders refuse what the reader's limits do not allow.

    Raises NotAVideo where no allowed container format is found, TooManyStreams, TooCostly, or storage's
    own failure.
    """
    reader.seek(0)
    limits = reader.limits
    options = {
        **_OPEN_OPTIONS,
        "codec_whitelist": _decoders(limits.video_codecs | limits.audio_codecs),
    }
    try:
        container = av.open(reader, mode="r", options=options, metadata_errors="replace")
    except (av.FFmpegError, ValueError) as failure:
        if reader.failure:
            raise reader.failure from None
        if isinstance(failure, MemoryError):
            raise _needs_memory() from None
        raise NotAVideo("The blob is none of the container formats this service reads.") from None
    reader.keep_header()
    with container:
        if len(container.streams) > limits.streams:
            raise TooManyStreams(f"The file has more than {limits.streams} streams.")
        for stream in container.streams.video:
            if stream.codec_context is not None:
                stream.codec_context.options = {"max_pixels": str(limits.pixels)}
        yield container


@lru_cache(maxsize=4)
def _decoders(codecs: frozenset[str]) -> str:
    """The names of all decoders of these codecs: AV1, for one, has several."""
    found = []
    for name in sorted(av.codecs_available):
        with suppress(UnknownCodecError):  # it only encodes
            if av.Codec(name, "r").canonical_name in codecs:
                found.append(name)
    return ",".join(found)


def _needs_memory() -> TooCostly:
    return TooCostly("The video needs more memory than one step may have.")


def demux(
    container: InputContainer, streams: Sequence[Stream], reader: RangeReader, errors: list[str]
) -> Iterator[Packet[Stream]]:
    """Packets of the streams as the file holds them, then an empty one for each, which flushes its decoder.

    Where the file breaks off, the error is added to `errors` and nothing is flushed.
    Raises TooDamaged once there are too many of them, or storage's own failure.
    """
    found = packets(container, streams)
    while True:
        try:
            packet = next(found)
        except StopIteration:
            break
        except (av.FFmpegError, ValueError) as error:
            errors.append(type(error).__name__)
            break
        yield packet
        if reader.failure:
            break
        if len(errors) > reader.limits.decode_errors:
            raise TooDamaged(f"More than {reader.limits.decode_errors} packets do not decode.")
    if reader.failure:
        raise reader.failure


def decoded(packet: Packet[Stream], errors: list[str]) -> list[Any]:
    """The frames that a packet completes. What does not decode is counted and passed over.

    Raises PictureTooLarge, TooCostly.
    """
    try:
        return cast(list[Any], packet.decode())
    except (av.FFmpegError, ValueError) as error:
        pass_over(error, packet.stream, errors)
        return []


def pass_over(error: Exception, stream: Stream, errors: list[str]) -> None:
    """Count what did not decode. Raises PictureTooLarge, TooCostly."""
    # A decoder that refuses a size says that its argument is wrong, and forgets the size that it had.
    if isinstance(error, av.ArgumentError) and isinstance(stream, VideoStream) and not stream.width:
        raise PictureTooLarge("The video turns to pictures of more pixels than the limit.") from None
    if isinstance(error, MemoryError):
        raise _needs_memory() from None
    errors.append(type(error).__name__)


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


def picture_stream(container: InputContainer) -> VideoStream:
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


REORDERED_FRAMES = 16
"""How many frames a codec may show later than it codes them (H.264 and HEVC: at most 16)."""
