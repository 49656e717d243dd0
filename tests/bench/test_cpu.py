"""What a tree of processes costs, daemons and those that nobody waits for included."""

from __future__ import annotations

import sys

import pytest

from bench.cpu import CommandFailed, measure

BURN = """
import time
end = time.process_time() + 0.5
while time.process_time() < end: pass
"""
# Standard output is closed once all have ended that have it.
LEAVE = f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-c", {BURN!r}], start_new_session=True)
"""
ORPHANED = f"""
import subprocess, sys
leaver = subprocess.Popen([sys.executable, "-c", {LEAVE!r}], stdout=subprocess.PIPE)
leaver.stdout.read()
"""
UNWAITED = f"""
import signal, subprocess, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel then adds the child's time to nobody's
child = subprocess.Popen([sys.executable, "-c", {BURN!r}], stdout=subprocess.PIPE)
child.stdout.read()
"""


@pytest.mark.parametrize(
    "script", [BURN, ORPHANED, UNWAITED], ids=["itself", "a daemon", "an unwaited child"]
)
def test_all_that_a_command_starts_is_counted(script: str) -> None:
    spent, _ = measure([sys.executable, "-c", script])
    assert 0.3 < spent.cpu_s < 2


def test_waiting_is_wall_time_and_no_cpu_time() -> None:
    spent, out = measure([sys.executable, "-c", "import time; time.sleep(1); print('done')"])
    assert out == "done\n"
    assert spent.wall_s >= 1
    assert spent.cpu_s < 0.5


def test_the_peak_is_that_of_the_largest_process() -> None:
    spent, _ = measure([sys.executable, "-c", "x = bytearray(200 << 20); del x"])
    assert 200 << 20 < spent.peak_bytes < 300 << 20


def test_what_outlives_its_command_is_ended() -> None:
    left = "import subprocess; subprocess.Popen(['sleep', '600'])"
    spent, _ = measure([sys.executable, "-c", left], limit_s=250)
    assert spent.wall_s < 200


def test_a_command_that_fails_says_its_last_words() -> None:
    with pytest.raises(CommandFailed, match="no such match"):
        measure([sys.executable, "-c", "raise SystemExit('no such match')"])
