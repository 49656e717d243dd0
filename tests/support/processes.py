"""What runs below a process, and whether it still does (Linux: /proc)."""

from __future__ import annotations

import time
from pathlib import Path


def _stat(pid: int) -> tuple[str, int] | None:
    """(state, parent) of a process, None where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], int(fields[1])


def descendants(pid: int) -> list[int]:
    parents = {int(p.name): s[1] for p in Path("/proc").glob("[0-9]*") if (s := _stat(int(p.name)))}
    found, level = [], [pid]
    while level:
        level = [child for child, parent in parents.items() if parent in level]
        found += level
    return found


def still_running(pids: list[int], limit_s: float = 15) -> list[int]:
    """Those that have not ended within the limit. A zombie has ended: nobody has collected it yet."""
    deadline = time.monotonic() + limit_s
    while True:
        left = [pid for pid in pids if (stat := _stat(pid)) and stat[0] != "Z"]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)
