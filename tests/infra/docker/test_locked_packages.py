"""The build's check of the packages, against a folder that shadows them as the Functions worker's does."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from infra.docker import locked_packages
from infra.k8s.check import ROOT
from infra.k8s.image import image_environment

DOCKERFILE = (ROOT / "infra" / "docker" / "Dockerfile").read_text()
ISOLATION = "PYTHON_ISOLATE_WORKER_DEPENDENCIES"
IMAGE = {name: value for name, value in image_environment(DOCKERFILE).items() if name == ISOLATION}
LOCK = ROOT / "locks" / "requirements.txt"


@pytest.fixture
def worker(tmp_path: Path) -> Path:
    """A folder like the worker's: packages of older versions, as `pip install --target` leaves them."""
    for name, old, module in (
        ("azure_functions", "1.22.0b4", "azure/functions"),
        ("protobuf", "4.25.9", "google/protobuf"),
    ):
        for folder in (module, f"{name}-{old}.dist-info"):
            (tmp_path / folder).mkdir(parents=True)
        (tmp_path / module / "__init__.py").write_text(f"__version__ = {old!r}\n")
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {old}\n"
        (tmp_path / f"{name}-{old}.dist-info" / "METADATA").write_text(metadata)
    return tmp_path


def _check(worker: Path, environment: dict[str, str], lock: Path = LOCK) -> tuple[int, str]:
    """Exit status and output, run as the Dockerfile runs it."""
    kept = {name: value for name, value in os.environ.items() if name != ISOLATION}
    ran = subprocess.run(
        [sys.executable, str(locked_packages.__file__), str(worker), str(lock)],
        cwd=ROOT,
        env=kept | {"AzureWebJobsStorage": "UseDevelopmentStorage=true"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return ran.returncode, ran.stdout + ran.stderr


def test_with_the_setting_of_the_image_the_app_gets_the_locked_packages(worker: Path) -> None:
    assert (0, "") == _check(worker, IMAGE)


def test_without_it_the_worker_shadows_them_and_the_build_ends(worker: Path) -> None:
    status, said = _check(worker, {})
    assert 1 == status
    assert f"azure-functions is 1.22.0b4 in {worker}; the lock has {version('azure-functions')}" in said
    assert f"protobuf is 4.25.9 in {worker}; the lock has {version('protobuf')}" in said


def test_a_shadow_without_metadata_is_found_by_where_it_lies(worker: Path) -> None:
    for metadata in worker.glob("*.dist-info/METADATA"):
        metadata.unlink()
        metadata.parent.rmdir()
    status, said = _check(worker, {})
    assert 1 == status
    assert f"protobuf is loaded from {worker}/google/protobuf/__init__.py" in said


def test_a_package_that_is_not_the_locks_ends_the_build(worker: Path, tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text(
        "numpy==0.0.1 \\\n    --hash=sha256:0\nnever-made==1.0\nleft==1.0 ; python_version < '3'\n"
    )
    status, said = _check(worker, IMAGE, lock)
    assert 1 == status
    assert "; the lock has 0.0.1" in said
    assert "never-made is not installed" in said
    assert "left" not in said


def test_a_base_image_without_the_workers_folder_ends_the_build(tmp_path: Path) -> None:
    status, said = _check(tmp_path / "none", IMAGE)
    assert (1, f"there is no worker in {tmp_path / 'none'}: look for it in the base image\n") == (
        status,
        said,
    )


def test_the_image_isolates_and_its_build_runs_the_check_on_the_workers_folder() -> None:
    assert {ISOLATION: "1"} == IMAGE
    python = DOCKERFILE.partition("python:4-python")[2].split()[0]
    folder = f"/azure-functions-host/workers/python/{python}/LINUX/X64"
    assert f"python /locked_packages.py {folder} /requirements.txt\n" in DOCKERFILE
