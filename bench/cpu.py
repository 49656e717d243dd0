"""CPU seconds, wall seconds and memory of whole process trees, from Linux's own counts.

python -m bench.cpu COMMAND ...     runs a command and says what it and all it started cost
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_SUBREAPER = 36  # prctl(2): PR_SET_CHILD_SUBREAPER
_SAMPLE_S = 0.2
_GRACE_S = 5.0


class CommandFailed(Exception):
    """A measured command ended with an error; the message is the end of its output."""


@dataclass(frozen=True)
class Spent:
    """The cost of a tree of processes. peak_bytes: resident memory of its largest process."""

    cpu_s: float
    wall_s: float
    peak_bytes: int


@dataclass(frozen=True)
class Process:
    """One process, from /proc/<pid> (proc(5)). `reaped_s`: CPU seconds of children that it has waited for."""

    pid: int
    parent: int
    started: int
    cpu_s: float
    reaped_s: float
    peak_bytes: int
    command: str


def look(pid: int) -> Process | None:
    """The process now; None where it has ended."""
    try:
        folder = Path("/proc") / str(pid)
        # The name, in brackets, may hold spaces: the fields are counted from behind it.
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        status = (folder / "status").read_text()
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return None
    peak = next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")), "0")
    user, system, children_user, children_system = (int(field) / _TICKS_PER_S for field in fields[11:15])
    return Process(
        pid=pid,
        parent=int(fields[1]),
        started=int(fields[19]),
        cpu_s=user + system,
        reaped_s=children_user + children_system,
        peak_bytes=int(peak) * 1024,
        command=command.strip(),
    )


def tree(root: int) -> dict[int, Process]:
    """`root` and all its living descendants, by pid."""
    everyone = [look(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    by_parent: dict[int, list[Process]] = {}
    for process in everyone:
        if process is not None:
            by_parent.setdefault(process.parent, []).append(process)
    found = {process.pid: process for process in everyone if process is not None and process.pid == root}
    waiting = [root]
    while waiting:
        for child in by_parent.get(waiting.pop(), []):
            found[child.pid] = child
            waiting.append(child.pid)
    return found


def measure(
    command: Sequence[str], env: Mapping[str, str] | None = None, limit_s: float = 3600
) -> tuple[Spent, str]:
    """Run a command from the repository's root; returns (the cost of its whole tree, its stdout).

    Raises CommandFailed.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        done = subprocess.run(
            [sys.executable, "-m", "bench.cpu", "--report", str(report), *command],
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=limit_s,
        )
        if done.returncode or not report.exists():
            said = (done.stderr.strip() or done.stdout.strip()).splitlines() or ["nothing"]
            raise CommandFailed(f"{Path(command[0]).name} ended with {done.returncode}: {said[-1]}")
        return Spent(**json.loads(report.read_text())), done.stdout


def supervise(command: Sequence[str]) -> tuple[Spent, int]:
    """Run a command as the parent of all that it starts, daemons too; returns (its cost, its exit code).

    Takes two counts, and reports the larger: wait4's of every descendant, which misses the children of
    processes that ignore SIGCHLD (as Ray's node manager does); and samples of each process, which miss its
    last fifth of a second.
    """
    if ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    seen: dict[tuple[int, int], Process] = {}
    stop = threading.Event()

    def sample() -> None:
        for process in tree(os.getpid()).values():
            if process.pid != os.getpid():
                seen[process.pid, process.started] = process

    def keep_sampling() -> None:
        while not stop.wait(_SAMPLE_S):
            sample()

    began = time.monotonic()
    reaped_s, peak_bytes, code = 0.0, 0, 0
    child = subprocess.Popen(command)
    sampler = threading.Thread(target=keep_sampling, daemon=True)
    sampler.start()
    while True:
        pid, status, usage = os.wait4(-1, 0)
        reaped_s += usage.ru_utime + usage.ru_stime
        peak_bytes = max(peak_bytes, usage.ru_maxrss * 1024)
        if pid == child.pid:
            code = child.returncode = os.waitstatus_to_exitcode(status)
            break
    wall_s = time.monotonic() - began
    sample()
    stop.set()
    sampler.join()
    for usage_s, usage_bytes in _end_descendants():
        reaped_s += usage_s
        peak_bytes = max(peak_bytes, usage_bytes)
    sampled_s = sum(process.cpu_s for process in seen.values())
    peak_bytes = max([peak_bytes, *(process.peak_bytes for process in seen.values())])
    return Spent(max(reaped_s, sampled_s), wall_s, peak_bytes), code


def _end_descendants() -> list[tuple[float, int]]:
    """End the processes that outlived the command, by SIGTERM, then SIGKILL; returns (CPU seconds, peak
    bytes) of them."""
    spent: list[tuple[float, int]] = []
    deadline = time.monotonic() + _GRACE_S
    asked: set[int] = set()
    while len(alive := tree(os.getpid())) > 1:
        late = time.monotonic() > deadline
        for pid in alive.keys() - {os.getpid()}:
            if late or pid not in asked:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
                asked.add(pid)
        with suppress(ChildProcessError):
            while (ended := os.wait4(-1, os.WNOHANG))[0]:
                usage = ended[2]
                spent.append((usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024))
        time.sleep(0.05)
    return spent


def main(arguments: list[str]) -> int:
    report = None
    if arguments[:1] == ["--report"]:
        report, arguments = Path(arguments[1]), arguments[2:]
    if not arguments:
        print(__doc__)
        return 2
    spent, code = supervise(arguments)
    if report:
        report.write_text(json.dumps(asdict(spent)))
    else:
        peak_mib = spent.peak_bytes / 2**20
        print(f"{spent.cpu_s:.2f} s CPU, {spent.wall_s:.2f} s wall, {peak_mib:.0f} MiB", file=sys.stderr)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
