"""The decoded sound of a video, contiguous from frame 0 of its timeline."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream

from shared.contracts import VideoInfo
from shared.video._container import decode, open_container
from shared.video.hearing import Mono, Samples
from shared.video.ranges import RangeReader

_SILENCE_SAMPLES = 1 << 16


def sound(
    reader: RangeReader, info: VideoInfo, rate_hz: int, limit_s: int, errors: list[str]
) -> Iterator[Samples]:
    """Chunks of mono float32 in [-1, 1] at rate_hz, contiguous from frame 0 of the timeline to limit_s at
    most.

    A packet that does not decode is skipped, and its error's name is added to `errors`. Where the sound
    starts late or pauses, the samples are silence; sound before frame 0 is dropped.

    The whole stream is decoded from its start: lossy codecs carry state from frame to frame, so a decoder
    that starts in the middle gives other samples.

    Raises the reader's failure, and the errors of open_container and decode.
    """
    if info.audio_stream is None:
        return
    with open_container(reader) as container:
        stream = container.streams[info.audio_stream]
        assert isinstance(stream, AudioStream)
        stream.codec_context.thread_count = 1
        frames = decode(container, stream, reader, errors)
        yield from (heard.samples for heard in hear(frames, Listener(info, (rate_hz,), limit_s)))


@dataclass(frozen=True)
class Heard:
    """A chunk of the sound at one rate, which continues the previous chunk of that rate."""

    rate_hz: int
    samples: Samples


class Listener:
    """Turns decoded frames, fed in order, into mono sound on the timeline, at each of several rates."""

    def __init__(self, info: VideoInfo, rates_hz: Collection[int], limit_s: int) -> None:
        self._origin_s = info.origin_pts * info.time_base
        self._times_hold = info.numbering == "pts"
        self._limit_s = limit_s
        self._places = [_Place(rate_hz) for rate_hz in sorted(set(rates_hz))]

    @property
    def done(self) -> bool:
        """Whether the limit is reached at every rate, so that further frames give no sound."""
        return all(place.samples > self._limit_s * place.rate_hz for place in self._places)

    def feed(self, frame: AudioFrame | None) -> Iterator[Heard]:
        """The chunks that a frame completes; None for the end of the stream."""
        time_s = None
        if frame is not None:
            if frame.pts is not None and frame.time_base is not None:
                time_s = frame.pts * frame.time_base - self._origin_s
            frame.pts = None  # _Place puts it on the timeline: the resampler must neither shift nor fill
        for place in self._places:
            if place.samples <= self._limit_s * place.rate_hz:
                limit = self._limit_s * place.rate_hz if self._times_hold else None
                at = None if time_s is None else round(time_s * place.rate_hz)
                for samples in place.feed(frame, at, limit):
                    yield Heard(place.rate_hz, samples)


def hear(frames: Iterator[AudioFrame], listener: Listener) -> Iterator[Heard]:
    """The sound of a whole stream, up to the listener's limit."""
    for frame in frames:
        yield from listener.feed(frame)
        if listener.done:
            return
    yield from listener.feed(None)


class _Place:
    """The sound at one rate, and the place on the timeline of its next sample."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.samples = 0
        """Index on the timeline of the next sample; below 0 before frame 0."""
        self._began = False
        self._mono = Mono(rate_hz)

    def feed(self, frame: AudioFrame | None, at: int | None, limit: int | None) -> Iterator[Samples]:
        """The chunks that the frame completes. at: index of the frame's first sample by its time, None
        without a time. limit: the highest index for which silence is filled in, None where times are not
        reliable."""
        if at is not None:
            if not self._began:
                self._began, self.samples = True, min(at, 0)
            # A gap below a fifth of a second comes from the resampler's delay and rounding: it is no pause.
            # A leap beyond the limit comes from damage.
            if limit is not None and self.samples + self.rate_hz // 5 < at <= limit:
                for start in range(max(self.samples, 0), at, _SILENCE_SAMPLES):
                    yield np.zeros(min(_SILENCE_SAMPLES, at - start), np.float32)
                self.samples = at
        for chunk in self._mono.feed(frame):
            self._began = True
            if len(audible := chunk[max(0, -self.samples) :]):
                yield audible
            self.samples += len(chunk)
