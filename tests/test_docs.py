"""What the pages and docstrings name is there: files, links, sections, settings, targets of make."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from pkgutil import resolve_name

import pytest

from shared.settings import ROOT, Settings

FOLDERS = "activities|bench|client|docs|infra|locks|models|orchestrator|samples|shared|tests"
NAMED = re.compile(rf"(?<![\w/.:{{}}-])(?:{FOLDERS})/[\w./*<>{{}}-]*")
MADE = {"bench/results/coverage.json"}
"""Files that a target of make writes and git ignores."""
DOTTED = re.compile(r"(?<![\w./])shared(?:\.[A-Za-z_]\w*)+(?![\w/])")
LINK = re.compile(r"\]\(([^)\s]+)\)")
SECTION = re.compile(r'\(?([\w./-]+\.md)\)?,\s+"([^"]+)"')


def texts(*endings: str) -> Iterator[Path]:
    """Files of the checkout, less what was installed or made in it."""
    for top in sorted(ROOT.iterdir()):
        if top.name == "out" or top.name.startswith((".venv", ".tools", ".run", ".git")):
            continue
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and path.name.endswith(endings):
                yield path


PAGES = [str(page.relative_to(ROOT)) for page in texts(".md")]


def headings(page: Path) -> list[str]:
    return re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)


def anchor(heading: str) -> str:
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("ending", [".md", ".py", ".yaml", "Makefile", "Dockerfile"])
def test_every_path_that_is_named_is_there(ending: str) -> None:
    missing = []
    for page in texts(ending):
        for name in NAMED.findall(page.read_text()):
            path = name.rstrip("./")
            if not re.search(r"[*<>{}]", path) and path not in MADE and not is_there(path):
                missing.append(f"{page.relative_to(ROOT)}: {name}")
    assert [] == missing


def test_every_file_of_tests_that_is_named_is_there() -> None:
    there = {path.name for path in texts(".py")}
    for page in PAGES:
        assert set() == set(re.findall(r"\btest_\w+\.py\b", (ROOT / page).read_text())) - there, page


def is_there(path: str) -> bool:
    """A file, a folder, a module without its ending, or how the names of several begin."""
    there = ROOT / path
    return there.exists() or any(there.parent.glob(f"{there.name}*"))


@pytest.mark.parametrize("ending", [".md", ".py"])
def test_every_dotted_name_of_the_core_is_there(ending: str) -> None:
    missing = []
    for page in texts(ending):
        for name in DOTTED.findall(page.read_text()):
            try:
                resolve_name(name)
            except (ImportError, AttributeError):
                missing.append(f"{page.relative_to(ROOT)}: {name}")
    assert [] == missing


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(page: str) -> None:
    for target in LINK.findall((ROOT / page).read_text()):
        if target.startswith("http"):
            continue
        name, _, section = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), target
        if section:
            assert section in map(anchor, headings(path)), target


@pytest.mark.parametrize("ending", [".md", ".py"])
def test_a_section_that_is_named_stands_on_its_page(ending: str) -> None:
    missing = []
    for page in texts(ending):
        for name, section in SECTION.findall(page.read_text()):
            path = next((base / name for base in (page.parent, ROOT) if (base / name).exists()), None)
            if path is None or " ".join(section.split()) not in headings(path):
                missing.append(f"{page.relative_to(ROOT)}: {name}, {section!r}")
    assert [] == missing


def test_every_setting_that_is_named_is_read_somewhere() -> None:
    read = {f"MATCHCUT_{field.upper()}" for field in Settings.model_fields}
    read |= {name for page in texts(".py") for name in re.findall(r"\bMATCHCUT_[A-Z_]+\b", page.read_text())}
    for page in PAGES:
        assert set() == set(re.findall(r"\bMATCHCUT_[A-Z_]+\b", (ROOT / page).read_text())) - read, page


def test_every_target_of_make_that_is_named_is_one() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        assert set() == set(re.findall(r"[`\n]make ([a-z0-9-]+)", (ROOT / page).read_text())) - targets, page
