"""Batches: checked at once, expanded into independent jobs, counted from one listing."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from infra.local.azurite import Azurite
from shared import jobs
from shared.errors import BatchNotFound, IdempotencyConflict, InvalidRequest, StorageUnavailable
from shared.jobs import InvalidFields, batches, cancel
from shared.storage import find_sas, ledger, paths
from tests.support.batches import accept, describe, expand
from tests.support.clips import make_clip
from tests.support.in_process import LIGHT, InProcessService

pytestmark = pytest.mark.azurite


@pytest.fixture
def service(azurite: Azurite) -> InProcessService:
    return InProcessService(azurite.connection_string)


def test_a_batch_becomes_independent_jobs(service: InProcessService) -> None:
    urls = [service.upload(make_clip(5), f"{n}.mp4") for n in range(30)]
    batch = accept(service, [*urls[:29], {"video": urls[29], "name": "the last one"}])
    assert "Accepting" == describe(service, batch).state
    assert {"Accepting": 30} == describe(service, batch).counts
    assert [batch.id] == ledger.open_batches(service.store)
    expand(service, batch)
    assert [] == ledger.open_batches(service.store)
    assert ("Running", {"Queued": 30}) == (describe(service, batch).state, describe(service, batch).counts)
    last = batches._items(service.store, batch)[29]
    assert "the last one" == service.stored(str(last.run)).request.name
    for item in batches._items(service.store, batch):
        cancel(service.store, service.stored(str(item.run)))
    ended = describe(service, batch)
    assert ("Ended", {"Cancelled": 30}, None) == (ended.state, ended.counts, ended.eta_s)


def test_a_video_that_is_not_there_costs_only_itself(service: InProcessService) -> None:
    good = service.upload(make_clip(5))
    gone = good.replace("match.mp4", "gone.mp4")
    batch = accept(service, [good, gone])
    expand(service, batch)
    found = describe(service, batch)
    assert {"Queued": 1, "Refused": 1} == found.counts
    (failure,) = found.failures
    assert (1, gone, None, "blob_not_found") == (failure.index, failure.video, failure.job, failure.code)


def test_every_faulty_request_is_named_before_anything_starts(service: InProcessService) -> None:
    good = service.upload(make_clip(5))
    with pytest.raises(InvalidFields) as refused:
        accept(service, [good, "https://elsewhere.example.com/c/b.mp4", "ftp://x/y/z.mp4", good])
    assert ["videos.1", "videos.2"] == [fault["field"] for fault in refused.value.fields]
    with pytest.raises(InvalidFields, match=r"videos\.0: .*no model nothing"):
        accept(service, [good], models=["nothing"])
    with pytest.raises(InvalidFields, match="no label goalkick"):
        accept(service, [good], cut={"thresholds": {"goalkick": 0.5}})
    assert [] == list(service.store.list(f"{paths.BATCHES}/"))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b'{"videos": []}',
        b'{"videos": "x"}',
        b'{"videos": [1]}',
        b'{"videos": ["https://a/b/c"], "x": 1}',
    ],
)
def test_a_body_that_is_no_batch_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        batches.parse_batch(body, lines=False)


def test_a_batch_has_its_limits() -> None:
    line = json.dumps({"video": "https://a.example.com/c/b.mp4"}).encode()
    assert 1000 == len(batches.parse_batch(b"\n".join([line] * 1000), lines=True)[1])
    with pytest.raises(InvalidRequest, match="at most 1000"):
        batches.parse_batch(b"\n".join([line] * 1001), lines=True)
    with pytest.raises(InvalidRequest, match="longer than"):
        batches.parse_batch(b" " * (batches.MAX_BODY_BYTES + 1), lines=True)
    with pytest.raises(InvalidFields, match=r"videos\.1\.video"):
        batches.parse_batch(line + b"\n{}\n", lines=True)


def test_json_lines_have_options_of_their_own(service: InProcessService) -> None:
    url = service.upload(make_clip(5))
    lines = [json.dumps({"video": url, **LIGHT, "name": name}) for name in ("one", "two")]
    name, requests = batches.parse_batch("\n\n".join(lines).encode(), lines=True)
    batch = batches.accept_batch(service.settings, service.store, name, requests, None)
    expand(service, batch)
    assert 2 == len({item.job for item in batches._items(service.store, batch)})


def test_a_key_names_the_batch_and_no_other(service: InProcessService) -> None:
    url = service.upload(make_clip(5))
    first = accept(service, [url], key="night-1")
    assert first == accept(service, [service.sas(url)], key="night-1")
    with pytest.raises(IdempotencyConflict):
        accept(service, [url, url], key="night-1")
    assert first.id != accept(service, [url]).id


def test_the_same_video_twice_is_one_job(service: InProcessService) -> None:
    url = service.upload(make_clip(5))
    batch = accept(service, [url, url])
    expand(service, batch)
    assert 1 == len({item.job for item in batches._items(service.store, batch)})
    assert {"Queued": 2} == describe(service, batch).counts


def test_a_job_that_ended_before_the_batch_came_counts_as_it_ended(service: InProcessService) -> None:
    url = service.upload(make_clip(25))
    service.run(url)
    batch = accept(service, [url])
    expand(service, batch)
    found = describe(service, batch)
    assert ("Ended", {"Completed": 1}) == (found.state, found.counts)


def test_each_job_has_its_own_secret_and_the_batch_none_in_the_end(service: InProcessService) -> None:
    urls = [service.upload(make_clip(5), f"{n}.mp4") for n in range(2)]
    signed = [service.sas(url) for url in urls]
    batch = accept(service, signed)
    path = paths.batch_secret_path(batch.id, batch.fingerprint)
    assert service.store.exists(path)
    stored = service.store.get(paths.batch_path(batch.id))
    assert b"sig=" not in stored
    expand(service, batch)
    assert not service.store.exists(path)
    for item, url in zip(batches._items(service.store, batch), signed, strict=True):
        assert url.partition("?")[2] == find_sas(service.store, service.stored(str(item.run)))


def test_a_block_that_meets_trouble_is_tried_again_and_makes_no_job_twice(
    service: InProcessService, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [service.upload(make_clip(5), f"{n}.mp4") for n in range(4)]
    batch = accept(service, urls)
    calls = []

    def trouble(settings: Any, store: Any, request: Any, **more: Any) -> Any:
        calls.append(request.video)
        if request.video == urls[2] and calls.count(urls[2]) == 1:
            raise StorageUnavailable("Storage answered 503.")
        return jobs.take_request(settings, store, request, **more)

    monkeypatch.setattr(batches, "take_request", trouble)
    with pytest.raises(StorageUnavailable):
        batches.expand(service.settings, service.store, batch.id, 0)
    assert not batches.finish(service.store, batch.id)
    expand(service, batch)
    assert {"Queued": 4} == describe(service, batch).counts
    assert 4 == sum(1 for _ in service.store.list("index/"))


def test_the_csv_has_a_row_for_each_video_and_no_formula(service: InProcessService) -> None:
    url = service.upload(make_clip(25))
    service.run(url, name="=cmd|' /C calc'!A0")
    batch = accept(service, [{"video": url, "name": "=cmd|' /C calc'!A0"}, url.replace("match", "gone")])
    expand(service, batch)
    head, done, gone = csv.reader(io.StringIO(batches.batch_csv(service.settings, service.store, batch)))
    assert ["number", "video", "name", "job", "state", "code", "message", "edl"] == head
    assert ("1", "'=cmd|' /C calc'!A0", "Completed") == (done[0], done[2], done[4])
    assert done[7].endswith("/files/cut.edl")
    assert ("2", "Refused", "blob_not_found", "") == (gone[0], gone[4], gone[5], gone[7])


def test_a_batch_that_is_not_there_is_not_found(service: InProcessService) -> None:
    for name in ("b-0", "../jobs", ""):
        with pytest.raises(BatchNotFound):
            batches.find_batch(service.store, name)
