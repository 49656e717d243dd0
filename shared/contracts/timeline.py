"""A video's timeline: its nominal rate and its number of frames."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import floor


@dataclass(frozen=True)
class Timeline:
    """Frames 0 to `frames` - 1; frame 0 is the first frame that decodes.

    Frame k is on the screen in [k / rate, (k + 1) / rate) seconds. Seconds are exact fractions.
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
        """The frame on the screen at time_s seconds. It may lie outside the timeline: see clip."""
        return floor(time_s * self.rate)

    def clip(self, frame: int) -> int:
        """The nearest valid bound of a span: `frame` limited to [0, frames], both included."""
        return min(max(frame, 0), self.frames)
