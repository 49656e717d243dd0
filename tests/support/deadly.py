"""The app, with a unit that takes host and worker with it, as an out-of-memory kill takes a whole pod.

It does so from when the file DEADLY_FROM is there: a test has its answers from the host before.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any
from unittest import mock

from function_app import app
from shared.steps import run_score
from shared.storage import Records

__all__ = ["app"]

DEADLY_UNIT = 1


def _run_score(settings: Any, records: Records, unit: int) -> Any:
    if unit == DEADLY_UNIT:
        while not Path(os.environ["DEADLY_FROM"]).exists():
            time.sleep(0.05)
        os.kill(os.getppid(), signal.SIGKILL)
        os.killpg(0, signal.SIGKILL)
    return run_score(settings, records, unit)


mock.patch("activities.score_segment.run_score", _run_score).start()
