"""One record that another version wrote, or that broke, and everybody else's jobs."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from infra.local.azurite import Azurite
from orchestrator import threads
from orchestrator.http.binding import problems_as_json
from orchestrator.starting import start_open_work
from shared import jobs, names
from shared.contracts import Batch
from shared.errors import RecordUnreadable
from shared.jobs import Sweep, batches, cancel, deliver, see
from shared.jobs.listing import list_jobs
from shared.jobs.quotas import check_room
from shared.storage import find_request, ledger, paths
from tests.support.clips import make_clip
from tests.support.durable_client import Client
from tests.support.in_process import InProcessService

pytestmark = pytest.mark.azurite
SECRET = "whsec_" + "A" * 32


def one_field_more(record: bytes) -> bytes:
    return json.dumps(json.loads(record) | {"novel": {"a": 1}}).encode()


def schema_version_2(record: bytes) -> bytes:
    return json.dumps(json.loads(record) | {"schema_version": 2}).encode()


def cut_off(record: bytes) -> bytes:
    return record[: len(record) // 2]


FORMS = [one_field_more, schema_version_2, cut_off]


@pytest.fixture
def service(azurite: Azurite, serve_from: Callable[[InProcessService], InProcessService]) -> InProcessService:
    return serve_from(
        InProcessService(azurite.connection_string, callback_hosts="cms.example.com", callback_secrets=SECRET)
    )


def spoil(service: InProcessService, path: str, form: Callable[[bytes], bytes]) -> None:
    service.store.put(path, form(service.store.get(path)))


def tended(service: InProcessService) -> list[str]:
    client = Client({})
    asyncio.run(start_open_work(client, threads.API))
    return client.started


def parked(service: InProcessService) -> list[str]:
    return list(service.store.list(f"{paths.PARKED}/"))


def batch_of(service: InProcessService, *urls: str, key: str) -> Batch:
    body = json.dumps({"videos": urls}).encode()
    return batches.accept_batch(service.settings, service.store, *batches.parse_batch(body, lines=False), key)


@pytest.mark.parametrize("form", FORMS)
def test_the_others_of_a_batch_and_lost_runs_and_owed_callbacks_go_on(
    service: InProcessService, form: Callable[[bytes], bytes]
) -> None:
    url = service.upload(make_clip(5))
    runs = [service.request(url, name=f"a{n}").run for n in range(2)]
    of_batch = [service.request(url, priority="batch", name=f"b{n}").run for n in range(2)]
    told = service.request(url, name="c", callback="https://cms.example.com/")
    cancel(service.store, told)
    first, second = (batch_of(service, url, key=key) for key in ("first", "second"))
    for path in (paths.request_path(runs[0]), paths.request_path(of_batch[0]), paths.batch_path(first.id)):
        spoil(service, path, form)
    started = tended(service)
    assert {runs[1], of_batch[1], names.callback_id(told.run), second.id} <= set(started)
    lost = 3 if form is cut_off else 0
    assert (4 + 3 - lost, lost) == (len(started), len(parked(service)))
    check_room(service.settings, service.store, None)
    assert 5 == len(list_jobs(service.settings, service.store, (), None, 10, None).jobs)


@pytest.mark.parametrize("form", FORMS)
def test_an_end_that_cannot_be_read_stops_nobody_else(
    service: InProcessService, form: Callable[[bytes], bytes]
) -> None:
    url = service.upload(make_clip(5))
    stored, other = service.request(url, name="a"), service.request(url, name="b")
    cancel(service.store, stored)
    service.store.put(ledger._open_path(stored, "interactive"), b"")
    spoil(service, paths.end_path(stored.run), form)
    assert [other.run] == tended(service)
    assert (form is cut_off) == bool(parked(service))


def test_what_is_parked_is_said_once_by_its_path_alone(
    service: InProcessService, caplog: pytest.LogCaptureFixture
) -> None:
    run = service.request(service.upload(make_clip(5))).run
    spoil(service, paths.request_path(run), cut_off)
    with caplog.at_level(logging.ERROR, "matchcut"):
        tended(service)
        tended(service)
    (line,) = caplog.messages
    assert paths.request_path(run) in line
    assert "match.mp4" not in line
    (entry,) = parked(service)
    assert paths.request_path(run).encode() in service.store.get(entry)
    assert b"match.mp4" not in service.store.get(entry)


def later(service: InProcessService, by: timedelta = ledger.PARKED_FOR + timedelta(minutes=1)) -> None:
    ledger.unpark_entries(service.store, datetime.now(UTC) + by)


def test_what_was_mended_goes_on_within_the_hour_and_what_was_not_is_parked_anew(
    service: InProcessService,
) -> None:
    url = service.upload(make_clip(5))
    runs = [service.request(url, name=f"a{n}").run for n in range(2)]
    whole = [service.store.get(paths.request_path(run)) for run in runs]
    for run in runs:
        spoil(service, paths.request_path(run), cut_off)
    assert [] == tended(service)
    service.store.put(paths.request_path(runs[0]), whole[0])
    later(service, timedelta(minutes=1))
    assert [] == tended(service)
    later(service)
    assert [] == parked(service)
    assert [runs[0]] == tended(service)
    assert 1 == len(parked(service))


def test_who_parks_at_the_moment_of_another_look_loses_nothing(
    service: InProcessService, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = service.request(service.upload(make_clip(5))).run
    spoil(service, paths.request_path(run), cut_off)
    tended(service)
    put = service.store.put

    def put_and_turn(path: str, data: bytes, *more: Any, **named: Any) -> None:
        put(path, data, *more, **named)
        if path.startswith(f"{paths.OPEN}/"):
            jobs.next_runs(service.settings, service.store)

    monkeypatch.setattr(service.store, "put", put_and_turn)
    later(service)
    assert 1 == len(parked(service))


def test_who_asks_for_the_job_or_the_batch_itself_is_told_what_is_wrong(service: InProcessService) -> None:
    url = service.upload(make_clip(5))
    job, batch = service.request(url).job, batch_of(service, url, key="one").id
    spoil(service, paths.request_path(job), cut_off)
    spoil(service, paths.batch_path(batch), cut_off)
    asks: list[Callable[[], Any]] = [
        lambda: see(service.store, job),
        lambda: find_request(service.store, job),
        lambda: service.request(url),
        lambda: batches.find_batch(service.store, batch),
    ]
    for ask in asks:

        @problems_as_json
        async def handler(ask: Callable[[], Any] = ask) -> Any:
            return ask()

        problem = asyncio.run(cast(Any, handler)())
        assert (500, "record_unreadable") == (problem.status_code, json.loads(problem.get_body())["code"])


def test_a_callback_whose_records_cannot_be_read_is_parked_and_owed_still(service: InProcessService) -> None:
    stored = service.request(service.upload(make_clip(5)), callback="https://cms.example.com/")
    cancel(service.store, stored)
    spoil(service, paths.request_path(stored.run), cut_off)
    with pytest.raises(RecordUnreadable):
        deliver(service.settings, service.store, stored.run, 1)
    assert [paths.parked_path(paths.open_callback_path(stored.run))] == parked(service)
    assert ledger.is_run_open(service.store, stored)


def test_a_batch_whose_block_cannot_be_read_is_parked(service: InProcessService) -> None:
    url = service.upload(make_clip(5))
    batch = batch_of(service, url, key="one")
    path = paths.batch_block_path(batch.id, 0)
    service.store.put(path, b'{"items": [')
    with pytest.raises(RecordUnreadable), batches.parking(service.store, batch.id):
        batches.expand(service.settings, service.store, batch.id, 0)
    assert [] == tended(service)
    assert ledger.is_batch_open(service.store, batch.id)
    service.store.delete(path)  # whoever mends it: its jobs are found again
    later(service)
    assert [batch.id] == tended(service)


def test_a_lost_run_whose_next_attempt_cannot_be_read_is_parked(service: InProcessService) -> None:
    url = service.upload(make_clip(5))
    lost, other = service.request(url, name="a"), service.request(url, name="b")
    service.store.put(paths.request_path(f"{lost.job}-2"), b"{")
    client = Client({lost.run: "Failed"})
    asyncio.run(start_open_work(client, threads.API))
    assert [other.run] == client.started
    assert 1 == len(parked(service))


def test_retention_keeps_what_it_cannot_read_and_goes_on_with_the_rest(service: InProcessService) -> None:
    url = service.upload(make_clip(5))
    stored, other = service.request(url, name="a"), service.request(url, name="b")
    batch = batch_of(service, url, key="kept")
    for one in (stored, other):
        cancel(service.store, one)
    for path in (paths.request_path(stored.run), paths.batch_path(batch.id)):
        spoil(service, path, cut_off)
    assert [] == tended(service)
    settings = service.settings.model_copy(update={"retention_jobs_days": 1})
    swept = Sweep(settings, service.store, datetime.now(UTC) + timedelta(days=9))
    swept.run()
    assert (True, 1, 0) == (swept.complete, swept.jobs.things, swept.batches.things)
    assert [stored.job] == [entry.job for entry in ledger.index_entries(service.store)]
    assert service.store.exists(paths.batch_path(batch.id))


def test_names_and_states_that_only_another_version_knows_stop_nobody(service: InProcessService) -> None:
    stored = service.request(service.upload(make_clip(5)))
    for path in ("open/notes.txt", "open/batches/x", "open/0/x", "index/notes.txt"):
        service.store.put(path, b"")
    metadata = {"job": stored.job, "state": "Paused"}
    service.store.put(ledger._index_path(stored.run, stored.created), b"", metadata=metadata)
    assert 1 == ledger.count_open(service.store).jobs
    (job,) = list_jobs(service.settings, service.store, (), None, 10, None).jobs
    assert (stored.job, "Scoring") == (job.id, job.state.value)
    assert [stored.run] == tended(service)
