"""What `make coverage` counts, and in which processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.coverage import DATA, combine, figures, lowest, percent
from bench.coverage_of_workers import WORKER
from bench.figures import Figure
from shared.settings import ROOT
from tests.support.waiting import until

LOAD_AND_WAIT = "import shared.redact, time; print('loaded', flush=True); time.sleep(600)"


def counts(lines: int, branches: int, covered_lines: int, covered_branches: int) -> dict[str, Any]:
    return {
        "num_statements": lines,
        "num_branches": branches,
        "covered_lines": covered_lines,
        "covered_branches": covered_branches,
    }


SUMMARIES = {
    "shared/errors.py": counts(89, 0, 89, 0),
    "shared/names.py": counts(7, 4, 4, 1),
    "orchestrator/flow.py": counts(50, 50, 50, 49),
    "activities/plan_job.py": counts(0, 0, 0, 0),
}


def test_lines_and_branches_count_alike_in_the_whole_and_in_each_package() -> None:
    expected = [
        Figure("lines and branches covered", 96.5, "%", ">= 95", True),
        Figure("lines and branches covered, shared/", 94.0, "%"),
        Figure("lines and branches covered, orchestrator/", 99.0, "%"),
        Figure("lines and branches covered, activities/", 100.0, "%"),
    ]
    assert expected == figures(SUMMARIES)
    assert "  45.4 %  shared/names.py" == lowest(SUMMARIES)[0]


def test_what_a_process_of_a_test_reached_counts(tmp_path: Path) -> None:
    with measured(tmp_path, [sys.executable, "-c", "import shared.redact"]) as run:
        assert 0 == run.wait()
    assert percent(combine(tmp_path), "shared/redact.py") > 0


def test_what_a_worker_reached_before_it_was_killed_counts(tmp_path: Path) -> None:
    with measured(tmp_path, [sys.executable, "-c", LOAD_AND_WAIT, f"package{WORKER}"]) as run:
        assert run.stdout is not None
        assert b"loaded\n" == run.stdout.readline()
        wait_for_two_saves(tmp_path)
        os.killpg(run.pid, signal.SIGKILL)
    assert percent(combine(tmp_path), "shared/redact.py") > 0


def measured(folder: Path, child: list[str]) -> subprocess.Popen[bytes]:
    """A process that coverage measures, as the tests' are, and that starts `child`."""
    script = folder / "script.py"
    script.write_text(f"import subprocess\nsubprocess.run({child!r})\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment |= {"COVERAGE_FILE": str(folder / DATA), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "coverage", "run", str(script)]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, process_group=0)


def wait_for_two_saves(folder: Path) -> None:
    """The first that ends from now on may have begun before."""
    began_ns, saves = time.time_ns(), set[int]()

    def saved_twice() -> bool:
        for path in folder.glob(f"{DATA}.worker-*"):
            with suppress(FileNotFoundError):  # the next save may just take its place
                saves.add(path.stat().st_mtime_ns)
        return len([time_ns for time_ns in saves if time_ns > began_ns]) >= 2

    until(saved_twice)
