"""Replay work of the orchestration per segment, at 60, 300 and 1,000 segments.

`make replay-bench`. One completion an episode, the worst case of a real host: each episode
replays its history from the beginning. Compared with what one flat orchestrator would replay.
"""

from __future__ import annotations

import os
import time
from statistics import median

os.environ.setdefault("AzureWebJobsStorage", "UseDevelopmentStorage=true")

from bench.figures import Figure, write
from shared import names
from tests.replay.test_flow import JOB, Service
from tests.support.history import Replay

RUNS = 3


def measure(segments: int) -> tuple[float, float]:
    """(events replayed per segment, CPU milliseconds per segment), the median of RUNS."""
    cpu_ms, events = [], 0.0
    for _ in range(RUNS):
        replay = Replay(Service(segments))
        before = time.process_time()
        replay.run(names.JOB, JOB, {"job": JOB})
        cpu_ms.append((time.process_time() - before) * 1000 / segments)
        events = replay.replayed_events / segments
    return events, median(cpu_ms)


def main() -> None:
    figures, events, cpu_ms = [], {}, {}
    for segments in (60, 300, 1000):
        events[segments], cpu_ms[segments] = measure(segments)
        figures.append(
            Figure(f"events replayed per segment, {segments} segments", round(events[segments], 1), "events")
        )
        figures.append(
            Figure(f"replay CPU per segment, {segments} segments", round(cpu_ms[segments], 2), "ms")
        )
    growth = events[1000] / events[300]
    figures.append(
        Figure(
            "replay work per segment, 1,000 against 300",
            round(growth, 3),
            "ratio",
            "linear: <= 1.1",
            growth <= 1.1,
        )
    )
    write("replay-bench", figures)


if __name__ == "__main__":
    main()
