"""bench/results/<target>.json: a list of {figure, value, unit, goal, met, date, commit}."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Figure:
    figure: str
    value: float
    unit: str
    goal: str | None = None
    """The goal in words; None where only the number matters."""
    met: bool | None = None


def kept(target: str, figures: list[Figure]) -> list[dict[str, Any]]:
    """Figures of a target's earlier run that this run did not measure, with their own date and commit."""
    path = FOLDER / f"{target}.json"
    measured = {figure.figure for figure in figures}
    old: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    return [entry for entry in old if entry["figure"] not in measured]


def commit_of() -> str:
    """Twelve digits of the measured commit, and whether files differ from it; files that a target itself
    writes do not count."""
    changed = ["status", "--porcelain", "-uno", "--", ".", ":!bench/results", ":!docs"]
    commit, changes = (
        subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True).stdout.strip()
        for command in (["rev-parse", "HEAD"], changed)
    )
    return commit[:12] + ("+changes" if changes else "")


def write(target: str, figures: list[Figure], keep: bool = False) -> Path:
    """Write the results of one target, and print them. keep: beside what `kept` finds."""
    measured = {"date": datetime.now(UTC).date().isoformat(), "commit": commit_of()}
    document = (kept(target, figures) if keep else []) + [
        {**asdict(figure), **measured} for figure in figures
    ]
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{target}.json"
    path.write_text(json.dumps(document, indent=2) + "\n")
    for figure in figures:
        goal = f"   (goal: {figure.goal}, {'met' if figure.met else 'missed'})" if figure.goal else ""
        print(f"{figure.figure:60} {figure.value:>12g} {figure.unit}{goal}")
    return path


def table(figures: Sequence[Figure]) -> list[str]:
    """A Markdown table, as lines; a ratio has no unit."""
    return [
        "| figure | value | goal | |",
        "| --- | --- | --- | --- |",
        *(
            f"| {f.figure} | {f.value:g} {'' if f.unit == 'ratio' else f.unit} | {f.goal or ''} | "
            f"{'' if f.met is None else 'met' if f.met else '**missed**'} |"
            for f in figures
        ),
    ]


def replace_block(page: Path, begin: str, end: str, lines: Sequence[str]) -> None:
    """Replace the text between the two marks of a page by these lines. Raises ValueError where a mark is
    missing."""
    text = page.read_text(encoding="utf-8")
    before, after = text.index(begin), text.index(end) + len(end)
    page.write_text(text[:before] + "\n".join([begin, *lines, end]) + text[after:], encoding="utf-8")


def publish(path: Path, page: Path) -> None:
    """Publish what `write` wrote, in the block of a page that bears the target's name. Raises ValueError
    where the page has none."""
    target, date = path.stem, json.loads(path.read_text())[0]["date"]
    head = f"`make {target}`, {date}, everything on {os.cpu_count()} shared cores."
    begin, end = f"<!-- {target}: begin -->", f"<!-- {target}: end -->"
    replace_block(page, begin, end, [head, "", *table(read(path))])


def read(path: Path) -> list[Figure]:
    """The figures that `write` wrote, without their dates and commits."""
    names = [field.name for field in fields(Figure)]
    return [Figure(**{name: entry[name] for name in names}) for entry in json.loads(path.read_text())]
