"""What is installed is what was chosen: every pin, and every package that comes along, by hash."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SETS = sorted(path.name for path in (ROOT / "locks").glob("requirements*.txt"))
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)", re.M)


def pins(path: Path) -> set[tuple[str, str]]:
    """(name, version) of each pin, those of the files that it names too."""
    text = path.read_text()
    found = {(re.sub(r"[._-]+", "-", name).lower(), version) for name, version in _PIN.findall(text)}
    for other in re.findall(r"^-r (\S+)$", text, re.M):
        found |= pins(path.parent / other)
    return found


def test_every_set_that_is_installed_has_a_lock() -> None:
    assert [
        "requirements-dev.txt",
        "requirements-local.txt",
        "requirements-ocr.txt",
        "requirements.txt",
    ] == SETS


@pytest.mark.parametrize("name", SETS)
def test_a_lock_holds_what_its_set_asks_for(name: str) -> None:
    wanted, locked = pins(ROOT / name), pins(ROOT / "locks" / name)
    assert len(wanted) > 5
    assert set() == wanted - locked, "make lock"


@pytest.mark.parametrize("name", SETS)
def test_every_package_of_a_lock_has_its_hashes(name: str) -> None:
    packages = re.split(r"^(?=\S)", (ROOT / "locks" / name).read_text(), flags=re.M)[1:]
    without = [package for package in packages if "--hash=sha256:" not in package]
    assert [] == without
    assert "://" not in "".join(packages)
