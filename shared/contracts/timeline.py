"""A video's timeline: how fast its frames follow each other, and where it ends."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor


@dataclass(frozen=True)
class Timeline:
    """Frames 0 to frames - 1: frame 0 is the first one that decodes, `frames` is the exclusive end.

    Frame k is on the screen from k / rate seconds until the next one. Seconds are fractions.
    """

    rate: Fraction
    """Nominal frames per second, above 0."""
    frames: int
    """At least 0."""

    @property
    def duration_s(self) -> Fraction:
        return self.time_s(self.frames)

    def time_s(self, frame: int) -> Fraction:
        """Seconds from the start of the timeline to the moment a frame appears."""
        return frame / self.rate

    def frame_at(self, time_s: Fraction) -> int:
        """The frame on the screen at a moment. It may lie outside the timeline: see clip."""
        return floor(time_s * self.rate)

    def clip(self, frame: int) -> int:
        """The nearest edge of a span on the timeline: 0 to frames, both included."""
        return min(max(frame, 0), self.frames)
