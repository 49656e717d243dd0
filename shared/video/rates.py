"""The rate of a timeline: a standard one near what the container says."""

from __future__ import annotations

from fractions import Fraction

from av.video.stream import VideoStream

_STANDARD_RATES = tuple(
    Fraction(rate)
    for rate in (
        "24000/1001",
        "24",
        "25",
        "30000/1001",
        "30",
        "48",
        "50",
        "60000/1001",
        "60",
        "100",
        "120000/1001",
        "120",
    )
)


def snap_rate(rate: Fraction) -> Fraction:
    """The standard rate within 0.05 % of `rate`, else `rate` itself with a denominator of at most 1001.

    The result is at least 1: the timeline of a slower video has one frame a second, as its timecode does.
    """
    nearest = min(_STANDARD_RATES, key=lambda standard: abs(standard - rate))
    return (
        nearest if abs(nearest - rate) <= nearest / 2000 else max(Fraction(1), rate.limit_denominator(1001))
    )


def nominal_rate(stream: VideoStream, highest: int) -> Fraction:
    for rate in (stream.guessed_rate, stream.average_rate, stream.base_rate):
        if rate and 0 < rate <= highest:
            return snap_rate(Fraction(rate))
    return Fraction(25)  # no usable rate is declared: 25 is a convention
