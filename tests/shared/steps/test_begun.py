"""Attempts at a step whose processes died are counted; those that ended are not."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from activities.outcome import outcome
from infra.local.azurite import Azurite
from shared.errors import Cancelled, StorageUnavailable, WorkerKilled
from shared.jobs import see
from shared.settings import Settings
from shared.steps import Step
from shared.steps.begun import MOST_BEGUN
from shared.storage import BlobStore, paths
from tests.support.clips import make_clip
from tests.support.in_process import InProcessService

pytestmark = pytest.mark.azurite
STEP = Step("m-1", paths.unit_step(7), paths.summary_path("m-1", 7))


@pytest.fixture
def store(azurite: Azurite) -> BlobStore:
    name = f"begun-{uuid.uuid4().hex[:8]}"
    return BlobStore.from_settings(Settings(storage=azurite.connection_string, container=name))


def marks(store: BlobStore) -> list[str]:
    return list(store.list("jobs/m-1/begun/"))


def die(store: BlobStore, step: Step = STEP, times: int = MOST_BEGUN) -> None:
    """As processes leave it that were killed."""
    for _ in range(times):
        assert step._leave_mark(store)


@pytest.mark.parametrize("failure", [None, Cancelled("The job was cancelled."), KeyError(), SystemExit()])
def test_an_attempt_that_ends_in_its_process_leaves_nothing_however_it_ends(
    store: BlobStore, failure: BaseException | None
) -> None:
    for _ in range(MOST_BEGUN + 1):
        try:
            with STEP.attempt(store):
                assert [paths.begun_path("m-1", "00007", 1)] == marks(store)
                if failure:
                    raise failure
        except type(failure or Exception()):
            pass
    assert [] == marks(store)


def test_the_third_attempt_whose_process_dies_is_the_last(store: BlobStore) -> None:
    die(store, times=MOST_BEGUN - 1)
    with STEP.attempt(store):
        pass
    die(store, times=1)
    with pytest.raises(WorkerKilled), STEP.attempt(store):
        pytest.fail("it began")
    assert MOST_BEGUN == len(marks(store))


def test_another_unit_and_another_attempt_at_the_job_begin_at_zero(store: BlobStore) -> None:
    die(store)
    for step in (Step("m-1", paths.unit_step(8)), Step("m-1-2", paths.unit_step(7))):
        with step.attempt(store):
            pass


def test_a_step_that_is_done_is_not_refused(store: BlobStore) -> None:
    die(store)
    store.put(str(STEP.done), b"{}")
    with STEP.attempt(store):
        pass
    assert MOST_BEGUN == len(marks(store))


class Lossy(BlobStore):
    """Does what it is asked, and says in the second answer only that it did."""

    def put_new(self, path: str, data: bytes) -> bool:
        return super().put_new(path, data) and super().put_new(path, data)


def test_a_mark_whose_answer_was_lost_is_the_attempts_own(store: BlobStore) -> None:
    store.__class__ = Lossy
    with STEP.attempt(store):
        assert 1 == len(marks(store))
    assert [] == marks(store)


class Away(BlobStore):
    def delete(self, path: str) -> None:
        raise StorageUnavailable("Storage answered 503.")


def test_a_mark_that_cannot_be_removed_takes_nothing_from_work_that_is_done(
    store: BlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.__class__ = Away
    monkeypatch.setattr("activities.outcome.get_settings", lambda: Settings(storage="x"))
    monkeypatch.setattr("activities.outcome.service_store", lambda settings, patient: store)

    def work(settings: Any, store: Any) -> dict[str, Any]:
        return {"frames": 1}

    assert {"ok": True, "job": "m-1", "frames": 1} == outcome(work, STEP, job="m-1")
    assert 1 == len(marks(store))


def test_marks_are_no_progress(azurite: Azurite) -> None:
    service = InProcessService(azurite.connection_string)
    job = service.accept(service.upload(make_clip(5)))
    die(service.store, Step(job, paths.unit_step(0)))
    assert 0 == see(service.store, job).units
