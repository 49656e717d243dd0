"""A unit that ends its whole pod each time it begins, so that nobody is left to say that it failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.local.azurite import Azurite
from infra.local.embedded import EmbeddedHost
from shared.steps.begun import MOST_BEGUN
from shared.storage import paths
from tests.support.clips import make_clip
from tests.support.deadly import DEADLY_UNIT
from tests.support.service import Service

pytestmark = [pytest.mark.e2e, pytest.mark.azurite]


def test_a_unit_that_kills_host_and_worker_each_time_is_a_declared_gap_at_the_third(
    azurite: Azurite, tmp_path: Path
) -> None:
    begin = tmp_path / "begin"

    def life() -> EmbeddedHost:
        return EmbeddedHost(
            app="tests.support.deadly",
            workers=1,
            storage=azurite.connection_string,
            env={"MATCHCUT_CONTAINER": "deadly", "DEADLY_FROM": str(begin)},
        )

    job = ""
    for _ in range(MOST_BEGUN):
        with life() as host:
            service = Service(host)
            job = job or service.post(service.upload(make_clip(150)), segment_s=2).json()["id"]
            begin.touch()
            host.wait(120)

    with life() as host:
        service = Service(host)
        assert "CompletedWithGaps" == service.wait(job)["state"]
        (gap,) = service.file(job, "result.json").json()["gaps"]
        assert (48, 96, "worker_killed") == (gap["start_frame"], gap["end_frame"], gap["code"])
        container = service.blobs.get_container_client("deadly")
        others = [paths.summary_path(job, unit) for unit in (0, 2)]
        assert others == list(container.list_blob_names(name_starts_with=paths.summaries_path(job)))
        left = [paths.begun_path(job, paths.unit_step(DEADLY_UNIT), n + 1) for n in range(MOST_BEGUN)]
        assert left == list(container.list_blob_names(name_starts_with=f"jobs/{job}/begun/"))
