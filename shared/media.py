"""Read video and sound exactly, through libav, from any seekable reader (floor 3).

Containers lie about length and frame counts, so what is trusted is what decodes: its PTS
put every frame on the timeline (contracts.VideoInfo), and a span is decoded by seeking to
a frame at or before its start and dropping what lies outside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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
    CodecNotAllowed,
    FrameRateTooHigh,
    NotAVideo,
    NoVideoStream,
    PictureTooLarge,
    TooCostly,
    TooDamaged,
    TooManyFrames,
    TooManyStreams,
)
from shared.hearing import pick_sound
from shared.index import entries_there, indexed, missing_frames, packets
from shared.limits import MediaLimits
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


def snap_rate(rate: Fraction) -> Fraction:
    """The standard rate within 0.05 % of it, else the rate itself with a small denominator, at least 1:
    a slower video lies on a grid of seconds, as its timecode does."""
    nearest = min(_STANDARD_RATES, key=lambda standard: abs(standard - rate))
    return (
        nearest if abs(nearest - rate) <= nearest / 2000 else max(Fraction(1), rate.limit_denominator(1001))
    )


def _nominal_rate(stream: VideoStream, highest: int) -> Fraction:
    for rate in (stream.guessed_rate, stream.average_rate, stream.base_rate):
        if rate and 0 < rate <= highest:
            return snap_rate(Fraction(rate))
    return Fraction(25)  # time stamps without a rhythm: the grid is a convention then


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

    Raises NotAVideo, NoVideoStream (none, or none that decodes), what else open_container and decode raise,
    and for what the container declares CodecNotAllowed, PictureTooLarge, TooManyFrames, FrameRateTooHigh.
    """
    limits = reader.limits
    with open_container(reader) as container:
        stream = _picture_stream(container)
        _check_declared(stream, limits)
        first = next((f for f in decode(container, stream, reader, []) if pts_of(f) is not None), None)
        if first is None:
            raise NoVideoStream("The file's video stream does not decode.")
        origin = pts_of(first)
        assert origin is not None
        rate = _nominal_rate(stream, limits.rate)
        time_base = Fraction(stream.time_base or first.time_base or 1)

        def on_timeline(pts: int) -> int:
            return timeline_frame(pts, origin, time_base, rate)

        index = entries_there(container, stream, length_bytes)
        keys = [entry.timestamp for entry in index if entry.is_keyframe]
        # The index holds decoding times; the first key frame is the first frame shown.
        shift = origin - keys[0] if keys else 0
        times_hold, frames = True, len(index)
        if not indexed(container):
            times_hold, frames = _survey(container, stream, reader, rate)
        planned = frames
        if times_hold or not frames:
            claimed = origin + max(0, _claimed(container, stream))
            if index and len(index) < len(stream.index_entries):
                claimed = index[-1].timestamp
            planned = on_timeline(_last_pts(container, stream, reader, claimed, origin)) + 1
        if frames > limits.rate * max(Fraction(1), planned / rate):
            raise FrameRateTooHigh(f"The video has more than {limits.rate} pictures a second.")
        audio, fault = pick_sound(container, reader)
        measure = (length_bytes, origin * time_base, rate)
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
            planned_frames=planned,
            missing_picture=missing_frames(container, stream, *measure),
            missing_sound=missing_frames(container, audio, *measure) if audio else None,
            start_timecode=_embedded_timecode(container),
            audio_stream=audio.index if audio else None,
            audio_codec=audio.codec_context.name if audio else None,
            audio_fault=fault,
            etag=etag,
            length_bytes=length_bytes,
        )
        return Probe(info, tuple(sorted({on_timeline(key + shift) for key in keys} - {0})))


def _check_declared(stream: VideoStream, limits: MediaLimits) -> None:
    """What the container says of the picture, before anything of it is decoded."""
    if stream.codec_context.codec.canonical_name not in limits.video_codecs:
        raise CodecNotAllowed(f"The picture is coded as {stream.codec_context.name}.")
    width, height = stream.width, stream.height
    if width * height > limits.pixels:
        raise PictureTooLarge(f"The picture has {width} x {height} pixels; the limit is {limits.pixels}.")
    if max(stream.frames, len(stream.index_entries)) > limits.frames:
        raise TooManyFrames(f"The file declares more than {limits.frames} frames.")


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
    count = 0
    try:
        container.seek(0)
        for packet in packets(container, (stream,)):
            if packet.size:
                count += 1
                if count > reader.limits.frames:
                    raise TooManyFrames(f"The file has more than {reader.limits.frames} frames.")
                if packet.pts is None or (highest is not None and packet.pts < highest - backwards):
                    holds = False
                elif highest is None or packet.pts > highest:
                    highest = packet.pts
    except (av.FFmpegError, ValueError):
        pass  # it is cut off here, which says nothing of the time before
    if reader.failure:
        raise reader.failure
    return holds, count


def _claimed(container: InputContainer, stream: VideoStream) -> int:
    """How long it says it is, in units of the stream's time base; 0 where it does not."""
    if stream.duration:
        return stream.duration
    if container.duration and stream.time_base:
        return int(Fraction(container.duration, av.time_base) / stream.time_base)
    return 0


def _last_pts(
    container: InputContainer, stream: VideoStream, reader: RangeReader, claimed: int, origin: int
) -> int:
    """The highest PTS of the last packets: the claimed end is only where to look for them."""
    last = origin
    try:
        container.seek(claimed, stream=stream)
        for packet in packets(container, (stream,)):
            if packet.pts is not None:
                last = max(last, packet.pts)
    except (av.FFmpegError, ValueError):
        last = max(last, claimed)
    if reader.failure:
        raise reader.failure
    return last


def _embedded_timecode(container: InputContainer) -> str | None:
    for stream in container.streams:
        if timecode := stream.metadata.get("timecode"):
            return str(timecode)
    timecode = container.metadata.get("timecode")
    return str(timecode) if timecode else None
