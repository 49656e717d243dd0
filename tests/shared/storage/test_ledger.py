"""Which runs are open and when their turn comes, over Azurite."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from infra.local.azurite import Azurite
from shared import names
from shared.contracts import State
from shared.errors import InvalidRequest, JobNotFound
from shared.jobs import cancel, next_runs, status
from shared.jobs.listing import list_jobs, parse_query
from shared.steps import run_cut, run_plan
from shared.storage import Records, ledger
from tests.support.clips import make_clip
from tests.support.in_process import Bench

pytestmark = pytest.mark.azurite


@pytest.fixture
def bench(azurite: Azurite) -> Bench:
    return Bench(azurite.connection_string, batch_jobs=2)


@pytest.fixture
def url(bench: Bench) -> str:
    return bench.upload(make_clip(5))


def turns(bench: Bench) -> list[str]:
    return [stored.run for stored in next_runs(bench.settings, bench.store)]


def test_interactive_runs_have_their_turn_at_once_and_those_of_batches_a_few_at_a_time(
    bench: Bench, url: str
) -> None:
    batch = [bench.request(url, priority="batch", name=f"b{n}").run for n in range(4)]
    alone = [bench.request(url, name=f"a{n}").run for n in range(3)]
    assert [*alone, *batch[:2]] == turns(bench)
    cancel(bench.store, bench.stored(batch[0]))
    assert [*alone, *batch[1:3]] == turns(bench)


def test_a_job_of_a_batch_that_somebody_waits_for_need_not_wait(bench: Bench, url: str) -> None:
    runs = [bench.request(url, priority="batch", name=f"b{n}").run for n in range(3)]
    assert runs[2] not in turns(bench)
    assert runs[2] == bench.request(url, name="b2").run
    assert [runs[2], *runs[:2]] == turns(bench)
    cancel(bench.store, bench.stored(runs[2]))
    assert runs[:2] == turns(bench)


def test_a_run_whose_closing_died_half_way_is_settled_by_whoever_looks_next(bench: Bench, url: str) -> None:
    stored = bench.request(url)
    cancel(bench.store, stored)
    ledger.tell(bench.store, stored, State.SCORING)
    bench.store.put(ledger._open_path(stored, "interactive"), b"")
    assert [] == turns(bench)
    (entry,), _ = ledger.page(bench.store, 10)
    assert (State.CANCELLED, stored.run) == (entry.state, entry.run)
    assert [] == list(ledger.open_runs(bench.store, "interactive"))


def test_a_plan_that_ends_after_a_cancel_does_not_bring_the_job_back(bench: Bench, url: str) -> None:
    stored = bench.request(url)
    cancel(bench.store, stored)
    run_plan(bench.settings, Records(bench.store, stored.run))
    (entry,), _ = ledger.page(bench.store, 10)
    assert State.CANCELLED == entry.state


def test_the_index_follows_a_job_to_its_end(bench: Bench, url: str) -> None:
    stored = bench.request(url, name="Finale, erste Hälfte")

    def state() -> State:
        return ledger.page(bench.store, 1)[0][0].state

    seen = [state()]
    run_plan(bench.settings, Records(bench.store, stored.run))
    seen.append(state())
    bench.score(stored.run)
    run_cut(bench.settings, Records(bench.store, stored.run), {})
    seen.append(state())
    assert [State.QUEUED, State.SCORING, State.COMPLETED] == seen
    (job,) = list_jobs(bench.settings, bench.store, (), None, 10, None).jobs
    assert ("Finale, erste Hälfte", stored.job) == (job.name, job.id)


def test_jobs_are_listed_newest_first_page_by_page(bench: Bench, url: str) -> None:
    jobs = [bench.request(url, name=f"n{n}").job for n in range(5)]
    found, continuation = [], None
    for size in (2, 2, 1):
        page = list_jobs(bench.settings, bench.store, (), None, 2, continuation)
        assert size == len(page.jobs)
        found += [job.id for job in page.jobs]
        continuation = page.continuation
    assert continuation is None
    assert set(jobs) == set(found)
    created = [job.created for job in list_jobs(bench.settings, bench.store, (), None, 10, None).jobs]
    assert sorted(created, reverse=True) == created


@pytest.mark.parametrize("token", ["x", "\x17\x1f\xca", "AAAA", "index/820", "FxcX"])
def test_a_continuation_that_no_page_gave_is_refused_before_storage_sees_it(bench: Bench, token: str) -> None:
    with pytest.raises(InvalidRequest):
        list_jobs(bench.settings, bench.store, (), None, 2, token)


def test_a_list_is_narrowed_by_state_and_time(bench: Bench, url: str) -> None:
    kept, gone = bench.request(url, name="kept"), bench.request(url, name="gone")
    cancel(bench.store, gone)

    def ids(query: dict[str, str]) -> list[str]:
        return [job.id for job in list_jobs(bench.settings, bench.store, **parse_query(query)).jobs]

    assert [gone.job] == ids({"state": "Cancelled"})
    assert {kept.job, gone.job} == set(ids({"state": "Cancelled,Queued"}))
    assert [] == ids({"since": (datetime.now(UTC) + timedelta(hours=1)).isoformat()})
    assert {kept.job, gone.job} == set(ids({"since": "2026-01-01"}))


@pytest.mark.parametrize(
    "query",
    [
        {"state": "Done"},
        {"since": "yesterday"},
        {"since": ""},
        {"top": "0"},
        {"top": "1001"},
        {"top": "²"},
        {"sort": "name"},
        {"continuation": "x" * 2001},
    ],
)
def test_a_query_that_makes_no_sense_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        parse_query(query)


def test_a_new_attempt_takes_the_place_of_the_old_one(bench: Bench, url: str) -> None:
    first = bench.request(url)
    cancel(bench.store, first)
    second = bench.request(url)
    assert names.run_id(first.job, 2) == second.run
    (entry,), _ = ledger.page(bench.store, 10)
    assert (second.run, first.job, State.QUEUED) == (entry.run, entry.job, entry.state)


def test_of_a_long_queue_those_far_behind_are_told_by_one_listing(
    bench: Bench, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "_UNSETTLED", 1)
    runs = [bench.request(url, priority="batch", name=f"b{n}").run for n in range(6)]
    bench.request(url, name="b4")  # somebody waits for it
    assert [runs[3], runs[5]] == list(status.waiting(bench.settings, bench.store).values())
    seen = status.see_waiting(bench.store, runs[5])
    assert status.see(bench.store, runs[5]) == seen
    cancel(bench.store, bench.stored(runs[5]))
    assert [runs[3]] == list(status.waiting(bench.settings, bench.store))
    with pytest.raises(JobNotFound):
        status.see_waiting(bench.store, "m-" + 24 * "0")
