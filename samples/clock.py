"""The match clock: tenths of a second, and the frames and draws that hang on it.

The match is simulated in ticks of 1/10 s whatever the frame rate, so one seed gives one match.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

TICKS_PER_S = 10
WIPE_S = Fraction(3, 5)
"""How long a wipe takes."""


def ticks(seconds: float) -> int:
    """A drawn duration in seconds, on the tick grid."""
    return round(seconds * TICKS_PER_S)


def frame_at(tick: int, rate: Fraction) -> int:
    """The first frame shown at or after a tick (frame k is shown at k / rate)."""
    return -((-tick * rate.numerator) // (TICKS_PER_S * rate.denominator))


def tick_of(frame: int, rate: Fraction) -> Fraction:
    """When a frame is shown, in ticks, exact."""
    return Fraction(frame * TICKS_PER_S) / rate


def frames_in(seconds: int, rate: Fraction) -> int:
    """Frames of a match of whole seconds, rounded half up: 30 s at 30000/1001 are 899."""
    return int(seconds * rate + Fraction(1, 2))


def samples_until(frame: int, rate: Fraction, rate_hz: int) -> int:
    """Sound samples that belong to the first `frame` frames, rounded half up."""
    return int(Fraction(frame * rate_hz) / rate + Fraction(1, 2))


def draws(seed: int, *stream: int) -> np.random.Generator:
    """The random numbers of one named stream: a change in one leaves the others as they were."""
    return np.random.default_rng([seed, *stream])


def wipe_half_frames(rate: Fraction) -> int:
    """Frames of a wipe before, and after, the change of take."""
    return max(1, int(WIPE_S * rate / 2))
