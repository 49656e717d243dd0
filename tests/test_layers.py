"""The order of the service's packages (shared.LAYERS), and that they are used through their faces."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import shared
from shared import LAYERS

ROOT = Path(__file__).resolve().parents[1]
MOST_FILES = 14
SERVICE = ("shared", "activities", "orchestrator", "infra")
OUTSIDE = ("client", "infra", "samples", "bench", "tests", "models")
KNOW_AZURE = {"shared.storage.clients", "shared.storage.store", "shared.video.source"}


def layer_of(module: str) -> int | None:
    """The place of a module or of its package in LAYERS; None for what is not the service's."""
    order = list(LAYERS)
    while module:
        if module in order:
            return order.index(module)
        module = module.rpartition(".")[0]
    return None


def sources() -> dict[str, Path]:
    """Module name -> file, of the service and nothing beside it."""
    paths = [ROOT / "function_app.py"]
    for package in ("shared", "activities", "orchestrator"):
        paths += sorted((ROOT / package).rglob("*.py"))
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in paths
    }


def imports(path: Path) -> Iterator[tuple[str, str | None]]:
    """(module, name) of each import; name is None for `import module`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


def imported_modules(path: Path, known: dict[str, Path]) -> set[str]:
    found = set()
    for module, name in imports(path):
        found.add(f"{module}.{name}" if f"{module}.{name}" in known else module)
    return found


def test_every_module_of_the_service_has_a_layer() -> None:
    assert [] == [name for name in sources() if name != "shared" and layer_of(name) is None]


def test_every_layer_is_there() -> None:
    assert [] == [name for name in LAYERS if name not in sources()]


def test_a_layer_uses_only_itself_and_those_above_it_in_the_list() -> None:
    known = sources()
    wrong = [
        f"{name} imports {other}"
        for name, path in known.items()
        for other in imported_modules(path, known)
        if (below := layer_of(other)) is not None and below > (layer_of(name) or 0)
    ]
    assert [] == wrong


def test_nothing_imports_in_a_circle() -> None:
    known = sources()
    inner = {name: path for name, path in known.items() if path.name != "__init__.py"}
    graph = {
        name: {other for other in imported_modules(path, known) if other in inner and other != name}
        for name, path in inner.items()
    }
    list(TopologicalSorter(graph).static_order())


def test_a_package_is_used_through_its_face() -> None:
    """From elsewhere: a name that the package's __init__ shows, or a module without an underscore as such."""
    wrong = []
    for path in sorted(
        path
        for top in ("shared", "activities", "orchestrator", "client", "infra", "bench")
        for path in (ROOT / top).rglob("*.py")
    ):
        home = ".".join(path.relative_to(ROOT).parts[:2])
        for module, name in imports(path):
            package = ".".join(module.split(".")[:2])
            if package not in LAYERS or package == home or module.count(".") == 0:
                continue
            private = (name or "").startswith("_")
            if module != package or private:
                wrong.append(f"{path.relative_to(ROOT)}: {module}.{name}")
    assert [] == wrong


def test_what_a_face_shows_is_there() -> None:
    for name in LAYERS:
        module = __import__(name, fromlist=["__all__"])
        for each in getattr(module, "__all__", ()):
            assert hasattr(module, each), f"{name} shows {each}"


def test_every_package_says_what_lives_there() -> None:
    packages = {name: path for name, path in sources().items() if path.name == "__init__.py"}
    assert [] == [
        name for name, path in packages.items() if not ast.get_docstring(ast.parse(path.read_text()))
    ]


def test_no_folder_of_the_service_is_full() -> None:
    folders = {path.parent for top in SERVICE for path in (ROOT / top).rglob("*.py")}
    counts = {str(folder.relative_to(ROOT)): len(list(folder.glob("*.py"))) for folder in folders}
    assert {} == {folder: count for folder, count in counts.items() if count > MOST_FILES}


def test_the_docs_show_the_layers_in_their_order() -> None:
    text = (ROOT / "docs" / "design.md").read_text()
    rows = [line.split("|")[1].strip(" `") for line in text.splitlines() if line.startswith("| `")]
    assert list(LAYERS) == [row for row in rows if row in LAYERS]
    for name, what in LAYERS.items():
        assert f"| `{name}` | {what} |" in text


def test_the_docs_draw_the_imports_between_the_layers() -> None:
    """Each arrow is an import; each import is an arrow, or follows from several."""
    known, order = sources(), list(LAYERS)
    graph = set()
    for module, path in known.items():
        for imported in imported_modules(path, known):
            own, other = layer_of(module), layer_of(imported)
            if own is not None and other is not None and own != other:
                graph.add((order[own], order[other]))
    names, arrows = drawn_layers()
    assert set(LAYERS) == names
    assert set() == arrows - graph
    assert set() == {(layer, other) for layer, other in graph if other not in reached(layer, arrows)}


def drawn_layers() -> tuple[set[str], set[tuple[str, str]]]:
    """(names, arrows between them) of the picture of the packages in docs/design.md."""
    section = (ROOT / "docs" / "design.md").read_text().split("## Packages")[1]
    picture = section.split("```mermaid")[1].split("```")[0]
    named = dict(re.findall(r'(\w+)\["([\w.]+)"\]', picture))
    arrows = re.findall(r"(\w+)(?:\[[^]]*\])? --> (\w+)", picture)
    return set(named.values()), {(named[start], named[end]) for start, end in arrows}


def reached(start: str, arrows: set[tuple[str, str]]) -> set[str]:
    found: set[str] = set()
    following = {end for begin, end in arrows if begin == start}
    while following - found:
        found |= following
        following = {end for begin, end in arrows if begin in found}
    return found


def test_only_what_talks_to_blob_storage_knows_azure() -> None:
    knowing = {
        name
        for name, path in sources().items()
        if name.startswith("shared.") and any(module.split(".")[0] == "azure" for module, _ in imports(path))
    }
    assert KNOW_AZURE == knowing


def test_the_service_needs_nothing_of_what_stands_beside_it() -> None:
    wrong = [
        f"{name} imports {module}"
        for name, path in sources().items()
        for module, _ in imports(path)
        if module.split(".")[0] in OUTSIDE
    ]
    assert [] == wrong


def test_the_core_says_what_it_is() -> None:
    assert shared.__doc__
