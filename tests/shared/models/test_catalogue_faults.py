"""Models, profiles and containers that are broken, and storage and disks that fail beneath them."""

from __future__ import annotations

import resource
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shared.contracts import ModelManifest
from shared.errors import ModelRefused, StorageUnavailable
from shared.models import Catalogue
from shared.models import catalogue as module
from shared.storage import BlobEntry
from tests.support.operator import Operator, files, make

pytestmark = pytest.mark.azurite


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
