"""Models and profiles from a blob container, over Azurite."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import resource
import shutil
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from azure.storage.blob import BlobServiceClient

from infra.local.azurite import Azurite
from models.export import Build, constant, parse, provenance, write
from shared import catalogue as module
from shared.catalogue import Catalogue
from shared.contracts import ModelManifest, ModelRef
from shared.drift import measure, reference_json
from shared.errors import ModelRefused, StorageUnavailable, UnknownModel
from shared.inference import load_model
from shared.settings import ROOT, Settings
from shared.storage import BlobEntry
from shared.tracks import Track
from tests.models.test_drop_in import profile as write_profile

pytestmark = pytest.mark.azurite


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


@pytest.fixture
def operator(azurite: Azurite, tmp_path: Path) -> Operator:
    return Operator(azurite, tmp_path)


def watch_reads(found: Catalogue, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the blobs that it reads from now on."""
    read: list[str] = []
    fetch = found._read

    def watched(entry: BlobEntry) -> bytes:
        read.append(entry.path)
        return fetch(entry)

    monkeypatch.setattr(found, "_read", watched)
    return read


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_an_uploaded_folder_is_a_model(operator: Operator) -> None:
    manifest = operator.make()
    operator.put("level/CARD.md", b"# level")
    operator.put("level/weights.bin", b"not looked at")
    found = operator.catalogue()
    assert {"level": manifest} == found.manifests()
    assert {} == found.faults()
    folder = found.folder(manifest.ref)
    assert ["model.json", "model.onnx", "sample/golden.npz"] == files(folder)
    assert manifest.ref == load_model(folder).manifest.ref
    assert folder.parent.parent == operator.settings().models_cache
    assert [folder.parent] == list(operator.settings().models_cache.iterdir())


def test_without_a_container_there_is_what_is_built_in(operator: Operator) -> None:
    found = operator.catalogue(models_container=None, models_dir=ROOT / "models")
    assert found.manifests()["motion"].name == "motion"
    assert "soccer" in found.profiles()
    assert ROOT / "models" / "motion" == found.folder(found.manifests()["motion"].ref)
    assert not operator.settings().models_cache.exists()


def test_the_container_comes_before_what_is_built_in_and_gives_it_back(operator: Operator) -> None:
    built_in = make(operator.tmp_path / "built-in", factor=1)
    shipped = operator.make(factor=2, version="1.1.0")
    found = operator.catalogue()
    assert {"level": shipped} == found.manifests()
    # Jobs of both plans go on side by side.
    assert operator.tmp_path / "built-in" / "level" == found.folder(built_in.ref)
    assert "1.1.0" == load_model(found.folder(shipped.ref)).manifest.version
    operator.container.delete_blob("level/model.json")
    assert {"level": built_in} == found.manifests()


def test_what_was_fetched_is_not_fetched_again(operator: Operator) -> None:
    manifest = operator.make()
    folder = operator.catalogue().folder(manifest.ref)
    operator.container.delete_container()
    assert folder == operator.catalogue().folder(manifest.ref)


def test_a_replaced_model_has_a_new_folder_and_the_old_one_still_serves(operator: Operator) -> None:
    old = operator.make(factor=1)
    found = operator.catalogue()
    before = found.folder(old.ref)
    new = operator.make(factor=2)
    assert {"level": new} == found.manifests()
    after = found.folder(new.ref)
    assert before != after
    assert before == found.folder(old.ref)
    sound = np.ones((1, 800), np.float32)
    assert [1.0, 2.0] == [float(load_model(place).score(sound)[0, 0]) for place in (before, after)]
    # Another worker, which never had the old one, says so.
    with pytest.raises(ModelRefused, match=r"planned as 1\.0\.0 .* was replaced by 1\.0\.0"):
        operator.catalogue(models_cache=operator.tmp_path / "elsewhere").folder(old.ref)


def test_another_version_of_the_same_graph_is_another_folder(operator: Operator) -> None:
    old = operator.make(version="1.0.0")
    found = operator.catalogue()
    before = found.folder(old.ref)
    new = operator.make(version="1.0.1")
    assert before != found.folder(new.ref)
    assert ["1.0.0", "1.0.1"] == [load_model(found.folder(m.ref)).manifest.version for m in (old, new)]


def test_a_model_that_was_taken_away_is_refused(operator: Operator) -> None:
    manifest = operator.make()
    operator.container.delete_blob("level/model.json")
    with pytest.raises(ModelRefused, match="neither built in nor in the container"):
        operator.catalogue().folder(manifest.ref)


def test_a_digest_that_does_not_fit_is_refused_and_leaves_nothing(operator: Operator) -> None:
    manifest = operator.make()
    operator.put("level/model.onnx", b"another graph")
    found = operator.catalogue()
    there = hashlib.sha256(b"another graph").hexdigest()[:12]
    for _ in range(2):
        with pytest.raises(ModelRefused, match=f"is {there}, not {manifest.digest[:12]}"):
            found.folder(manifest.ref)
    assert [] == list(operator.settings().models_cache.iterdir())


def test_a_golden_sample_that_is_off_is_refused_until_it_is_corrected(operator: Operator) -> None:
    manifest = operator.make()
    right = operator.container.download_blob("level/sample/golden.npz").readall()
    wrong = operator.tmp_path / "wrong.npz"
    with np.load(operator.tmp_path / _one(operator.tmp_path, "golden.npz")) as golden:
        np.savez(wrong, input=golden["input"], expected=golden["expected"] + 1)
    operator.put("level/sample/golden.npz", wrong.read_bytes())
    found = operator.catalogue()
    with pytest.raises(ModelRefused, match="golden sample is off by 1"):
        found.folder(manifest.ref)
    assert [] == list(operator.settings().models_cache.iterdir())
    operator.put("level/sample/golden.npz", right)
    assert manifest.ref == load_model(found.folder(manifest.ref)).manifest.ref


def _one(folder: Path, name: str) -> Path:
    (path,) = folder.rglob(name)
    return path


def test_a_refused_model_is_not_fetched_again_for_every_segment(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = operator.make()
    operator.put("level/model.onnx", b"another graph")
    found = operator.catalogue()
    read = watch_reads(found, monkeypatch)
    for _ in range(3):
        with pytest.raises(ModelRefused, match="in the container is"):
            found.folder(manifest.ref)
    assert 1 == read.count("level/model.onnx")


def test_a_damaged_copy_is_fetched_again(operator: Operator) -> None:
    manifest = operator.make()
    folder = operator.catalogue().folder(manifest.ref)
    for name in ("model.onnx", "model.json"):
        load_model.__globals__["_load"].cache_clear()
        (folder / name).write_bytes(b"")
        assert folder == operator.catalogue().folder(manifest.ref)
        assert (folder / name).stat().st_size > 0


def _fetch(settings: Settings, ref: ModelRef, together: Barrier, answers: Any) -> None:
    found = Catalogue.of(settings)
    found.manifests()
    together.wait()
    try:
        answers.put(str(load_model(found.folder(ref)).manifest.ref == ref))
    except ModelRefused as refused:
        answers.put(refused.message)


def test_processes_that_fetch_at_once_share_one_folder(operator: Operator) -> None:
    context = multiprocessing.get_context("spawn")
    manifest = operator.make()
    together, answers = context.Barrier(3), context.Queue()
    arguments = (operator.settings(), manifest.ref, together, answers)
    processes = [context.Process(target=_fetch, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    assert ["True"] * 3 == [answers.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    (kept,) = operator.settings().models_cache.iterdir()
    assert ["level/model.json", "level/model.onnx", "level/sample/golden.npz"] == files(kept)


def test_what_a_killed_process_has_left_goes(operator: Operator) -> None:
    manifest = operator.make()
    left, busy = (operator.settings().models_cache / name for name in (".fetch-old", ".fetch-now"))
    for folder in (left, busy):
        (folder / "level").mkdir(parents=True)
    os.utime(left, (0, 0))
    operator.catalogue().folder(manifest.ref)
    assert [False, True] == [folder.exists() for folder in (left, busy)]


# ---------------------------------------------------------------- what is broken harms nobody else


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda o: o.put("bad/model.json", b"{"), "model.json: "),
        (lambda o: o.put("bad/model.json", b"\xff\xfe" * 9), "model.json: "),
        (lambda o: o.put("bad/model.json", b" " * (2**20 + 1)), "larger than 1048576 bytes"),
        (lambda o: o.edit("bad", window=0), "window: Input should be greater"),
        (lambda o: o.edit("bad", name="level"), "lies in a folder named bad"),
        (lambda o: o.edit("bad", golden={"file": "../level/sample/golden.npz"}), "is not sample/<file>"),
        (lambda o: o.edit("bad", golden={"file": "sample/../model.onnx"}), "is not sample/<file>"),
        (lambda o: o.edit("bad", golden={"file": "/etc/passwd"}), "is not sample/<file>"),
        (lambda o: o.edit("bad", reference="sample\\r.json"), "is not sample/<file>"),
        (lambda o: o.edit("bad", reference="sample/none.json"), "sample/none.json is missing"),
        (lambda o: o.container.delete_blob("bad/model.onnx"), "model.onnx is missing"),
        (lambda o: o.container.delete_blob("bad/sample/golden.npz"), "golden.npz is missing"),
    ],
)
def test_a_broken_model_is_left_out_and_told(
    operator: Operator, spoil: Callable[[Operator], None], says: str
) -> None:
    good = operator.make("level")
    operator.make("bad")
    spoil(operator)
    found = operator.catalogue()
    assert {"level": good} == found.manifests()
    assert ["bad"] == list(found.faults())
    assert says in found.faults()["bad"]
    assert manifest_of(found.folder(good.ref)) == good


def manifest_of(folder: Path) -> ModelManifest:
    return ModelManifest.model_validate_json((folder / "model.json").read_bytes())


def test_a_model_of_too_many_bytes_is_left_out(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = operator.make()
    monkeypatch.setattr(module, "MAX_MODEL_BYTES", 1000)
    assert {} == operator.catalogue().manifests()
    assert "the limit is 1000" in operator.catalogue().faults()["level"]
    with pytest.raises(ModelRefused, match="neither built in"):
        operator.catalogue().folder(manifest.ref)


def test_folders_with_strange_names_are_no_models(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator.make()
    strange = ("..", "", ".", "a b", "Level", "x" * 65, "level\n", "a\\..\\b", "C:")
    paths = [f"{folder}/model.json" for folder in strange]
    paths += ["level/../../x", "/etc/passwd", "profiles/../x.json"]
    listed = [BlobEntry(path, "1", 2, datetime.now(UTC)) for path in paths]
    found = operator.catalogue()
    assert found._store is not None
    listed += found._store.entries()
    monkeypatch.setattr(found._store, "entries", lambda: iter(listed))
    assert ["level"] == list(found.manifests())
    assert {ascii(name)[:80] for name in strange} == found.faults().keys()


def test_a_broken_built_in_model_is_left_out_and_told_too(operator: Operator) -> None:
    make(operator.tmp_path / "built-in", "bad")
    (operator.tmp_path / "built-in" / "bad" / "model.json").write_text("{}")
    good = operator.make()
    found = operator.catalogue()
    assert {"level": good} == found.manifests()
    assert ["bad"] == list(found.faults())


def test_a_container_that_is_not_there_is_told_and_harms_nothing(operator: Operator) -> None:
    built_in = make(operator.tmp_path / "built-in")
    found = operator.catalogue(models_container="nowhere")
    assert {"level": built_in} == found.manifests()
    assert {"container": "the container nowhere does not exist"} == found.faults()


def test_storage_that_does_not_answer_is_an_error_that_may_be_tried_again(operator: Operator) -> None:
    gone = "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:9/a;"
    settings = operator.settings().model_copy(update={"storage": gone})
    with pytest.raises(StorageUnavailable):
        Catalogue.of(settings, patient=False).manifests()


def test_a_cache_that_cannot_be_written_is_told(operator: Operator) -> None:
    manifest = operator.make()
    (operator.tmp_path / "file").write_text("")
    with pytest.raises(ModelRefused, match=r"cannot be kept in .*file"):
        operator.catalogue(models_cache=operator.tmp_path / "file").folder(manifest.ref)


def test_the_models_container_is_not_the_services_own(operator: Operator) -> None:
    with pytest.raises(ValueError, match="must not be the service's own"):
        operator.settings(container=operator.name)


# ---------------------------------------------------------------- cost, profiles, references


def test_a_second_look_reads_only_what_is_new(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    operator.make("one")
    found = operator.catalogue()
    read = watch_reads(found, monkeypatch)
    found.manifests()
    found.manifests()
    assert ["one/model.json"] == read
    operator.make("two")
    assert ["one", "two"] == list(found.manifests())
    assert ["one/model.json", "two/model.json"] == read


def test_profiles_come_from_the_container_as_well(operator: Operator) -> None:
    folder = operator.tmp_path / "made"
    folder.mkdir()
    write_profile(folder)
    shutil.copytree(ROOT / "models" / "profiles", operator.tmp_path / "built-in" / "profiles")
    good = (folder / "profiles" / "novelty.json").read_bytes()
    operator.put("profiles/novelty.json", good)
    operator.put("profiles/excitement.json", b"{}")
    operator.put("profiles/broken.json", good)
    operator.put("profiles/notes.txt", b"not looked at")
    operator.put("profiles/a/b.json", b"{}")
    found = operator.catalogue()
    assert {"novelty", "soccer", "excitement"} <= set(found.profiles())
    assert "broken" not in found.profiles()
    assert "novelty" == found.profile("novelty").name
    assert "excitement" == found.profile("excitement").name  # the built-in one
    with pytest.raises(ModelRefused, match="the file calls itself 'novelty'"):
        found.profile("broken")
    with pytest.raises(UnknownModel, match=r"no profile 'nothing'; there are: .*novelty"):
        found.profile("nothing")
    assert {"profiles/broken.json", "profiles/excitement.json"} == set(found.faults())


def test_the_reference_is_read_without_fetching_the_model(operator: Operator) -> None:
    manifest = operator.make()
    scores = np.linspace(0, 1, 50, dtype=np.float32)[:, None]
    grid = load_model(operator.tmp_path / _one(operator.tmp_path, "model.json").parent).grid(manifest.rate)  # type: ignore[arg-type]
    reference = measure(Track(grid, ("mean",), 0, scores), "a ramp")
    operator.put("level/sample/reference.json", reference_json(reference).encode())
    operator.edit("level", reference="sample/reference.json")
    found = operator.catalogue()
    assert manifest.ref == found.manifests()["level"].ref  # it says nothing about scoring
    assert reference == found.reference(manifest.ref)
    assert not operator.settings().models_cache.exists()
    operator.put("level/sample/reference.json", b"{}")
    assert found.reference(manifest.ref) is None


def test_a_full_disk_is_trouble_that_may_pass_and_no_fault_of_the_model(operator: Operator) -> None:
    manifest = operator.make()
    found = operator.catalogue()
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, allowed[1]))
    try:
        with pytest.raises(StorageUnavailable, match="full"):
            found.manifests()
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
        found.manifests()
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, allowed[1]))
        with pytest.raises(StorageUnavailable, match="full"):
            found.folder(manifest.ref)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert files(found.folder(manifest.ref))
