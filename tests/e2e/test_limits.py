"""Keys, limits and the daily sweep on a running service."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from infra.local.embedded import EmbeddedHost
from tests.support.clips import make_clip
from tests.support.in_process import LIGHT
from tests.support.service import Service, problem
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.azurite]

ANNA, BERT = {"x-functions-key": "anna-key-0123456789"}, {"x-functions-key": "bert-key-0123456789"}
SETTINGS = {
    "MATCHCUT_FUNCTION_KEYS": f"anna={ANNA['x-functions-key']},bert={BERT['x-functions-key']}",
    "MATCHCUT_MAX_OPEN_JOBS": "4",
    "MATCHCUT_MAX_OPEN_JOBS_PER_KEY": "2",
    "MATCHCUT_RETENTION_SCHEDULE": "* * * * * *",
}


@pytest.fixture(scope="module")
def closed() -> Iterator[Service]:
    with EmbeddedHost(workers=1, env=SETTINGS) as host:
        yield Service(host)


def test_nobody_without_a_key_gets_in(closed: Service) -> None:
    described = closed.http.get("/api/openapi.json").json()["paths"]
    refused: set[tuple[str, str]] = set()
    let_in: set[tuple[str, str]] = set()
    for path, operations in described.items():
        for method in operations.keys() - {"parameters"}:
            url = path.replace("{id}", "m-0").replace("{name}", "cut.edl")
            for headers in ({}, {"x-functions-key": "guess-0123456789"}):
                status = closed.http.request(method, url, headers=headers).status_code
                (refused if status == 401 else let_in).add((method, path))
    assert let_in == {("get", f"/api/{name}") for name in ("health", "openapi.json", "schemas/result.json")}
    assert len(refused) == sum(len(o.keys() - {"parameters"}) for o in described.values()) - 3
    assert all("401" in described[path][method]["responses"] for method, path in refused)


def batch(service: Service, count: int, headers: dict[str, str]) -> httpx.Response:
    videos = [service.upload(make_clip(5)) for _ in range(count)]
    return service.http.post("/api/batches", json={"videos": videos, "options": LIGHT}, headers=headers)


def test_what_is_too_much_is_refused_with_a_code_and_when_to_come_back(closed: Service) -> None:
    refused = batch(closed, 3, ANNA)
    assert "too_many_jobs" == problem(refused, 429)["code"]
    assert int(refused.headers["Retry-After"]) > 0
    assert 202 == batch(closed, 2, BERT).status_code
    assert 202 == batch(closed, 2, ANNA).status_code


def test_the_sweep_runs_by_the_clock_and_no_key_is_told(closed: Service) -> None:
    until(lambda: "retention removed: " in closed.host.log.read_text())
    log = closed.host.log.read_text()
    for key in (ANNA, BERT):
        assert key["x-functions-key"] not in log
