"""bench/results/<target>.json: a list of {figure, value, unit, goal, met, date, commit}."""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Figure:
    figure: str
    value: float
    unit: str
    goal: str | None = None
    """As the issue that asked for it says; None where it only wants the number."""
    met: bool | None = None


def write(target: str, figures: list[Figure]) -> Path:
    """Write the results of one target, and print them."""
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    dirty = subprocess.run(
        ["git", "status", "--porcelain", "-uno"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    measured = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit[:12] + ("+changes" if dirty else ""),
    }
    document = [{**asdict(figure), **measured} for figure in figures]
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{target}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    for figure in figures:
        goal = f"   (goal: {figure.goal}, {'met' if figure.met else 'missed'})" if figure.goal else ""
        print(f"{figure.figure:60} {figure.value:>12g} {figure.unit}{goal}")
    return path
