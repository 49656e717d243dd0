"""What the image is made of, read from its Dockerfile: no container engine is at hand to build it."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

from infra.k8s.check import ROOT
from infra.k8s.render import render

TEXT = (ROOT / "infra" / "docker" / "Dockerfile").read_text()
INSTRUCTIONS = re.findall(r"^([A-Z]+) ((?:.*\\\n)*.*)$", TEXT, flags=re.MULTILINE)


def _all(name: str) -> list[str]:
    return [arguments for instruction, arguments in INSTRUCTIONS if instruction == name]


def _copied() -> list[str]:
    return [source for arguments in _all("COPY") for source in arguments.split()[:-1]]


def test_everything_that_is_copied_exists_and_is_sent_to_the_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    assert "*" in ignored
    for source in _copied():
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignored
    assert sorted(_copied()) == sorted(line[1:] for line in ignored if line.startswith("!"))


def test_what_the_app_imports_of_this_project_is_in_the_image() -> None:
    ours = {path.name for path in ROOT.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    sources = [path for path in _copied() if path.endswith(".py") or (ROOT / path).is_dir()]
    files = [file for path in sources for file in _python_files(ROOT / path)]
    imported = {name.split(".")[0] for file in files for name in _imports(file)}
    assert "shared" in imported
    assert imported & ours <= set(_copied())


def _python_files(path: Path) -> list[Path]:
    kept = [path] if path.is_file() else sorted(path.rglob("*.py"))
    return [file for file in kept if "export" not in file.relative_to(ROOT).parts]


def _imports(file: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
    return names


def test_the_image_runs_as_the_user_that_the_pods_ask_for() -> None:
    (user,) = _all("USER")
    for document in render(ROOT / "infra" / "k8s" / "base"):
        if document["kind"] == "Deployment":
            security = document["spec"]["template"]["spec"]["securityContext"]
            assert user == f"{security['runAsUser']}:{security['runAsGroup']}"


def test_the_image_listens_where_the_pods_are_asked() -> None:
    ports = {
        port["containerPort"]
        for document in render(ROOT / "infra" / "k8s" / "base")
        if document["kind"] == "Deployment"
        for port in document["spec"]["template"]["spec"]["containers"][0]["ports"]
    }
    assert {int(port) for port in _all("EXPOSE")} == ports == {8080}
    assert "ASPNETCORE_URLS=http://+:8080" in _all("ENV")[0]


def test_the_host_is_started_without_a_shell_that_would_keep_sigterm() -> None:
    (command,) = _all("CMD")
    assert ["/azure-functions-host/Microsoft.Azure.WebJobs.Script.WebHost"] == json.loads(command)


def test_only_production_packages_are_installed() -> None:
    copied = [path for line in _all("COPY") for path in line.split() if "requirements" in path]
    assert ["locks/requirements.txt", "/requirements.txt"] == copied
    assert "--require-hashes" in TEXT
    assert not re.search(r"(?i)password|secret=|accountkey|sig=", TEXT)
