"""A job of the sample match (tests/golden/job), as it was stored before the core lay in packages."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.local.azurite import Azurite
from shared.contracts import (
    Choice,
    Contract,
    EndRecord,
    Look,
    Plan,
    Result,
    State,
    StoredRequest,
    UnitSummary,
)
from shared.jobs import describe, events_so_far, result_file, see
from shared.settings import ROOT, Settings
from shared.storage import BlobStore, Records
from shared.timelines import write_timeline

JOB = "m-c843338fbfe7e9ae704459a1"
FOLDER = ROOT / "tests" / "golden" / "job"
KINDS: dict[str, type[Contract]] = {
    "choice.json": Choice,
    "end.json": EndRecord,
    "look.json": Look,
    "plan.json": Plan,
    "request.json": StoredRequest,
    **{f"segments/{unit:05d}.json": UnitSummary for unit in range(12)},
}


def stored(path: Path) -> bytes:
    """As it was stored: our files end with a line, the records do not."""
    return path.read_bytes().rstrip(b"\n")


@pytest.fixture
def store(azurite: Azurite) -> BlobStore:
    settings = Settings(storage=azurite.connection_string, container=f"old-{uuid.uuid4().hex[:8]}")
    store = BlobStore.from_settings(settings)
    for name in KINDS:
        store.put(f"jobs/{JOB}/{name}", stored(FOLDER / name))
    store.put(f"jobs/{JOB}/out/result.json", stored(FOLDER / "result.json"))
    return store


@pytest.mark.parametrize("name", KINDS)
def test_a_stored_record_is_read_and_would_be_stored_with_the_same_bytes(name: str) -> None:
    data = stored(FOLDER / name)
    assert data == KINDS[name].of_record(data).model_dump_json().encode()


def test_a_stored_result_is_read_and_would_be_written_with_the_same_bytes() -> None:
    data = stored(FOLDER / "result.json")
    assert data == write_timeline(Result.of_record(data), "json").rstrip(b"\n")


@pytest.mark.azurite
def test_a_stored_job_is_told_of_as_before(store: BlobStore) -> None:
    settings = Settings(storage="UseDevelopmentStorage=true")
    status = describe(settings, store, see(store, JOB), None, datetime.now(UTC))
    assert (State.COMPLETED, 1.0) == (status.state, status.progress.fraction)
    result, media_type = result_file(store, JOB, "result.json")
    assert "application/json" == media_type
    stored_request = Records(store, JOB).request
    events = events_so_far(store, stored_request).events
    assert len(json.loads(result)["events"]) == len(events) > 0


@pytest.mark.azurite
def test_the_records_of_a_stored_job_are_all_found(store: BlobStore) -> None:
    records = Records(store, JOB)
    units = (*records.plan.units, *records.look.units)
    assert list(range(12)) == [unit.index for unit in units]
    assert [unit.index for unit in units] == [records.summary(unit.index).unit for unit in units]
    assert records.choice.profile.name == records.plan.profile == "soccer"
    assert records.find_end() is not None
