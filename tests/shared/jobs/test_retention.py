"""What is removed after its time, and never what an open run needs."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.local.azurite import Azurite
from shared.contracts import State, StoredRequest
from shared.errors import BatchNotFound, JobNotFound, StorageUnavailable
from shared.jobs import Sweep, batches, cancel
from shared.steps import run_cut, run_look, run_plan, run_score
from shared.storage import BlobEntry, BlobStore, Records, find_request, find_sas, ledger, paths
from tests.support.batches import accept, describe, expand
from tests.support.clips import make_clip
from tests.support.clocked import Clocked
from tests.support.in_process import InProcessService
from tests.support.past import ONE, Past

pytestmark = pytest.mark.azurite
CLIP = make_clip(5)


@pytest.fixture
def service(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> Past:
    return Past(azurite, monkeypatch)


def test_what_is_new_stays_and_what_is_old_goes(service: Past) -> None:
    url = service.upload(CLIP)
    run, _ = service.run(url, **ONE)
    service.wait(1.9)
    assert (0, 0) == (service.sweep().scores.blobs, service.sweep().jobs.things)
    service.wait(0.2)
    assert len(service.paths("scores")) == service.sweep().scores.blobs == 2
    assert (b"TITLE: ", []) == (service.file(run, "cut.edl")[:7], service.paths("scores"))
    service.wait(3)
    swept = service.sweep()
    assert (1, True) == (swept.jobs.things, swept.complete)
    assert [] == service.paths("jobs", "index", "open", "secrets", "scores")


def test_a_job_that_is_gone_is_not_found_and_its_video_makes_it_anew(service: Past) -> None:
    url = service.upload(CLIP)
    first, _ = service.run(url, **ONE)
    service.wait(6)
    service.sweep()
    with pytest.raises(JobNotFound):
        find_request(service.store, first)
    again, end = service.run(url, **ONE)
    assert (first, State.COMPLETED, 1) == (again, end.state, service.stored(again).attempt)


def test_a_job_goes_with_all_its_attempts_and_no_sooner_than_the_last(service: Past) -> None:
    url = service.upload(CLIP)
    cancel(service.store, service.request(url, **ONE))
    service.wait(4)
    last = service.request(url, **ONE)
    assert 2 == last.attempt
    service.store.put(paths.begun_path(last.run, paths.unit_step(0), 1), b"a process died")
    service.wait(4)
    service.sweep()  # open
    cancel(service.store, find_request(service.store, last.job))
    service.wait(4)
    service.sweep()  # ended lately
    assert last.run == find_request(service.store, last.job).run
    service.wait(2)
    service.sweep()
    assert [] == service.paths("jobs", "index")


def test_a_job_that_is_asked_for_again_is_kept_for_another_time(service: Past) -> None:
    url = service.upload(CLIP)
    run, _ = service.run(url, **ONE)
    service.wait(4)
    assert run == service.request(url, **ONE).run
    service.wait(4)
    service.sweep()
    assert service.file(run, "cut.edl")
    service.wait(2)
    service.sweep()
    assert [] == service.paths("jobs")


def test_scores_that_are_used_again_are_kept_for_another_time(service: Past) -> None:
    url = service.upload(CLIP)
    service.run(url, **ONE)
    service.wait(1.5)
    service.run(url, name="again", **ONE)
    service.wait(1.5)
    assert 0 == service.sweep().scores.blobs
    run, _ = service.run(url, name="third", **ONE)
    assert 1 == service.result(run).timing.units_cached


def test_an_open_job_keeps_its_scores_however_long_it_takes(service: Past) -> None:
    url = service.upload(CLIP)
    stored = service.request(url, **ONE)
    run_plan(service.settings, Records(service.store, stored.run))
    run_score(service.settings, Records(service.store, stored.run), 0)
    service.wait(400)
    service.sweep()
    run_look(service.settings, Records(service.store, stored.run), ())
    assert State.COMPLETED == run_cut(service.settings, Records(service.store, stored.run), {}).state


def test_a_job_whose_callback_is_owed_is_kept(service: Past) -> None:
    run, _ = service.run(service.upload(CLIP), **ONE)
    service.store.put(paths.open_callback_path(run), b"")
    service.wait(10)
    service.sweep()
    assert service.file(run, "cut.edl")
    service.store.delete(paths.open_callback_path(run))
    service.sweep()
    assert [] == service.paths("jobs")


def test_a_dry_run_says_what_would_go_and_removes_nothing(service: Past) -> None:
    url = service.upload(CLIP)
    service.run(url, **ONE)
    batch = accept(service, [url], **ONE)
    expand(service, batch)
    service.wait(10)
    before = service.paths("jobs", "scores", "index", "batches")
    dry = service.sweep(retention_dry_run=True)
    assert before == service.paths("jobs", "scores", "index", "batches")
    wet = service.sweep()
    assert dry.jobs == wet.jobs
    assert dry.scores == wet.scores
    assert wet.jobs.bytes > 0
    assert wet.report.startswith(
        f"retention removed: 1 jobs ({wet.jobs.blobs} blobs, {wet.jobs.bytes} bytes)"
    )
    assert dry.report.startswith("retention would remove: 1 jobs")


def test_an_age_of_zero_keeps_for_ever(service: Past) -> None:
    service.run(service.upload(CLIP), **ONE)
    service.wait(10_000)
    before = service.paths("jobs", "scores", "index")
    service.sweep(retention_jobs_days=0, retention_scores_days=0)
    assert before == service.paths("jobs", "scores", "index")


def test_a_batch_goes_after_the_last_of_its_jobs(service: Past) -> None:
    urls = [service.upload(CLIP, f"{n}.mp4") for n in range(2)]
    batch = accept(service, urls, key="night-1", **ONE)
    service.wait(6)
    service.sweep()  # it is not expanded yet
    expand(service, batch)
    service.wait(6)
    service.sweep()  # its jobs are open
    items = batches._items(service.store, batch)
    cancel(service.store, service.stored(str(items[0].run)))
    service.wait(6)
    service.sweep()
    assert {"Gone": 1, "Queued": 1} == describe(service, batch).counts
    cancel(service.store, service.stored(str(items[1].run)))
    service.wait(6)
    service.sweep()
    assert [] == service.paths("jobs", "batches", "open", "secrets")
    with pytest.raises(BatchNotFound):
        batches.find_batch(service.store, batch.id)
    again = accept(service, urls, key="night-1", **ONE)
    expand(service, again)
    assert (batch.id, {"Queued": 2}) == (again.id, describe(service, again).counts)


def test_a_batch_that_was_half_removed_is_expanded_anew(service: Past) -> None:
    url = service.upload(CLIP)
    batch = accept(service, [url], key="night-1", **ONE)
    expand(service, batch)
    service.store.delete(paths.batch_items_path(batch.id))
    service.store.delete(paths.batch_block_path(batch.id, 0))
    service.wait(10)
    again = accept(service, [url], key="night-1", **ONE)
    service.sweep()
    expand(service, again)
    assert {"Queued": 1} == describe(service, again).counts


def test_a_secret_without_a_job_goes_and_that_of_an_open_job_stays(service: Past) -> None:
    stored = service.request(service.sas(service.upload(CLIP)), **ONE)
    service.store.put("secrets/m-000000000000000000000000/f", b"sig=x", "text/plain")
    service.wait(10)
    service.sweep()
    assert [paths.secret_path(stored.run, stored.fingerprint)] == service.paths("secrets")
    assert "sig=" in find_sas(service.store, stored)


def dies(at: int) -> Any:
    def die(number: int) -> None:
        if number == at:
            raise StorageUnavailable("Storage answered 503.")

    return die


@pytest.mark.parametrize("asks", [False, True])
def test_a_sweep_that_dies_at_any_step_is_gone_on_with(service: Past, asks: bool) -> None:
    """And a job that is asked for again in between is whole."""
    url = service.upload(CLIP)
    for step in range(1, 50):
        cancel(service.store, service.request(url, **ONE))
        service.run(url, **ONE)
        service.wait(10)
        service.clock.writes, service.clock.between = 0, dies(step)
        try:
            swept = service.sweep()
        except StorageUnavailable:
            swept = None
        service.clock.between = None
        if asks:
            run, end = service.run(url, **ONE)
            assert (run, State.COMPLETED) == (find_request(service.store, end.job).run, end.state)
            service.wait(10)
        service.sweep()
        assert [] == service.paths("jobs", "index", "open", "secrets", "scores")
        if swept and swept.complete:
            assert step > 4
            return
    raise AssertionError("no sweep came through")


def test_a_job_that_is_asked_for_while_it_goes_is_whole(service: Past) -> None:
    """At every step of the sweep: POST, and then the sweep goes on."""
    url = service.upload(CLIP)
    asked: list[StoredRequest] = []

    def ask(number: int) -> None:
        if number == step:
            asked.append(service.request(url, **ONE))

    for step in range(1, 50):
        service.run(url, **ONE)
        service.wait(10)
        asked.clear()
        service.clock.writes, service.clock.between = 0, ask
        service.sweep()
        service.clock.between = None
        if not asked:
            assert step > 3
            return
        # It was there, and is kept, or it is a new one.
        assert asked[0].run == find_request(service.store, asked[0].job).run
        run, end = service.run(url, **ONE)
        assert (asked[0].run, State.COMPLETED) == (run, end.state)
        assert b"TITLE: " == service.file(run, "cut.edl")[:7]
    raise AssertionError("no sweep came through")


def test_a_score_that_is_used_while_it_would_go_is_kept_or_made_again(service: Past) -> None:
    url = service.upload(CLIP)
    service.run(url, **ONE)
    service.wait(3)
    stored = service.request(url, name="second", **ONE)
    run_plan(service.settings, Records(service.store, stored.run))

    def score(number: int) -> None:
        if number == 1:
            run_score(service.settings, Records(service.store, stored.run), 0)

    # As if the sweep had looked at what is open before the run was accepted.
    swept = Sweep(service.settings, service.store, service.clock._now())
    (marker,) = service.paths("open")
    service.store.delete(marker)
    service.clock.between = score
    swept.run()
    service.clock.between = None
    run_look(service.settings, Records(service.store, stored.run), ())
    assert State.COMPLETED == run_cut(service.settings, Records(service.store, stored.run), {}).state


def test_a_sweep_that_takes_too_long_goes_on_next_time(service: Past) -> None:
    for name in ("a", "b", "c"):
        service.run(service.upload(CLIP), name=name, **ONE)
    service.wait(10)
    ticks = iter(range(1000))
    short = Sweep(service.settings, service.store, service.clock._now(), limit_s=2, clock=lambda: next(ticks))
    short.run()
    assert (2, False) == (short.jobs.things, short.complete)
    assert short.report.endswith("; the next run goes on")
    assert 1 == service.sweep().jobs.things


class Many(BlobStore):
    """As if there were very many score files."""

    deleted = 0

    def entries(self, prefix: str = "") -> Iterator[BlobEntry]:
        if not prefix.startswith("scores/"):
            return super().entries(prefix)
        old = datetime(2020, 1, 1, tzinfo=UTC)
        return (BlobEntry(f"{prefix}/{n}.npz", str(n), 1000, old) for n in range(10_000))

    def delete_unchanged(self, entries: Iterable[BlobEntry]) -> Sequence[BlobEntry]:
        removed = list(entries)
        self.deleted += len(removed)
        return removed


def test_memory_does_not_grow_with_the_store(azurite: Azurite) -> None:
    service = InProcessService(azurite.connection_string)
    store = Many.from_settings(service.settings)
    swept = Sweep(service.settings, store, datetime.now(UTC))
    tracemalloc.start()
    try:
        swept.run()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 160_000 == store.deleted == swept.scores.blobs
    assert peak < 1024**2


def test_what_is_reused_changes_its_etag_where_it_is_old_and_is_spared(azurite: Azurite) -> None:
    service = InProcessService(azurite.connection_string)
    clock = Clocked.from_settings(service.settings)
    for name in ("a", "b"):
        clock.put(f"scores/{name}", b"x")
    before = list(clock.entries("scores/"))
    assert clock.reuse("scores/a")
    assert before == list(clock.entries("scores/"))  # new enough
    clock.ahead = timedelta(days=1)
    assert (True, False) == (clock.reuse("scores/a"), clock.reuse("scores/none"))
    assert ["scores/b"] == [entry.path for entry in clock.delete_unchanged(before)]
    assert ["scores/a"] == list(clock.list("scores/"))
    assert [] == clock.delete_unchanged([])
    assert not clock.replace("scores/a", b"", before[0].etag)
    assert b"x" == clock.get("scores/a")


def test_more_blobs_than_one_request_takes_are_removed(azurite: Azurite) -> None:
    service = InProcessService(azurite.connection_string)
    for n in range(300):
        service.store.put(f"scores/{n}", b"x")
    entries = list(service.store.entries("scores/"))
    assert 300 == len(service.store.delete_unchanged(entries))
    assert [] == list(service.store.list("scores/"))
    assert [] == service.store.delete_unchanged(entries)


def test_an_open_run_is_known_by_its_marker(service: Past) -> None:
    stored = service.request(service.upload(CLIP), **ONE)
    assert ledger.is_run_open(service.store, stored)
    cancel(service.store, stored)
    assert not ledger.is_run_open(service.store, stored)
