"""The decoded sound of a video, contiguous from frame 0 of its timeline (floor 3)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream

from shared.contracts import VideoInfo
from shared.media import decode, open_container
from shared.ranges import RangeReader

Samples = npt.NDArray[np.float32]


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
    origin_s = info.origin_pts * info.time_base
    placed: int | None = None  # where on the timeline the next sample lies, in samples
    mono = _Mono(rate_hz)
    with open_container(reader) as container:
        stream = container.streams[info.audio_stream]
        assert isinstance(stream, AudioStream)
        stream.codec_context.thread_count = 1
        for frame in chain(decode(container, stream, reader, errors), [None]):
            if frame is not None and frame.pts is not None and frame.time_base is not None:
                at = round((frame.pts * frame.time_base - origin_s) * rate_hz)
                if placed is None:
                    placed = min(at, 0)
                # Less than a fifth of a second is the resampler's delay and rounding, not a pause.
                # A leap beyond the limit is damage.
                if info.numbering == "pts" and placed + rate_hz // 5 < at <= limit_s * rate_hz:
                    for start in range(max(placed, 0), at, _SILENCE_SAMPLES):
                        yield np.zeros(min(_SILENCE_SAMPLES, at - start), np.float32)
                    placed = at
            for chunk in mono.feed(frame):
                placed = placed or 0
                if len(audible := chunk[max(0, -placed) :]):
                    yield audible
                placed += len(chunk)
            if placed is not None and placed > limit_s * rate_hz:
                return


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
