"""Models and profiles from a blob container, over Azurite."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.contracts import ModelRef
from shared.errors import ModelRefused, UnknownModel
from shared.models import Catalogue, Track, load_model, measure_reference, reference_json
from shared.settings import ROOT, Settings
from shared.storage import BlobEntry
from tests.support.novelty import write_profile
from tests.support.operator import Operator, files, make

pytestmark = pytest.mark.azurite


def watch_reads(found: Catalogue, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths of the blobs that it reads from now on."""
    read: list[str] = []
    fetch = found._read

    def watched(entry: BlobEntry) -> bytes:
        read.append(entry.path)
        return fetch(entry)

    monkeypatch.setattr(found, "_read", watched)
    return read


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
    reference = measure_reference(Track(grid, ("mean",), 0, scores), "a ramp")
    operator.put("level/sample/reference.json", reference_json(reference).encode())
    operator.edit("level", reference="sample/reference.json")
    found = operator.catalogue()
    assert manifest.ref == found.manifests()["level"].ref  # it says nothing about scoring
    assert reference == found.reference(manifest.ref)
    assert not operator.settings().models_cache.exists()
    operator.put("level/sample/reference.json", b"{}")
    assert found.reference(manifest.ref) is None
