"""Batches: checked at once, expanded into independent jobs, counted from one listing."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from infra.local.azurite import Azurite
from shared import fan_out, jobs
from shared.contracts import Batch, BatchStatus
from shared.errors import BatchNotFound, IdempotencyConflict, InvalidRequest, StorageUnavailable
from shared.jobs import InvalidFields, batches, cancel
from shared.storage import find_sas, ledger, paths
from tests.support.clips import make_clip
from tests.support.in_process import LIGHT, Bench

pytestmark = pytest.mark.azurite


@pytest.fixture
def bench(azurite: Azurite) -> Bench:
    return Bench(azurite.connection_string)


def accept(bench: Bench, videos: list[Any], key: str | None = None, **options: Any) -> Batch:
    body = json.dumps({"videos": videos, "options": {**LIGHT, **options}}).encode()
    return batches.accept_batch(bench.settings, bench.store, *batches.parse_batch(body, lines=False), key)


def expand(bench: Bench, batch: Batch) -> None:
    for first in range(0, len(batch.requests), fan_out.BATCH_BLOCK):
        batches.expand(bench.settings, bench.store, batch.id, first)
    assert batches.finish(bench.store, batch.id)


def describe(bench: Bench, batch: Batch) -> BatchStatus:
    return batches.describe_batch(bench.settings, bench.store, batch, datetime.now(UTC))


def test_a_batch_becomes_independent_jobs(bench: Bench) -> None:
    urls = [bench.upload(make_clip(5), f"{n}.mp4") for n in range(30)]
    batch = accept(bench, [*urls[:29], {"video": urls[29], "name": "the last one"}])
    assert "Accepting" == describe(bench, batch).state
    assert {"Accepting": 30} == describe(bench, batch).counts
    assert [batch.id] == ledger.open_batches(bench.store)
    expand(bench, batch)
    assert [] == ledger.open_batches(bench.store)
    assert ("Running", {"Queued": 30}) == (describe(bench, batch).state, describe(bench, batch).counts)
    last = batches._items(bench.store, batch)[29]
    assert "the last one" == bench.stored(str(last.run)).request.name
    for item in batches._items(bench.store, batch):
        cancel(bench.store, bench.stored(str(item.run)))
    ended = describe(bench, batch)
    assert ("Ended", {"Cancelled": 30}, None) == (ended.state, ended.counts, ended.eta_s)


def test_a_video_that_is_not_there_costs_only_itself(bench: Bench) -> None:
    good = bench.upload(make_clip(5))
    gone = good.replace("match.mp4", "gone.mp4")
    batch = accept(bench, [good, gone])
    expand(bench, batch)
    found = describe(bench, batch)
    assert {"Queued": 1, "Refused": 1} == found.counts
    (failure,) = found.failures
    assert (1, gone, None, "blob_not_found") == (failure.index, failure.video, failure.job, failure.code)


def test_every_faulty_request_is_named_before_anything_starts(bench: Bench) -> None:
    good = bench.upload(make_clip(5))
    with pytest.raises(InvalidFields) as refused:
        accept(bench, [good, "https://elsewhere.example.com/c/b.mp4", "ftp://x/y/z.mp4", good])
    assert ["videos.1", "videos.2"] == [fault["field"] for fault in refused.value.fields]
    with pytest.raises(InvalidFields, match=r"videos\.0: .*no model nothing"):
        accept(bench, [good], models=["nothing"])
    with pytest.raises(InvalidFields, match="no label goalkick"):
        accept(bench, [good], cut={"thresholds": {"goalkick": 0.5}})
    assert [] == list(bench.store.list(f"{paths.BATCHES}/"))


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


def test_json_lines_have_options_of_their_own(bench: Bench) -> None:
    url = bench.upload(make_clip(5))
    lines = [json.dumps({"video": url, **LIGHT, "name": name}) for name in ("one", "two")]
    name, requests = batches.parse_batch("\n\n".join(lines).encode(), lines=True)
    batch = batches.accept_batch(bench.settings, bench.store, name, requests, None)
    expand(bench, batch)
    assert 2 == len({item.job for item in batches._items(bench.store, batch)})


def test_a_key_names_the_batch_and_no_other(bench: Bench) -> None:
    url = bench.upload(make_clip(5))
    first = accept(bench, [url], key="night-1")
    assert first == accept(bench, [bench.sas(url)], key="night-1")
    with pytest.raises(IdempotencyConflict):
        accept(bench, [url, url], key="night-1")
    assert first.id != accept(bench, [url]).id


def test_the_same_video_twice_is_one_job(bench: Bench) -> None:
    url = bench.upload(make_clip(5))
    batch = accept(bench, [url, url])
    expand(bench, batch)
    assert 1 == len({item.job for item in batches._items(bench.store, batch)})
    assert {"Queued": 2} == describe(bench, batch).counts


def test_a_job_that_ended_before_the_batch_came_counts_as_it_ended(bench: Bench) -> None:
    url = bench.upload(make_clip(25))
    bench.run(url)
    batch = accept(bench, [url])
    expand(bench, batch)
    found = describe(bench, batch)
    assert ("Ended", {"Completed": 1}) == (found.state, found.counts)


def test_each_job_has_its_own_secret_and_the_batch_none_in_the_end(bench: Bench) -> None:
    urls = [bench.upload(make_clip(5), f"{n}.mp4") for n in range(2)]
    signed = [bench.sas(url) for url in urls]
    batch = accept(bench, signed)
    path = paths.batch_secret_path(batch.id, batch.fingerprint)
    assert bench.store.exists(path)
    stored = bench.store.get(paths.batch_path(batch.id))
    assert b"sig=" not in stored
    expand(bench, batch)
    assert not bench.store.exists(path)
    for item, url in zip(batches._items(bench.store, batch), signed, strict=True):
        assert url.partition("?")[2] == find_sas(bench.store, bench.stored(str(item.run)))


def test_a_block_that_meets_trouble_is_tried_again_and_makes_no_job_twice(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [bench.upload(make_clip(5), f"{n}.mp4") for n in range(4)]
    batch = accept(bench, urls)
    calls = []

    def trouble(settings: Any, store: Any, request: Any, **more: Any) -> Any:
        calls.append(request.video)
        if request.video == urls[2] and calls.count(urls[2]) == 1:
            raise StorageUnavailable("Storage answered 503.")
        return jobs.take(settings, store, request, **more)

    monkeypatch.setattr(batches, "take", trouble)
    with pytest.raises(StorageUnavailable):
        batches.expand(bench.settings, bench.store, batch.id, 0)
    assert not batches.finish(bench.store, batch.id)
    expand(bench, batch)
    assert {"Queued": 4} == describe(bench, batch).counts
    assert 4 == sum(1 for _ in bench.store.list("index/"))


def test_the_csv_has_a_row_for_each_video_and_no_formula(bench: Bench) -> None:
    url = bench.upload(make_clip(25))
    bench.run(url, name="=cmd|' /C calc'!A0")
    batch = accept(bench, [{"video": url, "name": "=cmd|' /C calc'!A0"}, url.replace("match", "gone")])
    expand(bench, batch)
    head, done, gone = csv.reader(io.StringIO(batches.batch_csv(bench.settings, bench.store, batch)))
    assert ["number", "video", "name", "job", "state", "code", "message", "edl"] == head
    assert ("1", "'=cmd|' /C calc'!A0", "Completed") == (done[0], done[2], done[4])
    assert done[7].endswith("/files/cut.edl")
    assert ("2", "Refused", "blob_not_found", "") == (gone[0], gone[4], gone[5], gone[7])


def test_a_batch_that_is_not_there_is_not_found(bench: Bench) -> None:
    for name in ("b-0", "../jobs", ""):
        with pytest.raises(BatchNotFound):
            batches.find_batch(bench.store, name)
