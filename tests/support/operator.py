"""Who ships models: a blob container over Azurite, and services that look into it."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from azure.storage.blob import BlobServiceClient

from infra.local.azurite import Azurite
from models.export import Build, constant, parse, provenance, write
from shared.contracts import ModelManifest
from shared.models import Catalogue
from shared.models import catalogue as module
from shared.settings import Settings


def make(folder: Path, name: str = "level", factor: float = 1.0, version: str = "1.0.0") -> ModelManifest:
    """An audio model at 8 kHz: mean amplitude of a tenth of a second, times a factor."""
    graph = parse(
        """
        level (float[N, 800] sound) => (float[N, 1] mean) {
          size = Abs (sound)
          average = ReduceMean <axes=[1], keepdims=1> (size)
          mean = Mul (average, factor)
        }""",
        {"factor": constant(factor)},
    )
    manifest = {
        "name": name, "version": version, "kind": "audio", "rate": "8000/1", "window": 800, "stride": 800,
        "anchor": 400, "batch": 4, "provenance": provenance("made up for a test"),
        "input": {"name": "sound", "layout": "NS"}, "output": {"name": "mean", "labels": ["mean"]},
    }  # fmt: skip
    sample = np.random.default_rng(2).normal(0, 0.1, (4, 800)).round(3).astype(np.float32)
    return write(Build(graph, manifest, sample), folder)


class Operator:
    """A container to upload to, and services that look into it."""

    def __init__(self, azurite: Azurite, tmp_path: Path) -> None:
        self.storage = azurite.connection_string
        self.name = f"models-{uuid.uuid4().hex[:8]}"
        self.container = BlobServiceClient.from_connection_string(self.storage).get_container_client(
            self.name
        )
        self.container.create_container()
        self.tmp_path = tmp_path
        (tmp_path / "built-in").mkdir()

    def settings(self, **changes: Any) -> Settings:
        here = {"models_dir": self.tmp_path / "built-in", "models_cache": self.tmp_path / "cache"}
        return Settings(**({"storage": self.storage, "models_container": self.name} | here | changes))

    def catalogue(self, **changes: Any) -> Catalogue:
        """As another process has it: nothing in memory."""
        Catalogue.of(self.settings(**changes))  # it is made as the service makes it
        module._catalogue.cache_clear()
        return Catalogue.of(self.settings(**changes))

    def put(self, path: str, data: bytes) -> None:
        self.container.upload_blob(path, data, overwrite=True)

    def ship(self, folder: Path) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{folder.name}/{path.relative_to(folder).as_posix()}", path.read_bytes())

    def make(self, name: str = "level", factor: float = 1.0, version: str = "1.0.0") -> ModelManifest:
        there = self.tmp_path / uuid.uuid4().hex
        manifest = make(there, name, factor, version)
        self.ship(there / name)
        return manifest

    def edit(self, name: str, /, **changes: Any) -> None:
        path = f"{name}/model.json"
        told = json.loads(self.container.download_blob(path).readall())
        self.put(path, json.dumps(told | changes).encode())


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
