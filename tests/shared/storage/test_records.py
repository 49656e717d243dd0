"""What the service wrote is read back by other versions too; what callers send is not taken so lightly."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from pydantic import ValidationError

from infra.local.azurite import Azurite
from shared.contracts import Batch, EndRecord, JobRequest, State, StoredRequest
from shared.errors import BlobNotFound, RecordUnreadable
from shared.jobs import events_so_far, instances
from shared.settings import Settings
from shared.steps import close_run, run_plan
from shared.storage import BlobStore, Records, find_request, paths, records
from tests.support.clips import make_clip
from tests.support.in_process import InProcessService

REQUEST = StoredRequest(
    job="m-1",
    request=JobRequest(video="https://a/b/c.mp4"),
    fingerprint="f",
    etag="e",
    length_bytes=1,
    created="2026-01-01T00:00:00.000+00:00",
)


MAPS = ("thresholds", "models", "scores", "refused", "sources", "run", "weights", "stages")
"""Fields whose objects have names of the caller's or the models' own instead of fields."""


def later(record: Any, field: str = "") -> Any:
    """As another version may have written it: one field more in every object, and a version of 2."""
    if isinstance(record, list):
        return [later(one) for one in record]
    if not isinstance(record, dict):
        return record
    known = {name: later(value, name) for name, value in record.items()}
    if "schema_version" in known:
        known["schema_version"] = 2
    return known if field in MAPS else known | {"novel": {"a": 1}}


def test_a_record_of_a_later_version_is_read_as_far_as_it_is_known_and_written_as_before() -> None:
    written = REQUEST.model_dump_json()
    batch = Batch(id="b-1", name=None, created="", fingerprint="", requests=(REQUEST.request,) * 2)
    for record in (REQUEST, batch, EndRecord(job="m-1", state=State.COMPLETED)):
        told = json.dumps(later(json.loads(record.model_dump_json()))).encode()
        assert record == type(record).of_record(told)
        with pytest.raises(ValidationError):
            type(record).model_validate_json(told)
    assert (
        written == StoredRequest.of_record(json.dumps(later(json.loads(written))).encode()).model_dump_json()
    )


@pytest.mark.parametrize("version", [0, -1, "2", 1.5, None])
def test_what_is_no_later_version_is_unreadable(version: Any) -> None:
    told = json.dumps(json.loads(REQUEST.model_dump_json()) | {"schema_version": version}).encode()
    with pytest.raises(RecordUnreadable, match="schema_version"):
        records.parse(StoredRequest, "p", told)


@pytest.fixture
def store(azurite: Azurite) -> BlobStore:
    name = f"records-{uuid.uuid4().hex[:8]}"
    return BlobStore.from_settings(Settings(storage=azurite.connection_string, container=name))


@pytest.mark.azurite
@pytest.mark.parametrize("spoil", [lambda data: data[:-30], lambda data: b'{"video": "sig=secret"}'])
def test_what_cannot_be_read_is_told_by_its_path_and_without_its_content(
    store: BlobStore, spoil: Any
) -> None:
    path = paths.request_path("m-1")
    store.put(path, spoil(REQUEST.model_dump_json().encode()))
    with pytest.raises(RecordUnreadable) as raised:
        records.read(store, StoredRequest, path)
    assert path in raised.value.message
    assert not [told for told in ("secret", "a/b/c") if told in raised.value.message]
    store.put(path, b"")
    assert records.find(store, StoredRequest, path) is None
    with pytest.raises(BlobNotFound):
        records.read(store, StoredRequest, path)


@pytest.mark.azurite
def test_a_whole_job_goes_on_where_another_version_wrote_each_of_its_records(azurite: Azurite) -> None:
    service = InProcessService(azurite.connection_string)

    class Later(BlobStore):
        def put(self, path: str, data: bytes, *args: Any, **more: Any) -> None:
            told = json.dumps(later(json.loads(data))).encode() if path.endswith(".json") else data
            super().put(path, told, *args, **more)

        def put_new(self, path: str, data: bytes) -> bool:
            return super().put_new(path, json.dumps(later(json.loads(data))).encode())

    service.store.__class__ = Later
    url = service.upload(make_clip(100))
    job, end = service.run(url, segment_s=2)
    assert State.COMPLETED == end.state
    assert not events_so_far(service.store, find_request(service.store, job)).provisional
    again, _ = service.run(url, segment_s=2, name="again")
    assert json.loads(service.file(again, "result.json"))["timing"]["units_scored"] == 0


@pytest.mark.azurite
def test_facts_that_cannot_be_read_are_found_anew(azurite: Azurite) -> None:
    service = InProcessService(azurite.connection_string)
    url = service.upload(make_clip(50))
    service.run(url)
    for path in [path for path in service.store.list("scores/") if path.endswith(".json")]:
        service.store.put(path, service.store.get(path)[:-9])
    _, end = service.run(url, name="again")
    assert State.COMPLETED == end.state


@pytest.mark.azurite
def test_a_run_whose_plan_cannot_be_read_ends_all_the_same(azurite: Azurite) -> None:
    service = InProcessService(azurite.connection_string)
    job = service.accept(service.upload(make_clip(5)))
    run_plan(service.settings, Records(service.store, job))
    path = paths.plan_path(job)
    service.store.put(path, service.store.get(path)[:-9])
    with pytest.raises(RecordUnreadable):
        run_plan(service.settings, Records(service.store, job))
    assert [job] == instances(service.store, job)
    assert State.FAILED == close_run(Records(service.store, job), State.FAILED).state
