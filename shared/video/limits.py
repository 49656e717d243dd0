"""Limits on what a video may declare, and on what it may decode to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from shared.settings import Settings


@dataclass(frozen=True)
class MediaLimits:
    """The operator's limits on one video: the settings max_picture_pixels, max_streams, max_frames,
    max_frame_rate, max_decode_errors, video_codecs and audio_codecs."""

    pixels: int
    streams: int
    frames: int
    rate: int
    decode_errors: int
    video_codecs: frozenset[str]
    audio_codecs: frozenset[str]

    @classmethod
    @lru_cache(maxsize=4)
    def of(cls, settings: Settings) -> Self:
        return cls(
            pixels=settings.max_picture_pixels,
            streams=settings.max_streams,
            frames=settings.max_frames,
            rate=settings.max_frame_rate,
            decode_errors=settings.max_decode_errors,
            video_codecs=frozenset(settings.video_codecs),
            audio_codecs=frozenset(settings.audio_codecs),
        )

    @classmethod
    def default(cls) -> Self:
        """The limits of the settings' defaults."""
        return cls.of(Settings.model_construct())
