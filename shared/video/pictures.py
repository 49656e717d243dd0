"""The decoded pictures of a span, in order, each with its timeline frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from typing import Literal

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from shared.contracts import VideoInfo
from shared.errors import MatchcutError, TooManyFrames
from shared.video._container import decoded, demux, frame_number, open_container, pts_of
from shared.video.packets import Gather
from shared.video.ranges import RangeReader

Pixels = npt.NDArray[np.uint8]
"""(height, width, 3), or (height, width) for gray."""
_SEEK_BACK_S = (0, 2, 10, 60)
"""Seconds by which to seek further back, in turn, when a seek lands after the needed frame."""


@dataclass
class Picture:
    """A decoded frame on the timeline. `image` converts it only on request."""

    frame: int
    """Timeline frame."""
    key: bool
    """Whether it is a key frame, which a sweep sees too: see is_key."""
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

        "letterbox" keeps the display aspect, on black bars; "stretch" fills the whole size. Pictures are
        resized by area, since bilinear shrinking aliases.
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


def is_key(source: VideoFrame) -> bool:
    """Whether a decoded frame is a key frame and intra-coded, and so the same picture wherever decoding
    began.

    Codecs that refresh a picture gradually also mark the first frame of a refresh as key. It does not count,
    since it still shows parts of earlier frames.
    """
    return bool(source.key_frame) and source.pict_type == PictureType.I


@dataclass
class Pictures:
    """The pictures of a span, in order. Iterate once; `errors` and `ended` are complete then."""

    reader: RangeReader
    info: VideoInfo
    first_needed: int
    """Decoding begins at or before the picture that is on screen at this timeline frame."""
    end_needed: int | None = None
    """Decoding ends with the first picture at or after this timeline frame; None: with the stream."""
    gather: Gather | None = None
    """Takes the sound's packets on the way, and those that it needs after the last picture."""
    errors: list[str] = field(default_factory=list)
    """Names of errors, and of frames that were skipped."""
    ended: bool = False
    """Whether the stream was decoded to its end."""
    _key_pts: set[int] = field(default_factory=set)
    """PTS of packets that the container marks as key and whose frames are not decoded yet."""
    _packets: Iterator[Packet[Stream]] = field(default_factory=lambda: iter(()))

    def __iter__(self) -> Iterator[Picture]:
        """Pictures with ascending timeline frames, from one at or before first_needed to end_needed. A caller
        that stops earlier gathers less sound.

        A frame whose time steps back, or leaps ahead of its followers, is skipped and counted as an error: of
        two times that contradict each other, the one that fits the earlier times is kept.

        Raises TooManyFrames, the reader's failure, and the errors of open_container and decoded.
        """
        with open_container(self.reader) as container:
            last, held = -1, None
            for count, source in enumerate(self._from_start(container)):
                if count >= self.reader.limits.frames:
                    raise TooManyFrames(f"The video has more than {self.reader.limits.frames} frames.")
                number = count if self.info.numbering == "count" else frame_number(pts_of(source), self.info)
                if number is None or number < last:
                    self.errors.append("TimeStepsBack")
                    continue
                if held is not None and number < held.frame:
                    self.errors.append("TimeLeapsAhead")
                elif held is not None:
                    last = held.frame
                    yield held
                    if self.end_needed is not None and last >= self.end_needed:
                        self._gather_on()
                        return
                held = Picture(number, self._is_key(source), source, self.info)
            if held is not None:
                yield held
            self.ended = True

    def _gather_on(self) -> None:
        if self.gather is None or self.gather.done:
            return
        known = len(self.errors)
        try:
            for packet in self._packets:
                if packet.stream.index == self.info.audio_stream:
                    self.gather.take(packet)
                self.gather.read_on(packet.size)
                if self.gather.done:
                    break
        except MatchcutError:  # storage failed, but every picture was read before
            self.gather.give_up()
        del self.errors[known:]  # they lie after the span

    def _is_key(self, source: VideoFrame) -> bool:
        marked = source.pts in self._key_pts
        if source.pts is not None:
            self._key_pts.discard(source.pts)
        # A video without times is not swept, so there is nothing to agree with.
        return is_key(source) and (marked or source.pts is None)

    def _decode(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        self._key_pts.clear()
        streams: list[Stream] = [stream]
        if self.gather is not None:
            self.gather.restart()
            if sound := self.gather.stream_of(container):
                streams.append(sound)
        self._packets = demux(container, streams, self.reader, self.errors)
        for packet in self._packets:
            if packet.stream.index != stream.index:
                assert self.gather is not None
                self.gather.take(packet)
                continue
            if packet.is_keyframe and packet.pts is not None:
                self._key_pts.add(packet.pts)
            yield from decoded(packet, self.errors)

    def _from_start(self, container: InputContainer) -> Iterator[VideoFrame]:
        """Frames from one at or before first_needed. It seeks further back until a seek lands there."""
        stream = self._stream(container)
        if self.first_needed <= 0 or self.info.numbering == "count":
            yield from self._decode(container, stream)
            return
        for back_s in _SEEK_BACK_S:
            time_s = self.first_needed / self.info.rate - back_s
            if time_s <= 0:
                break
            try:
                container.seek(self.info.origin_pts + int(time_s / self.info.time_base), stream=stream)
            except (av.FFmpegError, ValueError):
                continue
            frames = self._decode(container, stream)
            first = next(frames, None)
            number = frame_number(pts_of(first), self.info) if first is not None else None
            if first is not None and number is not None and number <= self.first_needed:
                yield from chain([first], frames)
                return
            self.errors.clear()  # they lie where nothing is needed
        # A container that cannot seek is read from its beginning.
        with open_container(self.reader) as fresh:
            yield from self._decode(fresh, self._stream(fresh))

    def _stream(self, container: InputContainer) -> VideoStream:
        stream = container.streams[self.info.stream]
        assert isinstance(stream, VideoStream)
        stream.codec_context.thread_count = 1
        return stream
