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
    """Mono float32 in [-1, 1] at rate_hz, contiguous from frame 0 of the timeline.

    Ends at limit_s. What does not decode is added to errors, by name, and passed over.

    Sound that starts late, or pauses, is silence there; sound before frame 0 is dropped. The
    whole stream is decoded in one go, since lossy codecs carry state from frame to frame: a
    decoder started in the middle gives other samples than one that ran from the start.
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
    """A chunk of the sound at one rate; it follows the one before of the same rate."""

    rate_hz: int
    samples: Samples


class Listener:
    """Makes decoded frames, fed in order, into mono sound at each of several rates, on the timeline."""

    def __init__(self, info: VideoInfo, rates_hz: Collection[int], limit_s: int) -> None:
        self._origin_s = info.origin_pts * info.time_base
        self._times_hold = info.numbering == "pts"
        self._limit_s = limit_s
        self._places = [_Place(rate_hz) for rate_hz in sorted(set(rates_hz))]

    @property
    def done(self) -> bool:
        """Whether the limit was reached at every rate: what is fed from now on is not heard."""
        return all(place.samples > self._limit_s * place.rate_hz for place in self._places)

    def feed(self, frame: AudioFrame | None) -> Iterator[Heard]:
        """What a frame completes; None for the end of the stream."""
        time_s = None
        if frame is not None:
            if frame.pts is not None and frame.time_base is not None:
                time_s = frame.pts * frame.time_base - self._origin_s
            frame.pts = None  # placed here: the resampler must neither shift nor fill
        for place in self._places:
            if place.samples <= self._limit_s * place.rate_hz:
                limit = self._limit_s * place.rate_hz if self._times_hold else None
                at = None if time_s is None else round(time_s * place.rate_hz)
                for samples in place.feed(frame, at, limit):
                    yield Heard(place.rate_hz, samples)


def hear(frames: Iterator[AudioFrame], listener: Listener) -> Iterator[Heard]:
    """A whole stream through a listener, up to its limit."""
    for frame in frames:
        yield from listener.feed(frame)
        if listener.done:
            return
    yield from listener.feed(None)


class _Place:
    """The sound at one rate, and where on the timeline its next sample lies."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.samples = 0
        self._began = False
        self._mono = Mono(rate_hz)

    def feed(self, frame: AudioFrame | None, at: int | None, limit: int | None) -> Iterator[Samples]:
        """`at`: the sample at which the frame's time lies; None as limit: times do not hold."""
        if at is not None:
            if not self._began:
                self._began, self.samples = True, min(at, 0)
            # Less than a fifth of a second is the resampler's delay and rounding, not a pause.
            # A leap beyond the limit is damage.
            if limit is not None and self.samples + self.rate_hz // 5 < at <= limit:
                for start in range(max(self.samples, 0), at, _SILENCE_SAMPLES):
                    yield np.zeros(min(_SILENCE_SAMPLES, at - start), np.float32)
                self.samples = at
        for chunk in self._mono.feed(frame):
            self._began = True
            if len(audible := chunk[max(0, -self.samples) :]):
                yield audible
            self.samples += len(chunk)
