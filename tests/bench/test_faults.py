"""The proxy that breaks requests, before a real Azurite."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.storage.blob import BlobServiceClient

from bench.faults import KINDS, Draws, FaultProxy, Schedule
from bench.rig import storage
from infra.local.azurite import Azurite
from shared.errors import StorageUnavailable
from shared.settings import Settings
from shared.storage import BlobStore
from tests.support.in_process import InProcessService
from tests.support.processes import kill
from tests.support.waiting import LIMIT_S

pytestmark = pytest.mark.azurite


def always(*kinds: str) -> Schedule:
    return Schedule(share=1.0, until_s=1e9, kinds=kinds)


class Place:
    """A blob that anybody may read, behind a proxy of each kind."""

    def __init__(self, azurite: Azurite, stack: ExitStack) -> None:
        self.service, self._azurite, self._stack = InProcessService(azurite.connection_string), azurite, stack
        self.signed = self.service.sas(self.service.upload(b"0123456789" * 10, "blob"))

    def proxy(self, schedule: Schedule) -> FaultProxy:
        proxy = self._stack.enter_context(FaultProxy(self._azurite.port, schedule))
        proxy.begin()
        return proxy

    def through(self, proxy: FaultProxy) -> str:
        return self.signed.replace(f":{self._azurite.port}/", f":{proxy.port}/")


@pytest.fixture
def place(azurite: Azurite) -> Iterator[Place]:
    with ExitStack() as stack:
        yield Place(azurite, stack)


def test_without_faults_storage_answers_as_ever_and_the_journal_tells_what_it_did(place: Place) -> None:
    proxy = place.proxy(Schedule())
    store = BlobStore.from_settings(
        Settings(storage=proxy.connection_string(place.service.settings.storage), container="through-a-proxy")
    )
    assert store.find("a/b c.json") is None
    store.put("a/b c.json", b"{}")
    assert (b"{}", ["a/b c.json"]) == (store.get("a/b c.json"), list(store.list("a/")))
    path = "through-a-proxy/a/b c.json"
    assert (1, 1) == (len(proxy.journal.missed[path]), len(proxy.journal.written[path]))


@pytest.mark.parametrize(("kind", "status"), [("500", 500), ("503", 503), ("lost", 500)])
def test_an_answer_may_be_an_error(place: Place, kind: str, status: int) -> None:
    proxy = place.proxy(always(kind))
    assert status == httpx.get(place.through(proxy), timeout=LIMIT_S).status_code
    assert {kind: 1} == proxy.journal.faults


@pytest.mark.parametrize("kind", ["reset", "reset after", "cut", "timeout"])
def test_an_answer_may_never_come_or_break_off(place: Place, kind: str) -> None:
    proxy = place.proxy(always(kind))
    with pytest.raises(httpx.TransportError):
        httpx.get(place.through(proxy), timeout=2)


def test_an_answer_may_come_slowly_and_is_whole(place: Place) -> None:
    proxy, began = place.proxy(always("slow")), time.monotonic()
    assert b"0123456789" * 10 == httpx.get(place.through(proxy), timeout=LIMIT_S).content
    assert time.monotonic() - began >= 2


@pytest.mark.parametrize(("kind", "done"), [("500", False), ("lost", True), ("reset after", True)])
def test_storage_may_have_done_what_it_seems_to_have_refused(place: Place, kind: str, done: bool) -> None:
    """And what storage's client sends again is counted once."""
    proxy = place.proxy(always(kind))
    through = proxy.connection_string(place.service.settings.storage)
    options: dict[str, Any] = {
        "retry_total": 1,
        "initial_backoff": 0,
        "increment_base": 0,
        "random_jitter_range": 0,
    }
    with BlobServiceClient.from_connection_string(through, **options) as service:
        blob = service.get_blob_client(place.service.videos, "written")
        with pytest.raises(Exception, match=r"InternalError|reset|aborted|ErrorCode|Status"):
            blob.upload_blob(b"x")
    direct = place.service.blobs.get_blob_client(place.service.videos, "written")
    assert done == direct.exists()
    ids = proxy.journal.written.get(f"{place.service.videos}/written", set())
    assert (done, 2) == (len(ids) == 1, proxy.journal.requests)


def test_a_look_whose_answer_was_lost_is_counted_once_it_is_answered(place: Place) -> None:
    proxy = place.proxy(Schedule(seed=3, share=0.5, until_s=1e9, kinds=("lost",)))
    direct = place.service.settings
    settings = direct.model_copy(update={"storage": proxy.connection_string(direct.storage)})
    store = BlobStore.from_settings(settings)
    assert store.find("nothing") is None
    assert proxy.journal.faults["lost"] >= 1
    assert len(proxy.journal.missed[f"{settings.container}/nothing"]) == 1


def test_the_same_seed_breaks_the_same_requests_whatever_the_time() -> None:
    schedule = Schedule(seed=7, share=0.3, until_s=10, outage=(2, 3))
    one, other = Draws(schedule), Draws(schedule)
    drawn = [one.next(1.0) for _ in range(300)]
    assert drawn == [other.next(5.0) for _ in range(300)]
    assert set(KINDS) == set(filter(None, drawn))
    assert 60 <= sum(kind is not None for kind in drawn) <= 120
    assert ["503", None] == [one.next(2.5), one.next(10.0)]


def test_an_answer_that_breaks_off_is_trouble_that_may_pass(place: Place) -> None:
    """Also where its status says that there is nothing: what was to say so never came."""
    direct = place.service.settings
    proxy = place.proxy(Schedule())
    through = Settings(storage=proxy.connection_string(direct.storage), container=direct.container)
    store = BlobStore.from_settings(through, patient=False)
    store.put("there", b"x" * 100)
    broken = place.proxy(always("cut"))
    settings = through.model_copy(update={"storage": broken.connection_string(direct.storage)})
    store = BlobStore.from_settings(settings, patient=False)
    for path in ("there", "not there"):
        with pytest.raises(StorageUnavailable):
            store.find(path)
    with pytest.raises(StorageUnavailable):
        list(store.list(""))


def test_an_activity_outlasts_a_few_seconds_without_storage(place: Place) -> None:
    direct = place.service.settings
    place.service.store.put("there", b"x")
    proxy = place.proxy(Schedule(outage=(0, 3)))
    through = direct.model_copy(update={"storage": proxy.connection_string(direct.storage)})
    began = time.monotonic()
    assert b"x" == BlobStore.from_settings(through).get("there")
    assert 3 <= time.monotonic() - began < LIMIT_S
    assert proxy.journal.faults["503"] >= 1


def test_what_durable_storage_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    with storage(tmp_path / "data") as azurite:
        service = BlobServiceClient.from_connection_string(azurite.connection_string)
        service.create_container("kept")
        service.get_blob_client("kept", "first").upload_blob(b"first")
        kill(azurite.pid)
    with storage(tmp_path / "data") as azurite:
        service = BlobServiceClient.from_connection_string(azurite.connection_string)
        assert b"first" == service.get_blob_client("kept", "first").download_blob().readall()
