"""Short videos for measurements of many jobs: small, with sound, and every one different."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np

_SIZE = (96, 64)
_RATE = 25
_HERTZ = 16000


def clip(number: int, seconds: int = 3) -> bytes:
    """An mp4 (H.264, AAC): a square whose way over the picture, and a tone whose swell, `number` chooses."""
    rng = np.random.default_rng(number)
    width, height = _SIZE
    ground = rng.integers(0, 160, (height, width, 3), dtype=np.uint8)
    speed, pitch = rng.integers(1, 6), rng.integers(200, 2000)
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as muxer:
        picture = muxer.add_stream("libx264", rate=_RATE)
        picture.width, picture.height, picture.pix_fmt = width, height, "yuv420p"
        picture.codec_context.thread_count = 1
        picture.codec_context.options = {"g": "25", "crf": "30", "preset": "ultrafast"}
        sound = muxer.add_stream("aac", rate=_HERTZ, layout="mono")
        for index in range(seconds * _RATE):
            image = ground.copy()
            left = index * speed % (width - 16)
            image[24:40, left : left + 16] = 255
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, _RATE)
            muxer.mux(picture.encode(frame))
        muxer.mux(picture.encode(None))
        time = np.arange(seconds * _HERTZ) / _HERTZ
        wave = (np.sin(2 * np.pi * pitch * time) * time / seconds / 2).astype(np.float32)
        for start in range(0, len(wave), 1024):
            chunk = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], "fltp", "mono")
            chunk.sample_rate, chunk.pts, chunk.time_base = _HERTZ, start, Fraction(1, _HERTZ)
            muxer.mux(sound.encode(chunk))
        muxer.mux(sound.encode(None))
    return out.getvalue()
