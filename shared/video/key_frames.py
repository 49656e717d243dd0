"""One pass over a video for the sweep of a cascade: all its sound, its key frames, and its last frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import av
from av.packet import Packet
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from shared.contracts import VideoInfo
from shared.video._container import (
    REORDERED_FRAMES,
    decoded,
    demux,
    frame_number,
    open_container,
    pass_over,
    pts_of,
)
from shared.video.pictures import Picture, Pictures, is_key
from shared.video.ranges import RangeReader
from shared.video.sound import Heard, Listener


@dataclass
class Sweep:
    """Key frames and sound in the order of the file. Iterate once; the other attributes are complete then.

    The samples are those of sound(), and the pictures those that Pictures marks as key, both to the bit;
    tests compare them in every container format. They can differ where key frames are damaged, where fields
    are packets of their own, and where a key frame's time leaps ahead by at most REORDERED_FRAMES. At most
    one picture is held back.
    """

    reader: RangeReader
    info: VideoInfo
    """`numbering` must be "pts": a video whose frames are counted cannot be swept (ValueError)."""
    rates_hz: Collection[int]
    """The sound comes once at each of these rates; empty: it is not decoded."""
    limit_s: int
    """Sound after so many seconds is left out."""
    picture_errors: list[str] = field(default_factory=list)
    """Names of errors, and of key frames that were skipped. A full decode finds more, in the other frames."""
    sound_errors: list[str] = field(default_factory=list)
    key_frames: int = 0
    last_frame: int | None = None
    """The highest timeline frame among the video packets, after the iteration.

    It is the last frame that decodes, unless the last frames do not decode, or a time among the last
    REORDERED_FRAMES leaps ahead.
    """

    def __post_init__(self) -> None:
        if self.info.numbering != "pts":
            raise ValueError("a video whose frames are counted cannot be swept")
        self._listener = Listener(self.info, self.rates_hz, self.limit_s)
        self._held: Picture | None = None
        self._last = -1
        self._contradictions = 0
        self._reordered = 0
        self._numbers: deque[int] = deque(maxlen=REORDERED_FRAMES + 1)

    def __iter__(self) -> Iterator[Picture | Heard]:
        """Raises the reader's failure, and the errors of open_container and decoded."""
        with open_container(self.reader) as container:
            video = container.streams[self.info.stream]
            assert isinstance(video, VideoStream)
            streams: list[Stream] = [video]
            if self.info.audio_stream is not None and not self._listener.done:
                streams.append(container.streams[self.info.audio_stream])
            for stream in streams:
                stream.codec_context.thread_count = 1
            video.codec_context.skip_frame = "NONKEY"
            self._reordered = REORDERED_FRAMES if video.codec_context.has_b_frames else 0
            broken: list[str] = []
            for packet in demux(container, streams, self.reader, broken):
                if packet.stream.index == video.index:
                    yield from self._see(packet, video.codec_context)
                elif not self._listener.done:
                    yield from self._hear(packet)
            self.picture_errors += broken
            if len(streams) > 1 and not self._listener.done:
                self.sound_errors += broken
            yield from self._let_go(self._contradictions <= self._reordered)
        self.last_frame = max(self._numbers, default=None)
        if self.last_frame is not None and self.info.missing_picture:
            # The file may hold only a part of the last picture: decoding shows whether it is usable.
            ending = Pictures(self.reader, self.info, self.last_frame)
            self.last_frame = max((picture.frame for picture in ending), default=None)

    def _hear(self, packet: Packet[Stream]) -> Iterator[Heard]:
        frames = decoded(packet, self.sound_errors)
        for frame in frames if packet.size else [*frames, None]:
            yield from self._listener.feed(frame)
            if self._listener.done:
                return

    def _see(self, packet: Packet[Stream], context: VideoCodecContext) -> Iterator[Picture]:
        number = frame_number(packet.pts, self.info)
        if number is None or packet.is_discard or not packet.size:
            return
        if packet.is_keyframe:
            for source in self._decoded_alone(packet, context):
                shown = frame_number(pts_of(source), self.info)
                if is_key(source) and shown is not None:
                    yield from self._take(Picture(shown, True, source, self.info))
        elif self._held is not None and number < self._held.frame:
            self._contradictions += 1
        self._numbers.append(number)

    def _decoded_alone(self, packet: Packet[Stream], context: VideoCodecContext) -> list[VideoFrame]:
        """The frame of a key packet. The decoder is flushed after it: its state for reordering frames would
        be wrong here, where most frames are missing."""
        try:
            return [*context.decode(packet), *context.decode(None)]
        except (av.FFmpegError, ValueError) as error:
            pass_over(error, packet.stream, self.picture_errors)
            return []
        finally:
            context.flush_buffers()

    def _take(self, picture: Picture) -> Iterator[Picture]:
        """Hold this picture and release the previous one, by the rules of Pictures.

        Of two times that contradict each other, the one that fits the earlier times is kept. Instead of
        decoding the frames around a key frame, this looks at the times of their packets. Of the frames before
        the key frame in the file, at most one (itself a leap) may be shown after it. Of the frames after it,
        no more may be shown before it than a codec reorders.
        """
        if sum(number > picture.frame for number in self._numbers) > 1 or picture.frame < self._last:
            self.picture_errors.append("TimeStepsBack")
            return
        if self._held is not None:
            contradicted = self._contradictions > self._reordered or picture.frame < self._held.frame
            yield from self._let_go(not contradicted)
        self._held, self._contradictions = picture, 0

    def _let_go(self, good: bool) -> Iterator[Picture]:
        held = self._held
        if held is None:
            return
        if not good:
            self.picture_errors.append("TimeLeapsAhead")
            return
        self._last = held.frame
        self.key_frames += 1
        yield held
