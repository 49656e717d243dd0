"""Read video and sound exactly, through libav, from any seekable reader.

Containers may declare wrong lengths and frame counts, so the service trusts only decoded frames. Their PTS
put them on the timeline (contracts.VideoInfo). To decode a span, it seeks to a frame at or before the start
and drops the frames outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from fractions import Fraction
from functools import lru_cache
from typing import Any, cast, overload

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.codec import UnknownCodecError
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from shared.contracts import VideoInfo
from shared.errors import NotAVideo, NoVideoStream, PictureTooLarge, TooCostly, TooDamaged, TooManyStreams
from shared.video._index import packets
from shared.video.ranges import RangeReader

# Formats are listed by name, so that a playlist or a concat script cannot open other files. libav's own
# protocols are switched off.
_OPEN_OPTIONS = {
    "format_whitelist": "mov,mp4,matroska,webm,mpegts,avi,mxf,ogg",
    "protocol_whitelist": "none",
}


def timeline_frame(pts: int, origin_pts: int, time_base: Fraction, rate: Fraction) -> int:
    """floor((pts - origin_pts) * time_base * rate + 1/2): rounded half up, in integers."""
    numerator = (pts - origin_pts) * time_base.numerator * rate.numerator
    denominator = time_base.denominator * rate.denominator
    return (2 * numerator + denominator) // (2 * denominator)


@contextmanager
def open_container(reader: RangeReader) -> Iterator[InputContainer]:
    """Open a container. Its decoders refuse codecs and picture sizes that the reader's limits do not allow.

    Raises NotAVideo for any container format that is not allowed, TooManyStreams, TooCostly where it needs
    too much memory, and the reader's failure.
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
    """The names of all decoders of these codecs, comma-separated. A codec such as AV1 has several."""
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
    """Packets of the streams in the order of the file, then an empty one for each, which flushes its decoder.

    Where the file breaks off, the error's name is added to `errors` and no decoder is flushed. Raises
    TooDamaged for more errors than the limit, and the reader's failure.
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
    """The frames that a packet completes; none where it does not decode, whose error's name `errors` then
    gets.

    Raises PictureTooLarge, TooCostly.
    """
    try:
        return cast(list[Any], packet.decode())
    except (av.FFmpegError, ValueError) as error:
        pass_over(error, packet.stream, errors)
        return []


def pass_over(error: Exception, stream: Stream, errors: list[str]) -> None:
    """Add the name of a decoder's error to `errors`. Raises PictureTooLarge and TooCostly for errors that
    mean these."""
    # A decoder that refuses a size raises ArgumentError and forgets the size that it had.
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
    """Frames in presentation order. Packets that do not decode are skipped, and named in `errors`.

    Raises PictureTooLarge, TooCostly, TooDamaged, and the reader's failure.
    """
    for packet in demux(container, (stream,), reader, errors):
        yield from decoded(packet, errors)


def picture_stream(container: InputContainer) -> VideoStream:
    """The first video stream that has a decoder and is no attached picture. Raises NoVideoStream."""
    for stream in container.streams.video:
        if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic:
            stream.codec_context.thread_count = 1  # in all, one thread costs 0.82 of the CPU time of many
            return stream
    raise NoVideoStream("The file has no video stream.")


def frame_number(pts: int | None, info: VideoInfo) -> int | None:
    """The timeline frame of a PTS: 0 for a PTS before the timeline, None without a PTS."""
    if pts is None:
        return None
    return max(0, timeline_frame(pts, info.origin_pts, info.time_base, info.rate))


def pts_of(frame: VideoFrame) -> int | None:
    """The frame's PTS, else its DTS, else None."""
    return frame.pts if frame.pts is not None else frame.dts


REORDERED_FRAMES = 16
"""Most frames by which a codec's display order may differ from its coding order: 16 in H.264 and HEVC."""
