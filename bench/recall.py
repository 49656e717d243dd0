"""The share of an exhaustive job's events that a cascade also finds.

python -m bench.recall SEED ...     on sample matches of five minutes at 320x180
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

from bench.job import Run, Service
from bench.match import Standard, master
from samples.evaluate import score_anchors

TOLERANCE_S = 2
Events = Sequence[tuple[str, int]]
"""(label, anchor frame)."""


def found(cascade: Events, exhaustive: Events, rate: Fraction) -> dict[str, tuple[int, int]]:
    """Label -> (events of the exhaustive job that the cascade has within TOLERANCE_S, all of them).

    One to one, nearest pairs first, each label for itself.
    """
    counts = {}
    for label in sorted({label for label, _ in exhaustive}):
        wanted = [(frame, frame + 1) for name, frame in exhaustive if name == label]
        there = [frame for name, frame in cascade if name == label]
        score = score_anchors(there, wanted, int(TOLERANCE_S * rate))
        counts[label] = (score.found, score.true)
    return counts


def total(several: Iterable[dict[str, tuple[int, int]]]) -> dict[str, tuple[int, int]]:
    """The counts of several matches, by label, and over all labels under ""."""
    counts: dict[str, tuple[int, int]] = {"": (0, 0)}
    for one in several:
        for label, (right, true) in one.items():
            for name in (label, ""):
                before = counts.get(name, (0, 0))
                counts[name] = (before[0] + right, before[1] + true)
    return counts


def small(seed: int, seconds: int = 300) -> Path:
    """A sample match like those on which the profiles were made: small, at constant quality."""
    return master(Standard(seconds=seconds, seed=seed, width=320, height=180, bitrate=None))


def pair(video: Path, workers: int = 2) -> tuple[Run, Run]:
    """Both jobs of a match, (exhaustive, cascade), one after the other on one host."""
    with Service(workers) as service:
        blob = service.upload(video)
        return service.run(blob, exhaustive=True), service.run(blob)


def main(seeds: list[int]) -> None:
    several = []
    for seed in seeds:
        exhaustive, cascade = pair(small(seed))
        several.append(found(cascade.events, exhaustive.events, Fraction(exhaustive.rate)))
        print(f"seed {seed}: {several[-1]}")
    print(total(several))


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or [21])
