"""Which sound of a file is heard, and how its channels become one."""

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
_TRIED_PACKETS = 50
_TRIED_BYTES = 8 << 20
"""How far into a file to look for its sound. What begins later is taken for what the container says it is."""


def pick_sound(
    container: InputContainer, reader: RangeReader
) -> tuple[AudioStream | None, SoundFault | None]:
    """The first sound track that becomes sound, else the first that may yet (its beginning may be damaged);
    and where there is none but tracks are, what the first of them lacks.

    Raises what storage raises.
    """
    doubtful: AudioStream | None = None
    fault: SoundFault | None = None
    for stream in container.streams:
        # By class: where a transport stream gave its number to another one, what it calls itself has changed.
        if not isinstance(stream, AudioStream):
            continue
        if stream.codec_context is None:  # and the stream then has no attribute of sound
            fault = fault or "no_decoder"
        elif stream.codec_context.codec.canonical_name not in reader.limits.audio_codecs:
            fault = fault or "codec_not_allowed"
        elif heard := _tried(container, stream, reader):
            return stream, None
        elif heard is None and stream.rate:
            doubtful = doubtful or stream
        else:
            fault = fault or "does_not_decode"
    return doubtful, None if doubtful else fault


def _tried(container: InputContainer, stream: AudioStream, reader: RangeReader) -> bool | None:
    """Whether one of its first packets becomes sound; None where none comes, or decodes, so soon."""
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
    """Resample to mono; a change of format within the stream starts a new resampler."""

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._format: tuple[str, str, int] | None = None
        self._resampler: av.AudioResampler | None = None
        self._floats: av.AudioResampler | None = None
        """Where libav does not know how to mix the channels: makes them floats, to be mixed here."""

    def feed(self, frame: AudioFrame | None) -> list[Samples]:
        """The chunks that are ready; None flushes."""
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
        """The mean of channels of which nobody says where they belong, such as 64 of a mixing desk."""
        if self._floats is None:
            return frame
        (floats,) = self._floats.resample(frame)
        mean = floats.to_ndarray().reshape(-1, frame.layout.nb_channels).mean(axis=1, dtype=np.float32)
        mixed = av.AudioFrame.from_ndarray(mean[None], "flt", "mono")
        mixed.sample_rate = frame.sample_rate
        return mixed
