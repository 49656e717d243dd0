"""An activity keeps to its limits under a debugger or coverage as well."""

from __future__ import annotations

import subprocess
import sys

import pytest

from shared.settings import ROOT

TRACED = """
import sys
from shared.errors import TooCostly
from shared.steps import run_limited
from shared.settings import Settings

sys.settrace(lambda *_: None)
settings = Settings(storage="UseDevelopmentStorage=true", max_activity_cpu_s=1)
try:
    print(run_limited(settings, lambda: {work}))
except TooCostly as failure:
    print(failure)
print(run_limited(settings, lambda: "another"))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux's")
@pytest.mark.parametrize(
    ("work", "said"),
    [("'done'", "done"), ("[None for _ in iter(int, 1)]", "It took more than 1 s of CPU time.")],
)
def test_an_activity_ends_while_its_thread_is_traced(work: str, said: str) -> None:
    command = [sys.executable, "-c", TRACED.format(work=work)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert [said, "another"] == done.stdout.splitlines(), done.stderr
