"""How many units, blocks and videos are worked on at a time."""

from __future__ import annotations

MAX_FAN_OUT = 100
"""Most actions that one orchestrator schedules, since the work of replay grows with their square."""


BATCH_JOB_UNITS = 4
"""Units that a job of a batch schedules at a time, so that it does not fill the queue of the workers."""


BLOCK = 50
"""Units per sub-orchestration, in a job of more than MAX_FAN_OUT units."""


MAX_BATCH = 1000
"""Most videos in one batch."""


BATCH_BLOCK = 25
"""Videos of a batch that one activity looks up."""


MAX_UNITS = MAX_FAN_OUT * BLOCK
"""Most units of one fan-out: as many blocks as one orchestrator may schedule."""


def blocks(first: int, end: int) -> list[range]:
    """The units [first, end) of a fan-out in blocks of BLOCK; empty for at most MAX_FAN_OUT units, which need
    no blocks."""
    if end - first <= MAX_FAN_OUT:
        return []
    return [range(start, min(start + BLOCK, end)) for start in range(first, end, BLOCK)]


def block_id(run: str, block: range) -> str:
    """Instance id of the sub-orchestration that scores a block."""
    return f"{run}-b{block.start}"
