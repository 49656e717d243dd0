"""What runs, and whether it still does (Linux: /proc). A process may end between any two looks at it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import LIMIT_S


@dataclass(frozen=True)
class Seen:
    """A process as one look found it."""

    pid: int
    state: str
    parent: int
    session: int

    @property
    def over(self) -> bool:
        """A zombie has ended: nobody has collected it yet."""
        return self.state == "Z"


def look(pid: int) -> Seen | None:
    """None where it is gone."""
    try:
        state, parent, _, session = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:4]
    except OSError:
        return None
    return Seen(pid, state, int(parent), int(session))


def everything() -> list[Seen]:
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [seen for pid in pids if (seen := look(pid))]


def command(pid: int) -> str:
    """Its command line; empty where it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def children(pid: int) -> list[int]:
    return [seen.pid for seen in everything() if seen.parent == pid and not seen.over]


def descendants(pid: int) -> list[int]:
    seen = everything()
    found, level = [], [pid]
    while level:
        level = [one.pid for one in seen if one.parent in level and not one.over]
        found += level
    return found


def of_session(session: int) -> list[int]:
    """Those that have not ended."""
    return [seen.pid for seen in everything() if seen.session == session and not seen.over]


def still_running(pids: list[int], limit_s: float = LIMIT_S) -> list[int]:
    """Those that have not ended within the limit."""
    deadline = time.monotonic() + limit_s
    while True:
        left = [pid for pid in pids if (seen := look(pid)) and not seen.over]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.02)


def kill(*pids: int) -> None:
    """SIGKILL, and until it has done its work. Those that have ended already are left alone."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert still_running(list(pids)) == []
