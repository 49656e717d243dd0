"""Choose the sound track of a file, and mix its channels to mono."""

from __future__ import annotations

from contextlib import suppress

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer

from shared.contracts import SoundFault
from shared.video._index import indexed, packets
from shared.video.ranges import RangeReader

Samples = npt.NDArray[np.float32]
"""(n,), mono, in [-1, 1]."""
_TRIED_PACKETS = 50
_TRIED_BYTES = 8 << 20
"""How far into a file to try its sound tracks. One that begins later is taken as the container declares
it."""


def pick_sound(
    container: InputContainer, reader: RangeReader
) -> tuple[AudioStream | None, SoundFault | None]:
    """(stream, None) for the sound track to use, (None, fault of the first track) where no track is usable,
    and (None, None) where the file has none.

    It is the first track that decodes and mixes, else the first that may do so later, since the beginning of
    a track may be damaged. Raises the reader's failure.
    """
    doubtful: AudioStream | None = None
    fault: SoundFault | None = None
    for stream in container.streams:
        # By class: the stream's type changes where a transport stream reuses its number for another stream.
        if not isinstance(stream, AudioStream):
            continue
        if stream.codec_context is None:  # the stream then has no attributes of sound either
            fault = fault or "no_decoder"
        elif stream.codec_context.codec.canonical_name not in reader.limits.audio_codecs:
            fault = fault or "codec_not_allowed"
        elif usable := _try(container, stream, reader):
            return stream, None
        elif usable is None and stream.rate:
            doubtful = doubtful or stream
        else:
            fault = fault or "does_not_decode"
    return doubtful, None if doubtful else fault


def _try(container: InputContainer, stream: AudioStream, reader: RangeReader) -> bool | None:
    """Whether the stream's first decoded frame can be mixed; None where no packet decodes within
    _TRIED_PACKETS and _TRIED_BYTES."""
    stream.codec_context.thread_count = 1
    failed = 0
    with suppress(av.FFmpegError, ValueError):
        container.seek(0)
        for packet in packets(container, (stream,) if indexed(container) else container.streams.get()):
            if packet.stream.index == stream.index and packet.size:
                try:
                    frames = stream.decode(packet)
                except (av.FFmpegError, ValueError):
                    frames, failed = [], failed + 1
                if frames:
                    return _mixes(frames[0])
            if failed >= _TRIED_PACKETS or reader.tell() > _TRIED_BYTES:
                break
    if reader.failure:
        raise reader.failure
    return None


def _mixes(frame: AudioFrame) -> bool:
    try:
        Mono(frame.sample_rate).feed(frame)
    except (av.FFmpegError, ValueError):
        return False
    return True


class Mono:
    """Resamples frames to mono at rate_hz. A change of format within the stream starts a new resampler."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._format: tuple[str, str, int] | None = None
        self._resampler: av.AudioResampler | None = None
        self._floats: av.AudioResampler | None = None
        """Converts channels to floats, to be mixed here, where libav cannot mix them itself."""

    def feed(self, frame: AudioFrame | None) -> list[Samples]:
        """The chunks that the frame completes; None for a frame flushes."""
        out: list[AudioFrame] = []
        key = (frame.format.name, frame.layout.name, frame.sample_rate) if frame is not None else None
        if self._resampler is not None and key != self._format:
            out += self._resampler.resample(None)
            self._resampler = None
        if frame is not None:
            if self._resampler is None:
                out += self._begin(frame)
            else:
                out += self._resampler.resample(self._mixed(frame))
            self._format = key
        return [chunk.to_ndarray().reshape(-1).astype(np.float32, copy=False) for chunk in out]

    def _begin(self, frame: AudioFrame) -> list[AudioFrame]:
        self._floats = None
        try:
            return self._started().resample(frame)
        except (av.FFmpegError, ValueError):
            layout, rate_hz = frame.layout, frame.sample_rate
            self._floats = av.AudioResampler(format="flt", layout=layout, rate=rate_hz)
            return self._started().resample(self._mixed(frame))

    def _started(self) -> av.AudioResampler:
        self._resampler = av.AudioResampler(format="flt", layout="mono", rate=self._rate_hz)
        return self._resampler

    def _mixed(self, frame: AudioFrame) -> AudioFrame:
        """The frame, or the mean of its channels where their positions are unknown, as for 64 of a mixing
        desk."""
        if self._floats is None:
            return frame
        (floats,) = self._floats.resample(frame)
        mean = floats.to_ndarray().reshape(-1, frame.layout.nb_channels).mean(axis=1, dtype=np.float32)
        mixed = av.AudioFrame.from_ndarray(mean[None], "flt", "mono")
        mixed.sample_rate = frame.sample_rate
        return mixed
