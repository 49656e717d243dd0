"""A sweep, and then a look at what it proposed: over Azurite, with the default profile's real models."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from infra.local.azurite import Azurite
from shared.contracts import Look, Plan, Result, State
from shared.models import Track
from shared.settings import ROOT
from shared.steps import load_tracks, run_cut, run_look, run_plan, run_score
from shared.storage import Records, paths
from tests.support.in_process import InProcessService
from tests.support.pictures import clip_model, head_model

pytestmark = pytest.mark.azurite


@dataclass
class Done:
    job: str
    plan: Plan
    look: Look
    result: Result
    tracks: dict[str, Track]


def done(service: InProcessService, job: str) -> Done:
    plan, look = Records(service.store, job).plan, Records(service.store, job).look
    units = [unit.index for unit in (*plan.units, *look.units)]
    tracks = load_tracks(service.store, [Records(service.store, job).summary(unit) for unit in units])
    return Done(job, plan, look, service.result(job), tracks)


@pytest.fixture(scope="module")
def service(azurite: Azurite) -> InProcessService:
    return InProcessService(azurite.connection_string)


@pytest.fixture(scope="module")
def url(service: InProcessService, match: bytes) -> str:
    return service.upload(match, "cascade.mp4")


@pytest.fixture(scope="module")
def cascade(service: InProcessService, url: str) -> Done:
    return done(service, service.run(url, models=None, exhaustive=False)[0])


@pytest.fixture(scope="module")
def exhaustive(service: InProcessService, url: str) -> Done:
    return done(service, service.run(url, models=None, exhaustive=True, segment_s=13)[0])


def test_a_sweep_gives_the_same_scores_as_scoring_every_segment(cascade: Done, exhaustive: Done) -> None:
    assert [unit.kind for unit in cascade.plan.units] == ["sweep"]
    swept = cascade.plan.units[0].models
    assert {"crowd-excitement", "frame-features", "camera"} <= set(swept)
    for model in swept:
        assert cascade.tracks[model].scores.tobytes() == exhaustive.tracks[model].scores.tobytes()


def test_a_look_gives_the_same_scores_as_scoring_every_segment(cascade: Done, exhaustive: Done) -> None:
    assert {"action", "play", "players", "shot-change"} <= set(cascade.look.models)
    for model in cascade.look.models:
        looked, whole = cascade.tracks[model].scores, exhaustive.tracks[model].scores
        seen = ~np.isnan(looked).any(axis=1)
        assert seen.any()
        assert np.array_equal(looked[seen], whole[: len(looked)][seen])


def test_the_result_says_what_was_looked_at_and_what_may_be_missing(cascade: Done, exhaustive: Done) -> None:
    found = cascade.result.cascade
    assert exhaustive.result.cascade is None
    assert found is not None
    assert found.spans == cascade.look.spans
    assert found.looked_frames == sum(span.end_frame - span.start_frame for span in found.spans)
    assert all(0 <= span.start_frame < span.end_frame <= 1000 for span in found.spans)
    assert 0 <= found.audit.low <= found.audit.high <= 1
    assert cascade.result.video.duration_frames == exhaustive.result.video.duration_frames == 1000
    assert cascade.result.gaps == exhaustive.result.gaps == ()


def test_a_cascade_spots_what_an_exhaustive_job_spots(cascade: Done, exhaustive: Done) -> None:
    def told(result: Result) -> list[tuple[str, int]]:
        return [(event.label, event.anchor_frame) for event in result.events]

    assert told(exhaustive.result)
    assert told(cascade.result) == told(exhaustive.result)


def test_a_sweep_that_was_given_up_costs_the_cascade_and_not_the_job(
    service: InProcessService, url: str
) -> None:
    job = service.accept(url, name="no sweep", exhaustive=False, models=["crowd-excitement", "pitch-share"])
    plan = run_plan(service.settings, Records(service.store, job))
    look = run_look(service.settings, Records(service.store, job), [0])
    assert (plan.cascade, look.cascade) == (True, False)
    assert [unit.index for unit in look.units] == [1, 2]
    assert [unit.kind for unit in look.units] == ["audio", "video"]
    for unit in look.units:
        run_score(service.settings, Records(service.store, job), unit.index)
    end = run_cut(service.settings, Records(service.store, job), {0: "segment_failed"})
    result = service.result(job)
    assert (end.state, result.gaps, result.cascade) == (State.COMPLETED, (), None)
    assert result.video.duration_frames == 1000


def test_a_new_head_on_a_kept_embedding_decodes_nothing(
    azurite: Azurite, match: bytes, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "models" / "profiles", tmp_path / "profiles")
    clip_model(tmp_path, embedding={"name": "positive", "size": 50})
    head_model(tmp_path)
    head_model(tmp_path, name="new-head")
    service = InProcessService(azurite.connection_string, models_dir=tmp_path)
    url = service.upload(match, "heads.mp4")
    first, _ = service.run(url, models=["tiny-head"])
    second, _ = service.run(url, models=["new-head"])
    assert [model.name for model in service.result(second).models] == ["new-head", "tiny-clip"]
    summary = Records(service.store, second).summary(0)
    assert (summary.spent.bytes_read, summary.cached) == (0, False)
    kept, scored = service.tracks(first)["tiny-head"], service.tracks(second)["new-head"]
    assert np.isfinite(scored.scores).all()
    assert kept.scores.tobytes() == scored.scores.tobytes()  # the same weights by another name


def test_a_head_whose_source_is_refused_is_refused_with_it(
    azurite: Azurite, match: bytes, tmp_path: Path
) -> None:
    shutil.copytree(ROOT / "models" / "profiles", tmp_path / "profiles")
    clip_model(tmp_path, embedding={"name": "positive", "size": 50})
    head_model(tmp_path)
    graph = tmp_path / "tiny-clip" / "model.onnx"
    graph.write_bytes(graph.read_bytes() + b"\0")
    service = InProcessService(azurite.connection_string, models_dir=tmp_path)
    job, end = service.run(service.upload(match, "broken.mp4"), models=["tiny-head"])
    assert end.state == State.COMPLETED_WITH_GAPS
    (gap,) = service.result(job).gaps
    assert (gap.models, gap.code) == (("tiny-clip", "tiny-head"), "model_refused")
    assert service.store.find(paths.summary_path(job, 0))
