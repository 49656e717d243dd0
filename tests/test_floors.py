"""The floors of docs/design.md: a file imports its own floor and those below, and never in a circle."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

FLOORS = {
    0: ("shared.errors", "shared.names", "shared.redact"),
    1: ("shared.contracts", "shared.settings"),
    2: (
        "shared.addresses", "shared.board", "shared.cost", "shared.deadlines", "shared.drift", "shared.edits",
        "shared.edl", "shared.inference", "shared.limits", "shared.plan", "shared.profiles",
        "shared.proposals", "shared.ranges", "shared.scoreboard", "shared.signals", "shared.spotting",
        "shared.timecode", "shared.timelines", "shared.tracks",
    ),
    3: (
        "shared.azure", "shared.begun", "shared.catalogue", "shared.hearing", "shared.index",
        "shared.ledger", "shared.media", "shared.outbound", "shared.packets", "shared.pictures",
        "shared.records", "shared.scorer", "shared.sound", "shared.sources", "shared.storage",
        "shared.sweep", "shared.webhooks",
    ),
    4: (
        "shared.batches", "shared.callbacks", "shared.cut", "shared.delivery", "shared.jobs",
        "shared.listing", "shared.provisional", "shared.quotas", "shared.retention", "shared.scoring",
        "shared.status", "shared.steps",
    ),
    5: ("activities", "orchestrator"),
    6: ("function_app",),
}  # fmt: skip
PLACE = {name: floor for floor, modules in FLOORS.items() for name in modules}
OUTSIDE = ("client", "infra", "samples", "bench", "tests", "models")


def sources() -> dict[str, Path]:
    paths = [ROOT / "function_app.py"]
    for package in ("shared", "activities", "orchestrator"):
        paths += sorted((ROOT / package).rglob("*.py"))
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in paths
    }


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def floor_of(module: str) -> int | None:
    while module:
        if module in PLACE:
            return PLACE[module]
        module = module.rpartition(".")[0]
    return None


def test_every_module_of_the_service_has_a_floor() -> None:
    assert [] == [name for name in sources() if name != "shared" and floor_of(name) is None]


def test_nothing_imports_a_floor_above_its_own() -> None:
    wrong = [
        f"{name} imports {other}"
        for name, path in sources().items()
        if name != "shared"
        for other in imports(path)
        if (above := floor_of(other)) is not None and above > (floor_of(name) or 0)
    ]
    assert wrong == []


def test_nothing_imports_in_a_circle() -> None:
    names = sources()
    graph = {
        name: {other for other in imports(path) if other in names and other != name}
        for name, path in names.items()
    }
    list(TopologicalSorter(graph).static_order())


def test_only_what_stores_knows_azure_and_the_core_knows_no_bindings() -> None:
    azure = {
        name for name, path in sources().items() if any(i.split(".")[0] == "azure" for i in imports(path))
    }
    expected = {"shared.azure", "shared.sources", "shared.storage"}
    assert {name for name in azure if name.startswith("shared")} == expected


def test_the_service_needs_nothing_of_what_stands_beside_it() -> None:
    wrong = [
        f"{name} imports {other}"
        for name, path in sources().items()
        for other in imports(path)
        if other.split(".")[0] in OUTSIDE
    ]
    assert wrong == []
