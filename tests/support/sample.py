"""A made match with what is in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from samples.truth import Truth


@dataclass(frozen=True)
class Sample:
    path: Path
    truth: Truth
