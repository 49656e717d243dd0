"""The app against Microsoft's worker library; run in full where `make worker-check` was run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from infra import worker_check
from infra.worker_index import Functions

TINY = Path(__file__).parent / "apps" / "tiny_worker"
needs_worker = pytest.mark.skipif(
    not worker_check.is_set_up(), reason="no worker environment; `make worker-check` sets one up"
)


def _route(**changes: object) -> Functions:
    binding = {"name": "req", "direction": "IN", "type": "httpTrigger", "route": "jobs", "methods": ["GET"]}
    return {"jobs": [binding | changes]}


def test_equal_readings_have_no_differences() -> None:
    assert [] == worker_check.differences(_route(), _route())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"route": "job"}, "jobs.req.route: 'job' in the worker library, 'jobs' here"),
        ({"methods": ["POST"]}, "jobs.req.methods: ['POST'] in the worker library, ['GET'] here"),
        ({"authLevel": "ADMIN"}, "jobs.req.authLevel: 'ADMIN' in the worker library, None here"),
    ],
)
def test_a_changed_field_is_one_sentence(change: dict[str, object], sentence: str) -> None:
    assert [sentence] == worker_check.differences(_route(**change), _route())


def test_a_missing_function_and_a_missing_binding_are_named() -> None:
    assert ["jobs: the worker library does not have it"] == worker_check.differences({}, _route())
    assert ["jobs: only the worker library has it"] == worker_check.differences(_route(), {})
    assert 5 == len(worker_check.differences(_route(), {"jobs": []}))


def test_the_sdk_reads_every_kind_of_function_of_the_tiny_app() -> None:
    functions = worker_check.read("sdk", sys.executable, TINY)["functions"]
    triggers = {name: [b["type"] for b in bindings] for name, bindings in functions.items()}
    assert {
        "job_status": ["durableClient", "httpTrigger", "http"],
        "health": ["httpTrigger", "http"],
        "run_job": ["orchestrationTrigger"],
        "plan_job": ["activityTrigger"],
        "start_more": ["durableClient", "activityTrigger"],
        "clean": ["durableClient", "timerTrigger"],
        "tick": ["timerTrigger"],
    } == triggers
    assert "jobs/{id:regex(^[a-z0-9-]+$)}" == functions["job_status"][1]["route"]


def test_an_app_that_does_not_import_is_a_report_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "function_app.py").write_text("import a_module_that_is_not_there\n")
    report = worker_check.read("sdk", sys.executable, tmp_path)
    assert "ModuleNotFoundError: No module named 'a_module_that_is_not_there'" == report["error"]


def test_the_check_is_skipped_with_a_sentence_where_there_is_no_python_313(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(worker_check, "_candidates", lambda: iter(["/bin/false"]))
    assert 0 == worker_check.main(["--app-dir", str(TINY)])
    assert capsys.readouterr().out.startswith("worker-check skipped")


@needs_worker
def test_the_worker_library_agrees_about_the_tiny_app(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == worker_check.main(["--app-dir", str(TINY)])
    (verdict,) = capsys.readouterr().out.splitlines()
    assert verdict.startswith("worker-check: 7 functions agree")
    assert 0 == worker_check.main(["--verbose", "--app-dir", str(TINY)])
    out = capsys.readouterr().out
    names = {"health", "job_status", "plan_job", "run_job", "start_more", "clean", "tick"}
    assert names == set(json.loads(out[: out.rindex("}") + 1]))


@needs_worker
def test_the_worker_library_refuses_an_annotation_that_the_decorators_accept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = (TINY / "function_app.py").read_text().replace("task: Task", "task: dict[str, str]")
    (tmp_path / "function_app.py").write_text(app)
    assert "functions" in worker_check.read("sdk", sys.executable, tmp_path)
    assert 1 == worker_check.main(["--app-dir", str(tmp_path)])
    assert "invalid non-type annotation" in capsys.readouterr().out


@needs_worker
def test_the_worker_library_agrees_about_matchcut() -> None:
    command = [sys.executable, "-m", "infra.worker_check"]
    ran = subprocess.run(command, cwd=worker_check.ROOT, capture_output=True, text=True, check=False)
    assert 0 == ran.returncode, ran.stdout[-2000:] + ran.stderr[-2000:]
