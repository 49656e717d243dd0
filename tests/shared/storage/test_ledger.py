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
from tests.support.in_process import InProcessService

pytestmark = pytest.mark.azurite


@pytest.fixture
def service(azurite: Azurite) -> InProcessService:
    return InProcessService(azurite.connection_string, batch_jobs=2)


@pytest.fixture
def url(service: InProcessService) -> str:
    return service.upload(make_clip(5))


def turns(service: InProcessService) -> list[str]:
    return [stored.run for stored in next_runs(service.settings, service.store)]


def test_interactive_runs_have_their_turn_at_once_and_those_of_batches_a_few_at_a_time(
    service: InProcessService, url: str
) -> None:
    batch = [service.request(url, priority="batch", name=f"b{n}").run for n in range(4)]
    alone = [service.request(url, name=f"a{n}").run for n in range(3)]
    assert [*alone, *batch[:2]] == turns(service)
    cancel(service.store, service.stored(batch[0]))
    assert [*alone, *batch[1:3]] == turns(service)


def test_a_job_of_a_batch_that_somebody_waits_for_need_not_wait(service: InProcessService, url: str) -> None:
    runs = [service.request(url, priority="batch", name=f"b{n}").run for n in range(3)]
    assert runs[2] not in turns(service)
    assert runs[2] == service.request(url, name="b2").run
    assert [runs[2], *runs[:2]] == turns(service)
    cancel(service.store, service.stored(runs[2]))
    assert runs[:2] == turns(service)


def test_a_run_whose_closing_died_half_way_is_settled_by_whoever_looks_next(
    service: InProcessService, url: str
) -> None:
    stored = service.request(url)
    cancel(service.store, stored)
    ledger.note_state(service.store, stored, State.SCORING)
    service.store.put(ledger._open_path(stored, "interactive"), b"")
    assert [] == turns(service)
    (entry,), _ = ledger.index_page(service.store, 10)
    assert (State.CANCELLED, stored.run) == (entry.state, entry.run)
    assert [] == list(ledger.open_runs(service.store, "interactive"))


def test_a_plan_that_ends_after_a_cancel_does_not_bring_the_job_back(
    service: InProcessService, url: str
) -> None:
    stored = service.request(url)
    cancel(service.store, stored)
    run_plan(service.settings, Records(service.store, stored.run))
    (entry,), _ = ledger.index_page(service.store, 10)
    assert State.CANCELLED == entry.state


def test_the_index_follows_a_job_to_its_end(service: InProcessService, url: str) -> None:
    stored = service.request(url, name="Finale, erste Hälfte")

    def state() -> State:
        return ledger.index_page(service.store, 1)[0][0].state

    seen = [state()]
    run_plan(service.settings, Records(service.store, stored.run))
    seen.append(state())
    service.score(stored.run)
    run_cut(service.settings, Records(service.store, stored.run), {})
    seen.append(state())
    assert [State.QUEUED, State.SCORING, State.COMPLETED] == seen
    (job,) = list_jobs(service.settings, service.store, (), None, 10, None).jobs
    assert ("Finale, erste Hälfte", stored.job) == (job.name, job.id)


def test_jobs_are_listed_newest_first_page_by_page(service: InProcessService, url: str) -> None:
    jobs = [service.request(url, name=f"n{n}").job for n in range(5)]
    found, continuation = [], None
    for size in (2, 2, 1):
        page = list_jobs(service.settings, service.store, (), None, 2, continuation)
        assert size == len(page.jobs)
        found += [job.id for job in page.jobs]
        continuation = page.continuation
    assert continuation is None
    assert set(jobs) == set(found)
    created = [job.created for job in list_jobs(service.settings, service.store, (), None, 10, None).jobs]
    assert sorted(created, reverse=True) == created


@pytest.mark.parametrize("token", ["x", "\x17\x1f\xca", "AAAA", "index/820", "FxcX"])
def test_a_continuation_that_no_page_gave_is_refused_before_storage_sees_it(
    service: InProcessService, token: str
) -> None:
    with pytest.raises(InvalidRequest):
        list_jobs(service.settings, service.store, (), None, 2, token)


def test_a_list_is_narrowed_by_state_and_time(service: InProcessService, url: str) -> None:
    kept, gone = service.request(url, name="kept"), service.request(url, name="gone")
    cancel(service.store, gone)

    def ids(query: dict[str, str]) -> list[str]:
        return [job.id for job in list_jobs(service.settings, service.store, **parse_query(query)).jobs]

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


def test_a_new_attempt_takes_the_place_of_the_old_one(service: InProcessService, url: str) -> None:
    first = service.request(url)
    cancel(service.store, first)
    second = service.request(url)
    assert names.run_id(first.job, 2) == second.run
    (entry,), _ = ledger.index_page(service.store, 10)
    assert (second.run, first.job, State.QUEUED) == (entry.run, entry.job, entry.state)


def test_of_a_long_queue_those_far_behind_are_told_by_one_listing(
    service: InProcessService, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "_UNSETTLED", 1)
    runs = [service.request(url, priority="batch", name=f"b{n}").run for n in range(6)]
    service.request(url, name="b4")  # somebody waits for it
    assert [runs[3], runs[5]] == list(status.waiting(service.settings, service.store).values())
    seen = status.see_waiting(service.store, runs[5])
    assert status.see(service.store, runs[5]) == seen
    cancel(service.store, service.stored(runs[5]))
    assert [runs[3]] == list(status.waiting(service.settings, service.store))
    with pytest.raises(JobNotFound):
        status.see_waiting(service.store, "m-" + 24 * "0")
