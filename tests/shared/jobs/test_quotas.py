"""How much may be open, and who asks."""

from __future__ import annotations

from typing import Any

import pytest

from infra.local.azurite import Azurite
from shared.errors import QueueFull, TooManyJobs
from shared.jobs import accept, batches, cancel, retry
from shared.jobs.quotas import caller_id, check_room
from shared.settings import Settings
from shared.storage import ledger, paths
from tests.support.batches import accept as accept_batch
from tests.support.clips import make_clip
from tests.support.in_process import InProcessService

pytestmark = pytest.mark.azurite
CLIP = make_clip(5)
ANNA, BERT = "a" * 64, "b" * 64


@pytest.fixture
def service(azurite: Azurite) -> InProcessService:
    return InProcessService(azurite.connection_string, max_open_jobs=4, max_open_jobs_per_key=2)


def post(service: InProcessService, url: str, name: str, caller: str | None) -> Any:
    body = f'{{"video": "{url}", "name": "{name}"}}'.encode()
    return accept(service.settings, service.store, body, None, caller)


def test_a_caller_has_so_many_open_jobs_and_all_together_so_many(service: InProcessService) -> None:
    url = service.upload(CLIP)
    first = post(service, url, "1", ANNA)
    post(service, url, "2", ANNA)
    with pytest.raises(TooManyJobs, match="2 have not ended, of at most 2; this request is for 1 more"):
        post(service, url, "3", ANNA)
    assert first == post(service, url, "1", ANNA)  # the same job again is nothing new
    assert first == post(service, url, "1", BERT)
    post(service, url, "3", BERT)
    post(service, url, "4", None)
    with pytest.raises(QueueFull, match="4 have not ended, of at most 4"):
        post(service, url, "5", BERT)
    cancel(service.store, first)
    assert 3 == ledger.count_open(service.store).jobs
    assert "5" == post(service, url, "5", BERT).request.name


def test_a_job_that_is_opened_again_needs_room_too(service: InProcessService) -> None:
    url = service.upload(CLIP)
    first = post(service, url, "1", ANNA)
    cancel(service.store, first)
    for name in ("2", "3"):
        post(service, url, name, ANNA)
    with pytest.raises(TooManyJobs):
        post(service, url, "1", ANNA)
    with pytest.raises(TooManyJobs):
        retry(service.settings, service.store, first, b"", ANNA)
    again = retry(service.settings, service.store, first, b"", BERT)
    assert (2, BERT) == (again.attempt, again.caller)


def test_a_batch_that_does_not_fit_is_refused_whole(service: InProcessService) -> None:
    url = service.upload(CLIP)
    post(service, url, "1", None)
    with pytest.raises(TooManyJobs, match="1 have not ended, of at most 2; this request is for 2 more"):
        accept_batch(service, [url, url])
    assert [] == [*service.store.list(f"{paths.BATCHES}/"), *service.store.list(f"{paths.OPEN}/batches/")]


def test_a_batch_counts_from_its_acceptance_once(azurite: Azurite) -> None:
    service = InProcessService(azurite.connection_string, max_open_jobs=70)
    urls = [service.upload(CLIP, f"{n}.mp4") for n in range(60)]
    batch = accept_batch(service, urls, key="night-1")
    counted = [ledger.count_open(service.store).jobs]
    with pytest.raises(QueueFull):
        accept_batch(service, urls[:11])
    assert batch == accept_batch(service, urls, key="night-1")
    for first in (0, 25, 50):
        batches.expand(service.settings, service.store, batch.id, first)
        counted.append(ledger.count_open(service.store).jobs)
    assert batches.finish(service.store, batch.id)
    counted.append(ledger.count_open(service.store).jobs)
    assert [60] * 5 == counted
    check_room(service.settings, service.store, None, 10)


def test_without_limits_nothing_is_counted(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    service = InProcessService(azurite.connection_string, max_open_jobs=0, max_open_jobs_per_key=0)
    monkeypatch.setattr(ledger, "count_open", None)
    check_room(service.settings, service.store, None, 10**6)


def test_a_job_of_a_batch_that_somebody_waits_for_counts_once(service: InProcessService) -> None:
    url = service.upload(CLIP)
    service.request(url, priority="batch")
    service.request(url)
    assert 2 == len(list(service.store.list(f"{paths.OPEN}/")))
    assert 1 == ledger.count_open(service.store).jobs


def test_callers_are_told_apart_by_key_and_by_principal_where_that_is_believed() -> None:
    plain, signed_in = (Settings(storage="x", easy_auth=believed) for believed in (False, True))
    anna = {"x-functions-key": "anna-key-0123456789"}
    both = {**anna, "x-ms-client-principal-id": "anna@example.com"}
    assert caller_id(plain, {}, {}) is None
    assert caller_id(plain, anna, {}) == caller_id(plain, {}, {"code": "anna-key-0123456789"})
    assert caller_id(plain, anna, {}) == caller_id(plain, both, {}) != caller_id(signed_in, both, {})
    assert caller_id(signed_in, both, {}) == caller_id(
        signed_in, {"x-ms-client-principal-id": "anna@example.com"}, {}
    )
    assert caller_id(plain, anna, {}) != caller_id(plain, {"x-functions-key": "bert"}, {})
    assert 64 == len(caller_id(plain, anna, {}) or "")


def test_the_key_itself_is_kept_nowhere(service: InProcessService) -> None:
    url, key = service.upload(CLIP), "anna-key-0123456789"
    caller = caller_id(service.settings, {"x-functions-key": key}, {})
    stored = post(service, url, "1", caller)
    accept_batch(service, [url])
    assert caller == stored.caller
    for path in service.store.list(""):
        assert key not in path
        assert key.encode() not in service.store.get(path)
