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
from orchestrator import http_api
from orchestrator.starting import tend
from shared import jobs, names
from shared.contracts import Batch
from shared.errors import RecordUnreadable
from shared.jobs import Sweep, batches, cancel, deliver, see
from shared.jobs.listing import list_jobs
from shared.jobs.quotas import check_room
from shared.storage import find_request, ledger, paths
from tests.orchestrator.test_start import Client
from tests.support.clips import make_clip
from tests.support.in_process import Bench

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
def bench(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench(azurite.connection_string, callback_hosts="cms.example.com", callback_secrets=SECRET)
    monkeypatch.setattr(http_api, "get_settings", lambda: bench.settings)
    monkeypatch.setattr(http_api, "_store", lambda settings: bench.store)
    return bench


def spoil(bench: Bench, path: str, form: Callable[[bytes], bytes]) -> None:
    bench.store.put(path, form(bench.store.get(path)))


def tended(bench: Bench) -> list[str]:
    client = Client({})
    asyncio.run(tend(client, http_api._in_thread))
    return client.started


def parked(bench: Bench) -> list[str]:
    return list(bench.store.list(f"{paths.PARKED}/"))


def batch_of(bench: Bench, *urls: str, key: str) -> Batch:
    body = json.dumps({"videos": urls}).encode()
    return batches.accept_batch(bench.settings, bench.store, *batches.parse_batch(body, lines=False), key)


@pytest.mark.parametrize("form", FORMS)
def test_the_others_of_a_batch_and_lost_runs_and_owed_callbacks_go_on(
    bench: Bench, form: Callable[[bytes], bytes]
) -> None:
    url = bench.upload(make_clip(5))
    runs = [bench.request(url, name=f"a{n}").run for n in range(2)]
    of_batch = [bench.request(url, priority="batch", name=f"b{n}").run for n in range(2)]
    told = bench.request(url, name="c", callback="https://cms.example.com/")
    cancel(bench.store, told)
    first, second = (batch_of(bench, url, key=key) for key in ("first", "second"))
    for path in (paths.request_path(runs[0]), paths.request_path(of_batch[0]), paths.batch_path(first.id)):
        spoil(bench, path, form)
    started = tended(bench)
    assert {runs[1], of_batch[1], names.callback_id(told.run), second.id} <= set(started)
    lost = 3 if form is cut_off else 0
    assert (4 + 3 - lost, lost) == (len(started), len(parked(bench)))
    check_room(bench.settings, bench.store, None)
    assert 5 == len(list_jobs(bench.settings, bench.store, (), None, 10, None).jobs)


@pytest.mark.parametrize("form", FORMS)
def test_an_end_that_cannot_be_read_stops_nobody_else(bench: Bench, form: Callable[[bytes], bytes]) -> None:
    url = bench.upload(make_clip(5))
    stored, other = bench.request(url, name="a"), bench.request(url, name="b")
    cancel(bench.store, stored)
    bench.store.put(ledger._open_path(stored, "interactive"), b"")
    spoil(bench, paths.end_path(stored.run), form)
    assert [other.run] == tended(bench)
    assert (form is cut_off) == bool(parked(bench))


def test_what_is_parked_is_said_once_by_its_path_alone(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    run = bench.request(bench.upload(make_clip(5))).run
    spoil(bench, paths.request_path(run), cut_off)
    with caplog.at_level(logging.ERROR, "matchcut"):
        tended(bench)
        tended(bench)
    (line,) = caplog.messages
    assert paths.request_path(run) in line
    assert "match.mp4" not in line
    (entry,) = parked(bench)
    assert paths.request_path(run).encode() in bench.store.get(entry)
    assert b"match.mp4" not in bench.store.get(entry)


def later(bench: Bench, by: timedelta = ledger.PARKED_FOR + timedelta(minutes=1)) -> None:
    ledger.unpark(bench.store, datetime.now(UTC) + by)


def test_what_was_mended_goes_on_within_the_hour_and_what_was_not_is_parked_anew(bench: Bench) -> None:
    url = bench.upload(make_clip(5))
    runs = [bench.request(url, name=f"a{n}").run for n in range(2)]
    whole = [bench.store.get(paths.request_path(run)) for run in runs]
    for run in runs:
        spoil(bench, paths.request_path(run), cut_off)
    assert [] == tended(bench)
    bench.store.put(paths.request_path(runs[0]), whole[0])
    later(bench, timedelta(minutes=1))
    assert [] == tended(bench)
    later(bench)
    assert [] == parked(bench)
    assert [runs[0]] == tended(bench)
    assert 1 == len(parked(bench))


def test_who_parks_at_the_moment_of_another_look_loses_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench.request(bench.upload(make_clip(5))).run
    spoil(bench, paths.request_path(run), cut_off)
    tended(bench)
    put = bench.store.put

    def put_and_turn(path: str, data: bytes, *more: Any, **named: Any) -> None:
        put(path, data, *more, **named)
        if path.startswith(f"{paths.OPEN}/"):
            jobs.next_runs(bench.settings, bench.store)

    monkeypatch.setattr(bench.store, "put", put_and_turn)
    later(bench)
    assert 1 == len(parked(bench))


def test_who_asks_for_the_job_or_the_batch_itself_is_told_what_is_wrong(bench: Bench) -> None:
    url = bench.upload(make_clip(5))
    job, batch = bench.request(url).job, batch_of(bench, url, key="one").id
    spoil(bench, paths.request_path(job), cut_off)
    spoil(bench, paths.batch_path(batch), cut_off)
    asks: list[Callable[[], Any]] = [
        lambda: see(bench.store, job),
        lambda: find_request(bench.store, job),
        lambda: bench.request(url),
        lambda: batches.find_batch(bench.store, batch),
    ]
    for ask in asks:

        @http_api._problems_as_json
        async def handler(ask: Callable[[], Any] = ask) -> Any:
            return ask()

        problem = asyncio.run(cast(Any, handler)())
        assert (500, "record_unreadable") == (problem.status_code, json.loads(problem.get_body())["code"])


def test_a_callback_whose_records_cannot_be_read_is_parked_and_owed_still(bench: Bench) -> None:
    stored = bench.request(bench.upload(make_clip(5)), callback="https://cms.example.com/")
    cancel(bench.store, stored)
    spoil(bench, paths.request_path(stored.run), cut_off)
    with pytest.raises(RecordUnreadable):
        deliver(bench.settings, bench.store, stored.run, 1)
    assert [paths.parked_path(paths.open_callback_path(stored.run))] == parked(bench)
    assert ledger.is_open(bench.store, stored)


def test_a_batch_whose_block_cannot_be_read_is_parked(bench: Bench) -> None:
    url = bench.upload(make_clip(5))
    batch = batch_of(bench, url, key="one")
    path = paths.batch_block_path(batch.id, 0)
    bench.store.put(path, b'{"items": [')
    with pytest.raises(RecordUnreadable), batches.parking(bench.store, batch.id):
        batches.expand(bench.settings, bench.store, batch.id, 0)
    assert [] == tended(bench)
    assert ledger.is_batch_open(bench.store, batch.id)
    bench.store.delete(path)  # whoever mends it: its jobs are found again
    later(bench)
    assert [batch.id] == tended(bench)


def test_a_lost_run_whose_next_attempt_cannot_be_read_is_parked(bench: Bench) -> None:
    url = bench.upload(make_clip(5))
    lost, other = bench.request(url, name="a"), bench.request(url, name="b")
    bench.store.put(paths.request_path(f"{lost.job}-2"), b"{")
    client = Client({lost.run: "Failed"})
    asyncio.run(tend(client, http_api._in_thread))
    assert [other.run] == client.started
    assert 1 == len(parked(bench))


def test_retention_keeps_what_it_cannot_read_and_goes_on_with_the_rest(bench: Bench) -> None:
    url = bench.upload(make_clip(5))
    stored, other = bench.request(url, name="a"), bench.request(url, name="b")
    batch = batch_of(bench, url, key="kept")
    for one in (stored, other):
        cancel(bench.store, one)
    for path in (paths.request_path(stored.run), paths.batch_path(batch.id)):
        spoil(bench, path, cut_off)
    assert [] == tended(bench)
    settings = bench.settings.model_copy(update={"retention_jobs_days": 1})
    swept = Sweep(settings, bench.store, datetime.now(UTC) + timedelta(days=9))
    swept.run()
    assert (True, 1, 0) == (swept.complete, swept.jobs.things, swept.batches.things)
    assert [stored.job] == [entry.job for entry in ledger.every(bench.store)]
    assert bench.store.exists(paths.batch_path(batch.id))


def test_names_and_states_that_only_another_version_knows_stop_nobody(bench: Bench) -> None:
    stored = bench.request(bench.upload(make_clip(5)))
    for path in ("open/notes.txt", "open/batches/x", "open/0/x", "index/notes.txt"):
        bench.store.put(path, b"")
    metadata = {"job": stored.job, "state": "Paused"}
    bench.store.put(ledger._index_path(stored.run, stored.created), b"", metadata=metadata)
    assert 1 == ledger.load(bench.store).jobs
    (job,) = list_jobs(bench.settings, bench.store, (), None, 10, None).jobs
    assert (stored.job, "Scoring") == (job.id, job.state.value)
    assert [stored.run] == tended(bench)
