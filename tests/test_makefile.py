"""What a user gives make reaches the commands as it was typed, and make says what it can do."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
STUB = "#!/bin/sh\nfor each; do printf '%s\\n' \"$each\"; done\n"
NASTY = "/a b/$HOME `touch made` $(touch made) $(shell touch made) 'q' #x\"; touch made; \""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with the Makefile, set up, in which python only prints its arguments."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / "locks").mkdir()
    for name in ("locks/requirements-local.txt", ".venv/bin/.local"):
        (tmp_path / name).touch()
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text(STUB)
    python.chmod(0o755)
    return tmp_path


def made(checkout: Path, *arguments: str, **environment: str) -> list[str]:
    """The arguments that the stub was called with, after `-m MODULE COMMAND`."""
    lines = output(checkout, *arguments, **environment).splitlines()
    assert not (checkout / "made").exists()
    return lines[3:]


def output(folder: Path, *arguments: str, **environment: str) -> str:
    """What `make ARGUMENTS` prints in that folder. Raises CalledProcessError where it fails."""
    done = subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_nothing_that_is_given_to_the_demo_is_read_by_make_or_the_shell(checkout: Path) -> None:
    expected = [f"--video={NASTY}", f"--out={NASTY}", "--segment-s=20", "--workers="]
    assert expected == made(checkout, "demo", f"VIDEO={NASTY}", f"OUT={NASTY}", "SEGMENT_S=20")
    assert f"--video={NASTY}" in made(checkout, "demo", VIDEO=NASTY)


def test_the_host_gets_the_options_that_were_given_and_no_others(checkout: Path) -> None:
    assert [] == made(checkout, "host", "PORT=")
    expected = ["--port=7072", "--azurite-port=1; touch made", f"--data={NASTY}"]
    assert expected == made(checkout, "host", "PORT=7072", "AZURITE_PORT=1; touch made", f"DATA={NASTY}")


def test_bare_make_prints_the_help_and_installs_nothing(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    bare, helped = (output(tmp_path, *arguments, PYTHON="false") for arguments in ((), ("help",)))
    assert helped == bare
    assert "make demo" in bare
    assert ["Makefile"] == [path.name for path in tmp_path.iterdir()]


def test_every_target_has_one_line_of_help_and_the_lines_are_aligned(checkout: Path) -> None:
    rules = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    phony = re.findall(r"^\.PHONY:(.*)$", rules, re.M)
    told = re.findall(r"^(  make (\S+) +)(?=\S)", output(checkout, "help"), re.M)
    assert sorted(" ".join(phony).split()) == sorted(name for _, name in told)
    assert 1 == len({len(before) for before, _ in told})


def test_lint_and_the_hooks_of_a_commit_run_the_same_tools_from_the_checkout(checkout: Path) -> None:
    tool = re.compile(r"\.venv/bin/([a-z-]+(?: [a-z]+)?)")
    repositories = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = [hook for repository in repositories for hook in repository["hooks"]]
    linted = tool.findall(output(checkout, "-n", "-o", ".venv/bin/.dev", "lint"))
    assert sorted(linted) == sorted(name for hook in hooks for name in tool.findall(hook["entry"]))
    assert {"local"} == {repository["repo"] for repository in repositories}
    assert {"system"} == {hook["language"] for hook in hooks}
    assert len(linted) == len(hooks) > 5
