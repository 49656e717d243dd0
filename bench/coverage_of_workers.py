"""A plugin of coverage: it saves what a worker reached before the host ends it by SIGKILL.

A process writes its coverage when it exits, and a worker never does. So a thread of each worker writes every
EVERY_S what was reached so far. coverage loads this in every process; pyproject.toml names it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import coverage

EVERY_S = 0.5
WORKER = ".worker"
"""How the name of the module ends that a worker runs."""


def coverage_init(_registry: Any, _options: dict[str, Any]) -> None:
    """coverage calls this when it starts in a process."""
    if any(word.endswith(WORKER) for word in sys.orig_argv):
        threading.Thread(target=_keep, daemon=True, name="coverage").start()


def _keep() -> None:
    while True:
        time.sleep(EVERY_S)
        if (measured := coverage.Coverage.current()) is None:
            continue
        try:
            save(measured)
        except Exception:  # what an activity may write is limited, and that counts here too
            continue


def save(measured: coverage.Coverage) -> None:
    """Write what was reached so far beside the other processes' files, whole or not at all."""
    data = measured.get_data()
    base = Path(data.base_filename())
    part = base.with_name(f"worker-{os.getpid()}.part")
    copy = coverage.CoverageData(basename=str(part))
    copy.update(data)
    copy.close()
    os.replace(part, f"{base}.worker-{os.getpid()}")
