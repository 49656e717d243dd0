"""Small videos made on the spot, each with a trap in it, and a reader over local bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream

from shared.contracts import VideoInfo
from shared.errors import StorageUnavailable
from shared.video import RangeReader, probe

MEDIA = Path(__file__).resolve().parents[3] / "shared" / "media"
"""Real footage, where it is."""


NTSC = Fraction(30000, 1001)


def reader(source: Path | bytes) -> RangeReader:
    data = source if isinstance(source, bytes) else source.read_bytes()
    return RangeReader(lambda offset, length: data[offset : offset + length], len(data))


def broken_reader(data: bytes) -> RangeReader:
    """A reader whose connection is lost in the second half."""

    def fetch(offset: int, length: int) -> bytes:
        if offset >= len(data) // 2:
            raise StorageUnavailable("Storage answered 503.")
        return data[offset : offset + length]

    broken = RangeReader(fetch, len(data))
    broken.least_bytes = broken.most_bytes = 1024
    return broken


def numbered(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """A picture that says its own number: 16 bits as black and white columns."""
    bits = [255 if number >> bit & 1 else 0 for bit in range(16)]
    row = np.repeat(np.array(bits, np.uint8), width // 16)
    return np.broadcast_to(row[None, :, None], (height, width, 3)).copy()


def read_number(image: np.ndarray) -> int:
    """The number of a `numbered` picture that was coded and resized to (n, 16 * k)."""
    columns = image.reshape(image.shape[0], 16, -1).mean(axis=(0, 2))
    return sum(1 << bit for bit, value in enumerate(columns) if value > 127)


def make_clip(
    frames: int,
    rate: Fraction = Fraction(25),
    *,
    container: str = "mp4",
    codec: str = "libx264",
    gop: int = 12,
    b_frames: int = 2,
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    sound_from_s: Fraction | None = None,
    sound_s: Fraction = Fraction(0),
    size: tuple[int, int] = (64, 48),
    sample_aspect: Fraction | None = None,
    rotation: int = 0,
    options: dict[str, str] | None = None,
    metadata: dict[str, str] | None = None,
    coder: dict[str, str] | None = None,
) -> bytes:
    """A video of numbered pictures. `pts`, in units of time_base, makes it VFR; a tone of 1 kHz
    sounds in [sound_from_s, sound_from_s + sound_s)."""
    out = io.BytesIO()
    with av.open(out, "w", format=container, options=options or {}) as muxer:
        muxer.metadata.update(metadata or {})
        video = cast(VideoStream, muxer.add_stream(codec, rate=rate))
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        clock = time_base or 1 / rate  # the muxer may choose another one for the stream
        video.time_base = video.codec_context.time_base = clock
        video.codec_context.thread_count = 1
        if codec == "libx264":
            video.codec_context.options = {
                "g": str(gop), "bf": str(b_frames), "crf": "18", "preset": "veryfast", "sc_threshold": "0",
            }  # fmt: skip
        video.codec_context.options |= coder or {}
        if sample_aspect:
            video.codec_context.sample_aspect_ratio = sample_aspect
        if rotation:
            video.set_display_rotation(rotation)
        audio = muxer.add_stream("aac", rate=48000, layout="mono") if sound_from_s is not None else None
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(numbered(index, *size), format="rgb24")
            frame.pts = pts[index] if pts else index
            frame.time_base = clock
            muxer.mux(video.encode(frame))
        muxer.mux(video.encode(None))
        if audio is not None and sound_from_s is not None:
            start = round(sound_from_s * 48000)
            tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(round(sound_s * 48000)) / 48000)
            for at in range(0, len(tone), 1024):
                chunk = av.AudioFrame.from_ndarray(
                    tone[None, at : at + 1024].astype(np.float32), "fltp", "mono"
                )
                chunk.sample_rate, chunk.pts, chunk.time_base = 48000, start + at, Fraction(1, 48000)
                muxer.mux(audio.encode(chunk))
            muxer.mux(audio.encode(None))
    return out.getvalue()


def info_of(data: bytes) -> VideoInfo:
    return probe(reader(data), "etag", len(data)).info


def joined(*lengths: int) -> bytes:
    """Transport streams one after the other: time starts again at each."""
    return b"".join(make_clip(length, container="mpegts", gop=25) for length in lengths)


class Made(Mapping[str, bytes]):
    """Videos by name, each made when it is first asked for."""

    def __init__(self, makers: Mapping[str, Callable[[], bytes]]) -> None:
        self.makers = makers
        self._made: dict[str, bytes] = {}

    def __getitem__(self, name: str) -> bytes:
        if name not in self._made:
            self._made[name] = self.makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.makers)

    def __len__(self) -> int:
        return len(self.makers)


CLIPS = Made(
    {
        "25 fps": lambda: make_clip(100),
        "29.97": lambda: make_clip(100, NTSC),
        "29.97 in milliseconds": lambda: make_clip(100, NTSC, container="matroska"),
        "transport stream that starts at 1.4 s": lambda: make_clip(100, container="mpegts"),
        "AVI": lambda: make_clip(60, codec="mpeg4", container="avi"),
        "variable rate": lambda: make_clip(
            40, time_base=Fraction(1, 1000), pts=np.cumsum([0, *[20, 40, 300, 33, 41] * 8])[:40].tolist()
        ),
        "one frame": lambda: make_clip(1),
        "long groups of pictures": lambda: make_clip(100, gop=250, b_frames=3),
    }
)
