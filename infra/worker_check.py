"""Hold the app against Microsoft's own Functions worker library: `python -m infra.worker_check`.

The library (PyPI azure-functions-runtime) is what the Functions host runs on Python 3.13. Its
loader is stricter than the decorators: it refuses, for instance, an activity whose parameter is
annotated `dict[str, str]`. Both readers index the same directory, each in its own interpreter,
and must agree in functions, triggers, routes, methods, auth levels and bindings.
Exit status: 0 agree or skipped, 1 a difference or a refusal, each in one line.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infra.worker_index import LIBRARY, Functions

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv-worker"
PIN = f"{LIBRARY}==1.3.0"
PYTHON = (3, 13)


def _candidates() -> Iterator[str]:
    yield sys.executable
    if on_path := shutil.which("python3.13"):
        yield on_path
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for python in sorted((pyenv / "versions").glob("3.13*/bin/python"), reverse=True):
        yield str(python)


def find_python() -> str | None:
    """The first Python 3.13 that really starts: a pyenv shim may name a version that is switched off."""
    ask = f"import sys; print(sys.executable if sys.version_info[:2] == {PYTHON} else '')"
    for candidate in _candidates():
        answer = subprocess.run([candidate, "-c", ask], capture_output=True, text=True, check=False)
        if answer.returncode == 0 and (path := answer.stdout.strip()):
            return path
    return None


def _stamp(python: str) -> str:
    return hashlib.sha256(
        "\n".join((python, PIN, (ROOT / "requirements.txt").read_text())).encode()
    ).hexdigest()


def is_set_up(venv: Path = VENV) -> bool:
    """Whether the environment is there and made from today's requirements."""
    python, stamp = find_python(), venv / "matchcut.stamp"
    return python is not None and stamp.exists() and stamp.read_text() == _stamp(python)


def set_up(python: str, venv: Path = VENV) -> Path:
    """Make the environment, unless it is there; returns its interpreter.

    The stamp is written last, so an install that was cut off is made again.
    """
    interpreter = venv / "bin" / "python"
    if not is_set_up(venv):
        subprocess.run([python, "-m", "venv", "--clear", str(venv)], check=True)
        install = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, PIN, "-r", str(ROOT / "requirements.txt")], check=True)
        (venv / "matchcut.stamp").write_text(_stamp(python))
    return interpreter


def read(reader: str, interpreter: Path | str, app_dir: Path) -> dict[str, Any]:
    """Run infra.worker_index in `interpreter`; its report."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.json"
        env = {"AzureWebJobsStorage": "UseDevelopmentStorage=true"} | os.environ
        command = [str(interpreter), "-m", "infra.worker_index", reader, str(app_dir), str(out)]
        ran = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
        if ran.returncode != 0:
            return {"reader": reader, "error": ran.stderr.strip().splitlines()[-1]}
        report: dict[str, Any] = json.loads(out.read_text())
        return report


def differences(worker: Functions, sdk: Functions) -> list[str]:
    """One sentence for each way in which the two readings differ."""
    found = [f"{name}: only the worker library has it" for name in sorted(worker.keys() - sdk.keys())]
    found += [f"{name}: the worker library does not have it" for name in sorted(sdk.keys() - worker.keys())]
    for name in sorted(worker.keys() & sdk.keys()):
        mine, theirs = ({b["name"]: b for b in functions[name]} for functions in (sdk, worker))
        for binding in sorted(mine.keys() | theirs.keys()):
            ours, its = mine.get(binding, {}), theirs.get(binding, {})
            found += [
                f"{name}.{binding}.{key}: {its.get(key)!r} in the worker library, {ours.get(key)!r} here"
                for key in sorted(ours.keys() | its.keys())
                if ours.get(key) != its.get(key)
            ]
    return found


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.worker_check", description=__doc__)
    parser.add_argument("--app-dir", type=Path, default=ROOT, help="folder of function_app.py")
    parser.add_argument("--verbose", action="store_true", help="print what the worker library read, as JSON")
    chosen = parser.parse_args(arguments)
    app_dir: Path = chosen.app_dir.resolve()
    python = find_python()
    if python is None:
        print("worker-check skipped: no Python 3.13 found, which the worker library needs.")
        return 0
    try:
        worker = read("worker", set_up(python), app_dir)
    except subprocess.CalledProcessError as failed:
        print(f"worker-check: {VENV.name} could not be set up: {failed}")
        return 1
    sdk = read("sdk", sys.executable, app_dir)
    for report in (worker, sdk):
        if "error" in report:
            print(f"{report['reader']} refuses the app: {report['error']}")
            return 1
    if chosen.verbose:
        print(json.dumps(worker["functions"], indent=2))
    found = differences(worker["functions"], sdk["functions"])
    print(*found, sep="\n", end="\n" if found else "")
    verdict = f"{len(found)} differences" if found else f"{len(worker['functions'])} functions agree"
    print(f"worker-check: {verdict} ({worker['reader']}; {sdk['reader']})")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
