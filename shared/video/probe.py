"""Examine a video before its units are decoded: rate, time origin, streams, key frames."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from shared.contracts import VideoInfo
from shared.errors import CodecNotAllowed, FrameRateTooHigh, NoVideoStream, PictureTooLarge, TooManyFrames
from shared.video._container import (
    REORDERED_FRAMES,
    decode,
    open_container,
    picture_stream,
    pts_of,
    timeline_frame,
)
from shared.video._index import complete_entries, indexed, missing_frames, packets
from shared.video.hearing import pick_sound
from shared.video.limits import MediaLimits
from shared.video.ranges import RangeReader
from shared.video.rates import nominal_rate


@dataclass(frozen=True)
class Probe:
    info: VideoInfo
    key_frames: tuple[int, ...]
    """Timeline frames of key frames, ascending and without 0, as far as the container's index lists them."""


def probe(reader: RangeReader, etag: str, length_bytes: int) -> Probe:
    """Examine the video by decoding one frame, reading the index and demuxing the end.

    Raises NoVideoStream where there is none, or none that decodes; CodecNotAllowed, PictureTooLarge,
    TooManyFrames and FrameRateTooHigh for what the container declares; and the errors of open_container and
    decode, such as NotAVideo.
    """
    limits = reader.limits
    with open_container(reader) as container:
        stream = picture_stream(container)
        _check_declared(stream, limits)
        first = next((f for f in decode(container, stream, reader, []) if pts_of(f) is not None), None)
        if first is None:
            raise NoVideoStream("The file's video stream does not decode.")
        origin = pts_of(first)
        assert origin is not None
        rate = nominal_rate(stream, limits.rate)
        time_base = Fraction(stream.time_base or first.time_base or 1)

        def on_timeline(pts: int) -> int:
            return timeline_frame(pts, origin, time_base, rate)

        index = complete_entries(container, stream, length_bytes)
        keys = [entry.timestamp for entry in index if entry.is_keyframe]
        # The index has decoding times; this shifts them so that the first key frame is at the time origin.
        shift = origin - keys[0] if keys else 0
        times_hold, frames = True, len(index)
        if not indexed(container):
            times_hold, frames = _survey(container, stream, reader, rate)
        planned = frames
        if times_hold or not frames:
            declared = origin + max(0, _declared_duration(container, stream))
            if index and len(index) < len(stream.index_entries):
                declared = index[-1].timestamp
            planned = on_timeline(_last_pts(container, stream, reader, declared, origin)) + 1
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
    """Check the container's declarations about the picture before anything is decoded.

    Raises CodecNotAllowed, PictureTooLarge, TooManyFrames.
    """
    if stream.codec_context.codec.canonical_name not in limits.video_codecs:
        raise CodecNotAllowed(f"The picture is coded as {stream.codec_context.name}.")
    width, height = stream.width, stream.height
    if width * height > limits.pixels:
        raise PictureTooLarge(f"The picture has {width} x {height} pixels; the limit is {limits.pixels}.")
    if max(stream.frames, len(stream.index_entries)) > limits.frames:
        raise TooManyFrames(f"The file declares more than {limits.frames} frames.")


def _survey(
    container: InputContainer, stream: VideoStream, reader: RangeReader, rate: Fraction
) -> tuple[bool, int]:
    """(whether time stamps place every frame, number of packets), by reading every packet.

    Time stamps do not place every frame where one is missing, where time starts again (joined transport
    streams, chained oggs), and in an AVI with B-frames, which has only decoding times. An mp4 or mov needs no
    survey: it keeps a track's times in one ascending table.
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
        pass  # the file is cut off here, which does not affect the times before
    if reader.failure:
        raise reader.failure
    return holds, count


def _declared_duration(container: InputContainer, stream: VideoStream) -> int:
    """The duration that stream or container declares, in units of the stream's time base; 0 for none."""
    if stream.duration:
        return stream.duration
    if container.duration and stream.time_base:
        return int(Fraction(container.duration, av.time_base) / stream.time_base)
    return 0


def _last_pts(
    container: InputContainer, stream: VideoStream, reader: RangeReader, declared: int, origin: int
) -> int:
    """The highest PTS of the last packets. `declared`, the PTS of the declared end, is only where to seek."""
    last = origin
    try:
        container.seek(declared, stream=stream)
        for packet in packets(container, (stream,)):
            if packet.pts is not None:
                last = max(last, packet.pts)
    except (av.FFmpegError, ValueError):
        last = max(last, declared)
    if reader.failure:
        raise reader.failure
    return last


def _embedded_timecode(container: InputContainer) -> str | None:
    for stream in container.streams:
        if timecode := stream.metadata.get("timecode"):
            return str(timecode)
    timecode = container.metadata.get("timecode")
    return str(timecode) if timecode else None
