"""Waiting for what a test expects, on a machine however busy."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")
LIMIT_S = 120.0
"""Long enough for whatever one waits for, where the time that it takes isn't what is tested."""


def until(holds: Callable[[], _T], told: Callable[[], object] = lambda: "", limit_s: float = LIMIT_S) -> _T:
    """The first answer that is true. Raises AssertionError, with what `told` says, after limit_s."""
    deadline = time.monotonic() + limit_s
    while not (answer := holds()):
        assert time.monotonic() < deadline, told()
        time.sleep(0.02)
    return answer


def read_if_there(path: Path) -> str:
    """What a file holds; empty where it isn't there, or not any more."""
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
