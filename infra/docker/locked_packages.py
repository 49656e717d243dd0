"""Whether the app gets the locked packages in the container: the last step of the Dockerfile.

The Functions host's Python worker brings packages of its own, azure.functions and protobuf among them, and
begins with its folder first on the path. With PYTHON_ISOLATE_WORKER_DEPENDENCIES=1 it forgets what it has
loaded from there and puts the folder behind every other before it loads the app; without, its packages are
the app's. Both is done here as it does it, and then the app is loaded.

    python locked_packages.py WORKER_FOLDER LOCK      # in the app's folder

Exit status: 0, or 1 with a sentence for each package that is another than the lock's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import ModuleType

from packaging.requirements import Requirement

LOADED = {"azure-functions": "azure.functions", "protobuf": "google.protobuf"}
"""Packages that the worker brings and has loaded by then -> the module of each."""


def locked(lock: Path) -> dict[str, str]:
    """Name -> version of each pin that this Python installs."""
    pins = [Requirement(line.rstrip("\\ ")) for line in lock.read_text().splitlines() if line[:1].isalnum()]
    return {
        pin.name: "".join(part.version for part in pin.specifier)
        for pin in pins
        if pin.marker is None or pin.marker.evaluate()
    }


def isolate(folder: str) -> None:
    """Forget the modules that were loaded from the folder, and put it last on the path."""
    for name, module in list(sys.modules.items()):
        if any(place.startswith(folder) for place in _places(module)):
            del sys.modules[name]
    sys.path[:] = [*(entry for entry in sys.path if entry != folder), folder]


def _places(module: ModuleType) -> list[str]:
    return [*(getattr(module, "__path__", None) or ()), getattr(module, "__file__", None) or ""]


def differences(wanted: dict[str, str]) -> Iterator[str]:
    """A sentence for each package that the app would get in another version, or from another place."""
    for name, version in wanted.items():
        try:
            found = distribution(name)
        except PackageNotFoundError:
            yield f"{name} is not installed; the lock has {version}"
            continue
        if found.version != version:
            yield f"{name} is {found.version} in {found.locate_file('')}; the lock has {version}"
        elif name in LOADED:
            # A folder may hold a package without its metadata.
            file = import_module(LOADED[name]).__file__ or ""
            if not file.startswith(str(found.locate_file(""))):
                yield f"{name} is loaded from {file}, which is not where {version} is installed"


def main(folder: str, lock: str) -> int:
    if not Path(folder).is_dir():
        print(f"there is no worker in {folder}: look for it in the base image")
        return 1
    sys.path[0] = folder
    for module in LOADED.values():
        import_module(module)
    if os.environ.get("PYTHON_ISOLATE_WORKER_DEPENDENCIES") == "1":
        isolate(folder)
    sys.path.append(str(Path.cwd()))
    found = list(differences(locked(Path(lock))))
    print(*found, sep="\n", end="\n" if found else "")
    if not found and not import_module("function_app").app.get_functions():
        found = ["the app has no functions"]
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
