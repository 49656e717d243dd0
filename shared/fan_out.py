"""How many at a time: units of one orchestration, videos of a batch."""

from __future__ import annotations

MAX_FAN_OUT = 100
"""Actions one orchestrator may schedule: replay work grows with the square of them."""


FEW = 4
"""Units of one job of a batch that wait for workers at a time."""


BLOCK = 50
"""Segments per sub-orchestration, once a job has more than MAX_FAN_OUT."""


MAX_BATCH = 1000
"""Videos in one batch."""


BATCH_BLOCK = 25
"""Videos of a batch that one activity looks up."""


MAX_UNITS = MAX_FAN_OUT * BLOCK


def blocks(first: int, end: int) -> list[range]:
    """The units [first, end) of a fan-out, in blocks of BLOCK; none up to MAX_FAN_OUT units."""
    if end - first <= MAX_FAN_OUT:
        return []
    return [range(start, min(start + BLOCK, end)) for start in range(first, end, BLOCK)]


def block_id(run: str, block: range) -> str:
    """Instance id of the sub-orchestration that scores a block."""
    return f"{run}-b{block.start}"
