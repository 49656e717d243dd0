"""Read video and sound exactly, through libav, from any seekable reader (floor 3).

Containers lie about length and frame counts, so what is trusted is what decodes: its PTS
put every frame on the timeline (contracts.VideoInfo), and a span is decoded by seeking to
a frame at or before its start and dropping what lies outside.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from typing import Any, Literal, cast, overload

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
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
_SEEK_BACK_S = (0, 2, 10, 60)
"""How much further back to seek, in turn, when a seek lands after the frame that is needed."""


def snap_rate(rate: Fraction) -> Fraction:
    """The standard rate within 0.05 % of it, else the rate itself with a small denominator."""
    nearest = min(_STANDARD_RATES, key=lambda standard: abs(standard - rate))
    return nearest if abs(nearest - rate) <= nearest / 2000 else rate.limit_denominator(1001)


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


@overload
def _decode(
    container: InputContainer, stream: VideoStream, reader: RangeReader, errors: list[str]
) -> Iterator[VideoFrame]: ...
@overload
def _decode(
    container: InputContainer, stream: AudioStream, reader: RangeReader, errors: list[str]
) -> Iterator[AudioFrame]: ...
def _decode(
    container: InputContainer, stream: VideoStream | AudioStream, reader: RangeReader, errors: list[str]
) -> Iterator[VideoFrame] | Iterator[AudioFrame]:
    """Frames in presentation order. What does not decode is counted and passed over."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except (av.FFmpegError, ValueError) as error:
            errors.append(type(error).__name__)
            break
        try:
            yield from cast(list[Any], packet.decode())
        except (av.FFmpegError, ValueError) as error:
            errors.append(type(error).__name__)
        if reader.failure:
            break
    if reader.failure:
        raise reader.failure


def _picture_stream(container: InputContainer) -> VideoStream:
    for stream in container.streams.video:
        if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic:
            stream.codec_context.thread_count = 1  # one thread per process costs 0.82 of many
            return stream
    raise NoVideoStream("The file has no video stream.")


def _pts(frame: VideoFrame) -> int | None:
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
        first = next((f for f in _decode(container, stream, reader, []) if _pts(f) is not None), None)
        if first is None:
            raise NoVideoStream("The file's video stream does not decode.")
        origin = _pts(first)
        assert origin is not None
        rate, time_base = _nominal_rate(stream), Fraction(stream.time_base or first.time_base or 1)

        def on_timeline(pts: int) -> int:
            return timeline_frame(pts, origin, time_base, rate)

        keys = [entry.timestamp for entry in stream.index_entries if entry.is_keyframe]
        # The index holds decoding times; the first key frame is the first frame shown.
        shift = origin - keys[0] if keys else 0
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
            planned_frames=on_timeline(_last_pts(container, stream, reader, origin)) + 1,
            start_timecode=_embedded_timecode(container),
            audio_stream=audio.index if audio else None,
            audio_codec=audio.codec_context.name if audio else None,
            etag=etag,
            length_bytes=length_bytes,
        )
        return Probe(info, tuple(sorted({on_timeline(key + shift) for key in keys} - {0})))


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


# ---------------------------------------------------------------- pictures


@dataclass
class Picture:
    """A decoded frame on the timeline; it is converted only when and as it is asked for."""

    frame: int
    """Timeline frame."""
    source: VideoFrame = field(repr=False)
    info: VideoInfo = field(repr=False)

    def image(
        self,
        width: int,
        height: int,
        colour: Literal["rgb", "bgr", "gray"],
        fit: Literal["stretch", "letterbox"],
    ) -> Pixels:
        """uint8 (height, width, 3), or (height, width) for gray, upright.

        "letterbox" keeps the display aspect on black; "stretch" fills. Shrinks by area, since
        bilinear shrinking aliases.
        """
        inner_width, inner_height = width, height
        if fit == "letterbox":
            shown_width, shown_height = self.info.display_size
            scale = min(Fraction(width, shown_width), Fraction(height, shown_height))
            inner_width = max(1, min(width, round(shown_width * scale)))
            inner_height = max(1, min(height, round(shown_height * scale)))
        pixels = self._resized(
            inner_width, inner_height, {"rgb": "rgb24", "bgr": "bgr24", "gray": "gray"}[colour]
        )
        if pixels.shape[:2] == (height, width):
            return pixels
        canvas = np.zeros((height, width, *pixels.shape[2:]), np.uint8)
        top, left = (height - inner_height) // 2, (width - inner_width) // 2
        canvas[top : top + inner_height, left : left + inner_width] = pixels
        return canvas

    def _resized(self, width: int, height: int, pixel_format: str) -> Pixels:
        turned = self.info.rotation in (90, 270)
        small = self.source.reformat(
            width=height if turned else width,
            height=width if turned else height,
            format=pixel_format,
            interpolation=Interpolation.AREA,
            threads=1,
        )
        return np.ascontiguousarray(np.rot90(small.to_ndarray(), self.info.rotation // 90))


@dataclass
class Pictures:
    """The pictures of a span, in order; iterate once, then read what was found."""

    reader: RangeReader
    info: VideoInfo
    first_needed: int
    """Decoding begins at or before the picture on screen at this timeline frame."""
    errors: list[str] = field(default_factory=list)
    ended: bool = False
    """True once the stream has been decoded to its end."""

    def __iter__(self) -> Iterator[Picture]:
        """Pictures with ascending timeline frames, from one at or before first_needed to the
        end of the stream; the caller stops when it has enough. Frames whose time steps back
        are passed over and counted as errors."""
        with open_container(self.reader) as container:
            stream = container.streams[self.info.stream]
            assert isinstance(stream, VideoStream)
            stream.codec_context.thread_count = 1
            last = -1
            for source in self._from_start(container, stream):
                number = self._number(source)
                if number is None or number < last:
                    self.errors.append("TimeStepsBack")
                    continue
                last = number
                yield Picture(number, source, self.info)
            self.ended = True

    def _number(self, source: VideoFrame) -> int | None:
        pts = _pts(source)
        if pts is None:
            return None
        return max(0, timeline_frame(pts, self.info.origin_pts, self.info.time_base, self.info.rate))

    def _from_start(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        """Frames from one at or before first_needed: seek, look where it landed, go back further."""
        if self.first_needed > 0:
            for back_s in _SEEK_BACK_S:
                time_s = self.first_needed / self.info.rate - back_s
                if time_s <= 0:
                    break
                errors: list[str] = []
                try:
                    container.seek(self.info.origin_pts + int(time_s / self.info.time_base), stream=stream)
                except (av.FFmpegError, ValueError):
                    continue
                frames = _decode(container, stream, self.reader, errors)
                first = next(frames, None)
                number = self._number(first) if first is not None else None
                if first is not None and number is not None and number <= self.first_needed:
                    yield from chain([first], frames)
                    self.errors.extend(errors)
                    return
            # A container that cannot seek is read from its beginning.
            with open_container(self.reader) as fresh:
                restart = fresh.streams[self.info.stream]
                assert isinstance(restart, VideoStream)
                restart.codec_context.thread_count = 1
                yield from _decode(fresh, restart, self.reader, self.errors)
            return
        yield from _decode(container, stream, self.reader, self.errors)


# ---------------------------------------------------------------- sound


def sound(reader: RangeReader, info: VideoInfo, rate_hz: int) -> Iterator[Samples]:
    """Mono float32 in [-1, 1] at rate_hz, contiguous from frame 0 of the timeline.

    Sound that starts late, or pauses, is silence there; sound before frame 0 is dropped. The
    whole stream is decoded in one go, since lossy codecs carry state from frame to frame: a
    decoder started in the middle gives other samples than one that ran from the start.
    """
    if info.audio_stream is None:
        return
    origin_s = info.origin_pts * info.time_base
    placed: int | None = None  # where on the timeline the next sample lies, in samples
    mono = _Mono(rate_hz)
    with open_container(reader) as container:
        stream = container.streams[info.audio_stream]
        assert isinstance(stream, AudioStream)
        stream.codec_context.thread_count = 1
        for frame in chain(_decode(container, stream, reader, []), [None]):
            if frame is not None and frame.pts is not None and frame.time_base is not None:
                at = round((frame.pts * frame.time_base - origin_s) * rate_hz)
                if placed is None:
                    placed = min(at, 0)
                # Less than a fifth of a second is the resampler's delay and rounding, not a pause.
                if placed + rate_hz // 5 < at <= placed + _MAX_PAUSE_S * rate_hz:
                    for start in range(max(placed, 0), at, _SILENCE_SAMPLES):
                        yield np.zeros(min(_SILENCE_SAMPLES, at - start), np.float32)
                    placed = at
            for chunk in mono.feed(frame):
                placed = placed or 0
                if len(audible := chunk[max(0, -placed) :]):
                    yield audible
                placed += len(chunk)


_MAX_PAUSE_S = 4 * 3600
"""A jump of time stamps beyond this is damage, not a pause."""
_SILENCE_SAMPLES = 1 << 16


class _Mono:
    """Resample to mono; a change of format within the stream starts a new resampler."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._format: tuple[str, str, int] | None = None
        self._resampler: av.AudioResampler | None = None

    def feed(self, frame: AudioFrame | None) -> list[Samples]:
        """The chunks that are ready; None flushes."""
        out: list[AudioFrame] = []
        key = (frame.format.name, frame.layout.name, frame.sample_rate) if frame is not None else None
        if self._resampler is not None and key != self._format:
            out += self._resampler.resample(None)
            self._resampler = None
        if frame is not None:
            if self._resampler is None:
                self._resampler = av.AudioResampler(format="flt", layout="mono", rate=self._rate_hz)
            self._format = key
            frame.pts = None  # placed by the caller: the resampler must neither shift nor fill
            out += self._resampler.resample(frame)
        return [chunk.to_ndarray().reshape(-1).astype(np.float32, copy=False) for chunk in out]
