"""`make coverage`: how many lines and branches of the service the tests reach.

python -m bench.coverage [--only TEST ...] [-- OPTION OF PYTEST ...]

It counts shared/, orchestrator/ and activities/ in every process: the tests' own, the embedded hosts that
they start, and the hosts' workers. SIGKILL costs a worker its last half second, and any other process all
of its coverage. A run without --only whose tests all pass writes bench/results/coverage.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from math import floor
from pathlib import Path
from typing import Any

import coverage

from bench.figures import ROOT, Figure, write

PACKAGES = ("shared", "orchestrator", "activities")
GOAL_PERCENT = 95.0
LOWEST = 15
DATA = "data"
"""Base name of the data files that coverage writes; each process appends a suffix of its own."""

Summaries = Mapping[str, Mapping[str, Any]]
"""What coverage's JSON report counts, by file."""


def percent(summaries: Summaries, package: str = "") -> float:
    """Share of the lines and branches of `package` that were covered, in percent, rounded down to a tenth."""
    chosen = [counts for path, counts in summaries.items() if path.startswith(package)]
    covered = sum(counts["covered_lines"] + counts["covered_branches"] for counts in chosen)
    total = sum(counts["num_statements"] + counts["num_branches"] for counts in chosen)
    return floor(1000 * covered / total) / 10 if total else 100.0


def figures(summaries: Summaries) -> list[Figure]:
    """The figures of all packages together, with the goal, and of each package."""
    total = percent(summaries)
    parts = [
        Figure(f"lines and branches covered, {name}/", percent(summaries, f"{name}/"), "%")
        for name in PACKAGES
    ]
    goal = f">= {GOAL_PERCENT:g}"
    return [Figure("lines and branches covered", total, "%", goal, total >= GOAL_PERCENT), *parts]


def lowest(summaries: Summaries) -> list[str]:
    """One line per file, for the files with the least coverage, the lowest first."""
    rows = sorted((percent({path: counts}), path) for path, counts in summaries.items())
    return [f"{covered:6.1f} %  {path}" for covered, path in rows[:LOWEST]]


def run(arguments: Sequence[str], folder: Path) -> int:
    """Run pytest; returns its exit code. Its processes write their coverage into `folder`."""
    search = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "COVERAGE_FILE": str(folder / DATA), "PYTHONPATH": os.pathsep.join(search)}
    command = [sys.executable, "-m", "coverage", "run", "-m", "pytest", "-q", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


def combine(folder: Path) -> Summaries:
    """The combined coverage of all processes that wrote their data into `folder`."""
    whole = coverage.Coverage(data_file=str(folder / DATA), config_file=str(ROOT / "pyproject.toml"))
    whole.combine([str(folder)])
    report = folder / "report.json"
    whole.json_report(outfile=str(report))
    return {path: entry["summary"] for path, entry in json.loads(report.read_text())["files"].items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the coverage; returns pytest's exit code."""
    parser = argparse.ArgumentParser(prog="bench.coverage")
    parser.add_argument("--only", nargs="+", default=[], metavar="TEST")
    parser.add_argument("options", nargs="*", metavar="OPTION")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="matchcut-coverage-") as folder:
        code = run([*chosen.options, *chosen.only], Path(folder))
        summaries = combine(Path(folder))
    found = figures(summaries)
    print("The lowest:", *lowest(summaries), sep="\n")
    if code == 0 and not chosen.only:
        write("coverage", found)
    else:
        print(*(f"{figure.figure}: {figure.value:g} {figure.unit}" for figure in found), sep="\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
