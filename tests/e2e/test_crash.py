"""kill -9 in the middle of a job, and what it costs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.local.embedded import EmbeddedHost
from shared.storage import paths
from tests.support.ports import own_port
from tests.support.service import Service
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.azurite]

WORKERS = 2


@pytest.fixture
def port() -> Iterator[int]:
    """Of the storage in both lives: the URL of the video names it."""
    with own_port() as free:
        yield free


def test_a_killed_host_resumes_and_scores_only_what_was_in_flight_again(
    match: bytes, tmp_path: Path, port: int
) -> None:
    options: dict[str, Any] = {"segment_s": 2, "cut": {"thresholds": {"highlight": 0.1}}}

    def host() -> EmbeddedHost:
        return EmbeddedHost(data=tmp_path / "data", workers=WORKERS, azurite_port=port)

    with host() as first:
        service = Service(first)
        url = service.upload(match)
        job = service.post(url, **options).json()["id"]
        until(lambda: service.http.get(f"/api/jobs/{job}").json()["progress"]["done"] >= 5)
        finished = units(service, job)
        first.kill()

    with host() as second:
        service = Service(second)
        status = service.wait(job)
        assert status["state"] == "Completed"
        summaries = units(service, job)
        total, reused = len(summaries), {unit for unit, cached in summaries.items() if cached}
        assert total == 21
        assert set(finished) <= reused
        # Scored in the second life: what had not begun, and what was in flight. The first life began
        # its units in order and had at most one in flight for each worker.
        scored = set(summaries) - reused
        begun = {unit for unit in scored if unit < max(finished)}
        assert len(begun) <= WORKERS
        undisturbed, _ = service.run(url, segment_s=7, cut=options["cut"])
        assert service.file(undisturbed, "cut.edl").content == service.file(job, "cut.edl").content
        assert b"FROM CLIP NAME" in service.file(job, "cut.edl").content


def units(service: Service, job: str) -> dict[int, bool]:
    """Finished units -> whether all of their scores had been there."""
    container = service.blobs.get_container_client("matchcut")
    found = {}
    for name in container.list_blob_names(name_starts_with=paths.summaries_path(job)):
        summary = json.loads(container.download_blob(name).readall())
        found[summary["unit"]] = summary["cached"]
    return found
