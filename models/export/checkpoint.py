"""A pinned source archive, and the arrays pickled in it, read without running any code of the pickle."""

from __future__ import annotations

import hashlib
import io
import pickle
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.export import Array


def fetch(requirements: Path, folder: Path) -> Path:
    """The one archive that `requirements` pins with its digest, downloaded into `folder` where it is
    not there yet. Raises ValueError where a file there has another digest, CalledProcessError where
    pip fails."""
    pin = re.search(r"^(\S+)==(\S+) --hash=sha256:([0-9a-f]{64})$", requirements.read_text("utf-8"), re.M)
    if pin is None:
        raise ValueError(f"{requirements.name} does not pin one archive by its digest")
    name, version, expected = pin.groups()
    path = folder / f"{name.replace('-', '_')}-{version}.tar.gz"
    if not path.exists():
        only_source = ["--no-deps", "--no-binary", ":all:", "--require-hashes"]
        pip = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, *only_source, "-r", str(requirements), "-d", str(folder)], check=True)
    if (actual := hashlib.sha256(path.read_bytes()).hexdigest()) != expected:
        raise ValueError(f"{path.name} is {actual[:12]}, not {expected[:12]}")
    return path


def read_pickled_arrays(archive: Path, member: str) -> dict[str, Array]:
    """The nested dictionary of arrays pickled in one file of a .tar.gz, flattened: names joined by "/".

    Raises UnpicklingError where the pickle asks for anything but an array, KeyError without the file.
    """
    with tarfile.open(archive) as tar:
        file = tar.extractfile(member)
        if file is None:
            raise KeyError(member)
        return dict(_leaves(_ArraysOnly(io.BytesIO(file.read())).load(), ""))


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Array]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}/")
        elif isinstance(value, np.ndarray) and value.dtype.kind == "f":
            yield f"{prefix}{name}", value
        else:
            raise pickle.UnpicklingError(f"{prefix}{name} is no array of numbers")


def _blank(*_: object) -> Array:
    """An array whose shape, type and numbers follow in the pickle."""
    return np.empty(0)


class _ArraysOnly(pickle.Unpickler):
    """Refuses every name but those of an array's parts: a pickle may call whatever it names."""

    _KNOWN = {  # noqa: RUF012
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("numpy.core.multiarray", "_reconstruct"): _blank,
        ("numpy._core.multiarray", "_reconstruct"): _blank,  # the same, since numpy 2
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"the checkpoint asks for {module}.{name}") from None
