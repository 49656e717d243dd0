"""Which jobs are started again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from infra.local.resume import resume, unfinished
from shared import names


class Paths:
    """A store that only knows its paths."""

    def __init__(self, *paths: str) -> None:
        self._paths = paths

    def list(self, prefix: str) -> Iterator[str]:
        return (path for path in self._paths if path.startswith(prefix))


class Client:
    def __init__(self, refused: str = "") -> None:
        self.started: list[tuple[str, str, dict[str, str]]] = []
        self._refused = refused

    async def start_new(
        self, orchestration_function_name: str, instance_id: str, client_input: dict[str, str]
    ) -> str:
        if instance_id == self._refused:
            raise RuntimeError("no")
        self.started.append((orchestration_function_name, instance_id, client_input))
        return instance_id


STORE = Paths(
    names.request_path("ended"),
    names.end_path("ended"),
    names.request_path("b-open"),
    names.plan_path("b-open"),
    names.request_path("a-open"),
    names.plan_path("without-request"),
    "scores/request.json",
    "jobs/stray",
)


def test_a_job_with_a_request_and_no_end_is_unfinished() -> None:
    assert ["a-open", "b-open"] == unfinished(STORE)


def test_each_unfinished_job_is_started_under_its_own_id() -> None:
    client = Client()
    assert ["a-open", "b-open"] == asyncio.run(resume(client, STORE))
    expected = [(names.JOB, job, {"job": job}) for job in ("a-open", "b-open")]
    assert expected == client.started


def test_one_that_cannot_be_started_does_not_keep_the_others() -> None:
    assert ["b-open"] == asyncio.run(resume(Client(refused="a-open"), STORE))
