"""A new model is a folder: three that the service has never seen, by manifest only, through a whole job."""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path

import numpy as np
import pytest

from client.histogram import write_references
from infra.local.azurite import Azurite
from models.export import Build, constant, parse, provenance, write
from shared.contracts import State
from shared.errors import ModelRefused
from shared.settings import ROOT
from shared.steps import run_cut, run_plan, run_score
from shared.storage import Records
from tests.support.in_process import InProcessService
from tests.support.novelty import write_profile

pytestmark = pytest.mark.azurite


def brightness(folder: Path, version: str = "0.1.0") -> None:
    """A frame model: uint8 RGB, NCHW, a batch of exactly 4. Mean of the green channel over 255."""
    graph = parse(
        """
        brightness (uint8[4, 3, 8, 12] pixels) => (float[4, 1] green) {
          channel = Slice (pixels, one, two, axis)
          values = Cast <to=1> (channel)
          mean = ReduceMean <axes=[1, 2, 3], keepdims=0> (values)
          share = Div (mean, full)
          green = Unsqueeze (share, axis)
        }""",
        {
            "one": np.array([1], np.int64),
            "two": np.array([2], np.int64),
            "axis": np.array([1], np.int64),
            "full": constant(255),
        },
    )
    manifest = {
        "name": "new-brightness", "version": version, "kind": "frame", "rate": "2/1", "window": 1,
        "stride": 1, "anchor": 0, "batch": 4, "provenance": provenance("made up for a test"),
        "input": {"name": "pixels", "dtype": "uint8", "layout": "NCHW", "width": 12, "height": 8,
                  "colour": "rgb"},
        "output": {"name": "green", "labels": ["green"]},
    }  # fmt: skip
    write(Build(graph, manifest, np.arange(4 * 3 * 8 * 12, dtype=np.uint8).reshape(4, 3, 8, 12)), folder)


def flicker(folder: Path) -> None:
    """A clip model: float32 BGR, NTHWC, any batch. Standard deviation over time."""
    graph = parse(
        """
        flicker (float[N, 6, 8, 12, 3] clip) => (float[N, 1] spread) {
          pictures = ReduceMean <axes=[2, 3, 4], keepdims=0> (clip)
          mean = ReduceMean <axes=[1], keepdims=1> (pictures)
          distance = Sub (pictures, mean)
          squares = Mul (distance, distance)
          variance = ReduceMean <axes=[1], keepdims=1> (squares)
          spread = Sqrt (variance)
        }""",
        {},
    )
    manifest = {
        "name": "new-flicker", "version": "0.1.0", "kind": "clip", "rate": "native", "window": 6, "stride": 3,
        "anchor": 3, "batch": 8, "provenance": provenance("made up for a test"),
        "input": {
            "name": "clip", "layout": "NTHWC", "width": 12, "height": 8, "colour": "bgr", "fit": "letterbox",
            "mean": [100.0, 110.0, 120.0], "std": [50.0, 60.0, 70.0],
        },
        "output": {"name": "spread", "labels": ["flicker"]},
    }  # fmt: skip
    sample = np.random.default_rng(1).normal(size=(8, 6, 8, 12, 3)).round(2).astype(np.float32)
    write(Build(graph, manifest, sample), folder)


def level(folder: Path) -> None:
    """An audio model at 8 kHz: root mean square of half a second."""
    graph = parse(
        """
        level (float[N, 4000] sound) => (float[N, 1] rms) {
          squares = Mul (sound, sound)
          mean = ReduceMean <axes=[1], keepdims=1> (squares)
          rms = Sqrt (mean)
        }""",
        {},
    )
    manifest = {
        "name": "new-level", "version": "0.1.0", "kind": "audio", "rate": "8000/1", "window": 4000,
        "stride": 4000, "anchor": 2000, "batch": 4, "provenance": provenance("made up for a test"),
        "input": {"name": "sound", "layout": "NS"},
        "output": {"name": "rms", "labels": ["rms"]},
    }  # fmt: skip
    sample = np.random.default_rng(2).normal(0, 0.1, (4, 4000)).round(3).astype(np.float32)
    write(Build(graph, manifest, sample), folder)


def test_three_unseen_models_run_and_cut_by_manifest_only(
    azurite: Azurite, match: bytes, tmp_path: Path
) -> None:
    for make in (brightness, flicker, level, write_profile):
        make(tmp_path)
    service = InProcessService(azurite.connection_string, models_dir=tmp_path)
    url = service.upload(match)
    edls = set()
    for segment_s in (40, 7):
        job, end = service.run(url, profile="novelty", models=None, segment_s=segment_s)
        assert end.state == State.COMPLETED
        edls.add(service.file(job, "cut.edl"))
    result, tracks = service.result(job), service.tracks(job)
    assert len(edls) == 1
    assert {model.name for model in result.models} == {"new-brightness", "new-flicker", "new-level"}
    assert {event.label for event in result.events} == {"surprise"}
    assert {said.model for said in result.events[0].evidence} == {
        "new-brightness",
        "new-flicker",
        "new-level",
    }
    assert {name: len(track.scores) for name, track in tracks.items()} == {
        "new-brightness": 80,  # 40 s, twice a second
        "new-flicker": 332,  # (1000 - 6) // 3 + 1
        "new-level": 80,
    }
    assert 0.2 < float(np.median(tracks["new-brightness"].scores)) < 0.8  # a lawn, mostly


def test_a_new_model_stands_beside_the_built_in_ones(azurite: Azurite, match: bytes, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "models", tmp_path / "models", ignore=shutil.ignore_patterns("export"))
    brightness(tmp_path / "models")
    service = InProcessService(azurite.connection_string, models_dir=tmp_path / "models")
    job, end = service.run(service.upload(match), models=["new-brightness", "crowd-excitement"])
    assert end.state == State.COMPLETED
    assert set(service.tracks(job)) == {"new-brightness", "crowd-excitement"}


def ship(service: InProcessService, folder: Path) -> None:
    """Upload a folder of models and profiles, as an operator does."""
    container = service.blobs.get_container_client(str(service.settings.models_container))
    if not container.exists():
        container.create_container()
    for path in folder.rglob("*"):
        if path.is_file():
            container.upload_blob(path.relative_to(folder).as_posix(), path.read_bytes(), overwrite=True)


@pytest.fixture
def shipped(azurite: Azurite, tmp_path: Path) -> InProcessService:
    """A service with no models built in, and the three new ones in a container."""
    for make in (brightness, flicker, level, write_profile):
        make(tmp_path / "made")
    (tmp_path / "none").mkdir()
    service = InProcessService(
        azurite.connection_string,
        models_dir=tmp_path / "none",
        models_container=f"models-{uuid.uuid4().hex[:8]}",
        models_cache=tmp_path / "cache",
    )
    ship(service, tmp_path / "made")
    return service


def test_models_and_a_profile_from_a_container_need_no_new_image(
    shipped: InProcessService, match: bytes, azurite: Azurite, tmp_path: Path
) -> None:
    local = InProcessService(azurite.connection_string, models_dir=tmp_path / "made")
    edls = []
    for service in (shipped, local):
        job, end = service.run(service.upload(match), profile="novelty", models=None)
        assert end.state == State.COMPLETED
        edls.append(service.file(job, "cut.edl"))
    assert edls[0] == edls[1]
    assert b"FROM CLIP NAME" in edls[0]
    assert len(list((tmp_path / "cache").iterdir())) == 3  # each fetched once


def test_a_job_keeps_the_models_and_the_profile_it_was_planned_with(
    shipped: InProcessService, match: bytes, tmp_path: Path
) -> None:
    url = shipped.upload(match)
    before, _ = shipped.run(url, profile="novelty", models=None, segment_s=13)
    job = shipped.accept(url, profile="novelty", models=None, segment_s=7)
    plan = run_plan(shipped.settings, Records(shipped.store, job))
    run_score(shipped.settings, Records(shipped.store, job), 1)
    document = json.loads((tmp_path / "made" / "profiles" / "novelty.json").read_text())
    document["rules"][0]["label"] = "boredom"
    (tmp_path / "made" / "profiles" / "novelty.json").write_text(json.dumps(document))
    brightness(tmp_path / "made", version="0.2.0")
    ship(shipped, tmp_path / "made")
    shipped.score(job)
    end = run_cut(shipped.settings, Records(shipped.store, job), {})
    assert end.state == State.COMPLETED
    assert plan.models == shipped.result(job).models
    assert {"surprise"} == {event.label for event in shipped.result(job).events}
    assert shipped.file(before, "cut.edl") == shipped.file(job, "cut.edl")


def test_a_model_that_was_replaced_before_a_worker_had_it_is_a_declared_gap(
    shipped: InProcessService, match: bytes, tmp_path: Path
) -> None:
    job = shipped.accept(shipped.upload(match), profile="novelty", models=None)
    run_plan(shipped.settings, Records(shipped.store, job))
    brightness(tmp_path / "made", version="0.2.0")
    ship(shipped, tmp_path / "made")
    shipped.score(job)
    end = run_cut(shipped.settings, Records(shipped.store, job), {})
    assert end.state == State.COMPLETED_WITH_GAPS
    (gap,) = shipped.result(job).gaps
    assert (("new-brightness",), "model_refused") == (gap.models, gap.code)


def test_a_broken_model_in_the_container_is_refused_by_name_and_harms_no_other_job(
    shipped: InProcessService, match: bytes, tmp_path: Path
) -> None:
    (tmp_path / "made" / "new-level" / "model.json").write_text("{}")
    ship(shipped, tmp_path / "made")
    url = shipped.upload(match)
    with pytest.raises(ModelRefused, match="new-level"):
        shipped.accept(url, profile="novelty", models=None)
    _, end = shipped.run(url, profile="novelty", models=["new-brightness"])
    assert end.state == State.COMPLETED


def test_the_result_tells_how_far_the_scores_lie_from_the_reference(
    shipped: InProcessService, match: bytes, tmp_path: Path
) -> None:
    url, made = shipped.upload(match), tmp_path / "made"
    job, _ = shipped.run(url, profile="novelty", models=None)
    assert shipped.result(job).drift == ()
    (tmp_path / "match.mp4").write_bytes(match)
    write_references([made / "new-level", made / "new-brightness"], [tmp_path / "match.mp4"])
    path = made / "new-brightness" / "sample" / "reference.json"
    other = json.loads(path.read_text())
    for histogram in other["histograms"]:
        histogram["counts"].reverse()
    path.write_text(json.dumps(other))
    ship(shipped, made)
    job, _ = shipped.run(url, profile="novelty", models=None, name="again")
    drift = {moved.model: moved for moved in shipped.result(job).drift}
    assert {"new-brightness", "new-level"} == set(drift)
    assert 0 == drift["new-level"].psi < drift["new-level"].by_chance
    assert drift["new-brightness"].psi > 0.25
