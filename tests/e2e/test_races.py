"""Callers who get in each other's way: of a job one run lives, none is lost, and each ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.service import Service, problem
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.azurite]

LONG: dict[str, Any] = {"segment_s": 2}
OVER = ("Completed", "Failed", "Terminated", "Canceled")


def at_once(*calls: Callable[[], httpx.Response]) -> list[httpx.Response]:
    with ThreadPoolExecutor(len(calls)) as pool:
        return [answer.result() for answer in [pool.submit(call) for call in calls]]


def runs(service: Service, job: str) -> dict[str, str]:
    """Durable instances of the job's attempts -> their runtime status."""
    found = service.http.get(
        "/runtime/webhooks/durabletask/instances", params={"instanceIdPrefix": job, "top": 100}
    ).json()
    return {one["instanceId"]: one["runtimeStatus"] for one in found if one["name"] == "job"}


def live(service: Service, job: str) -> list[str]:
    return [run for run, status in runs(service, job).items() if status not in OVER]


def most_alive(service: Service, job: str, over: threading.Event) -> int:
    """How many runs of the job lived at once, at most, until `over`."""
    store, most = service.blobs.get_container_client("matchcut"), 0
    while not over.wait(0.02):
        alive = set(live(service, job))
        # An attempt that was cancelled may take a moment to end: its last word stands already.
        names = store.list_blob_names(name_starts_with=f"jobs/{job}")
        most = max(most, len(alive - {name.split("/")[1] for name in names if name.endswith("/end.json")}))
    return most


def until_status(service: Service, job: str, done: Callable[[dict[str, Any]], bool]) -> None:
    until(lambda: done(service.http.get(f"/api/jobs/{job}").json()))


def settled(service: Service, job: str, *states: str) -> dict[str, Any]:
    """The job's end, which is one of these; and nothing of it goes on or stands in the queue."""
    status = service.wait(job)
    assert status["state"] in states
    until(lambda: not live(service, job), lambda: runs(service, job))
    store = service.blobs.get_container_client("matchcut")
    assert [] == [name for name in store.list_blob_names(name_starts_with="open/") if job in name]
    assert status["state"] == service.http.get(f"/api/jobs/{job}").json()["state"]
    return status


def test_fifty_identical_posts_at_once_are_one_job(service: Service, match: bytes) -> None:
    url = service.upload(match)
    answers = at_once(*[lambda: service.post(url)] * 50)
    assert {202} == {answer.status_code for answer in answers}
    (job,) = {answer.json()["id"] for answer in answers}
    assert [job] == list(runs(service, job))
    settled(service, job, "Completed")
    assert [job] == list(runs(service, job))


def test_fifty_posts_at_once_with_one_key_are_one_job_and_other_bodies_are_refused(
    service: Service, match: bytes
) -> None:
    url, key = service.upload(match), {"Idempotency-Key": "race-50"}
    first = service.post(url, headers=key)
    same = [lambda: service.post(url, headers=key)] * 25
    other = [lambda: service.post(url, headers=key, name="another")] * 25
    answers = at_once(*same, *other)
    assert {first.json()["id"]} == {answer.json()["id"] for answer in answers[:25]}
    assert {"idempotency_conflict"} == {problem(answer, 409)["code"] for answer in answers[25:]}
    settled(service, first.json()["id"], "Completed")


def test_of_two_bodies_that_race_for_one_key_one_wins(service: Service, match: bytes) -> None:
    url, key = service.upload(match), {"Idempotency-Key": "race-2"}
    names = [f"n{n % 2}" for n in range(20)]
    answers = at_once(*[lambda name=name: service.post(url, headers=key, name=name) for name in names])
    won = {name for name, answer in zip(names, answers, strict=True) if answer.status_code == 202}
    assert 1 == len(won)
    assert {202, 409} == {answer.status_code for answer in answers}
    (job,) = {answer.json()["id"] for answer in answers if answer.status_code == 202}
    assert settled(service, job, "Completed")["name"] in won


@pytest.mark.parametrize("moment", ["at once", "while it is planned", "while it is scored"])
def test_a_cancelled_job_ends_and_no_run_of_it_lives_on(service: Service, match: bytes, moment: str) -> None:
    job = service.post(service.upload(match), **LONG).json()["id"]
    if moment == "while it is planned":
        until_status(service, job, lambda status: status["state"] != "Queued")
    elif moment == "while it is scored":
        until_status(service, job, lambda status: status["progress"]["done"] > 0)
    answers = at_once(*[lambda: service.http.delete(f"/api/jobs/{job}")] * 5)
    assert {"Cancelled"} == {answer.json()["state"] for answer in answers}
    assert {202, 200} >= {answer.status_code for answer in answers}
    settled(service, job, "Cancelled")


def test_a_retry_of_a_job_that_runs_is_the_job(service: Service, match: bytes) -> None:
    job = service.post(service.upload(match), **LONG).json()["id"]
    until_status(service, job, lambda status: status["progress"]["done"] > 0)
    answers = at_once(*[lambda: service.http.post(f"/api/jobs/{job}/retry")] * 10)
    assert {202} == {answer.status_code for answer in answers}
    assert [job] == list(runs(service, job))
    settled(service, job, "Completed")


def test_ten_retries_at_once_of_a_cancelled_job_are_one_attempt(service: Service, match: bytes) -> None:
    job = service.post(service.upload(match), **LONG).json()["id"]
    service.http.delete(f"/api/jobs/{job}")
    answers = at_once(*[lambda: service.http.post(f"/api/jobs/{job}/retry")] * 10)
    assert {202} == {answer.status_code for answer in answers}
    settled(service, job, "Completed")
    assert {f"{job}-2"} >= runs(service, job).keys() - {job}


@pytest.mark.parametrize("turn", range(3))
def test_cancels_retries_and_posts_at_once_leave_at_most_one_live_run_and_an_end(
    service: Service, match: bytes, turn: int
) -> None:
    url = service.upload(match)
    job = service.post(url, **LONG).json()["id"]
    if turn:
        until_status(service, job, lambda status: status["progress"]["done"] >= turn)

    cancel = [lambda: service.http.delete(f"/api/jobs/{job}")] * 4
    retry = [lambda: service.http.post(f"/api/jobs/{job}/retry")] * 4
    post = [lambda: service.post(url, **LONG)] * 2
    over = threading.Event()
    with ThreadPoolExecutor(1) as watcher:
        most = watcher.submit(most_alive, service, job, over)
        try:
            answers = at_once(*cancel, *retry, *post)
            assert {200, 202} >= {answer.status_code for answer in answers}, [a.text for a in answers]
            settled(service, job, "Completed", "Cancelled")
        finally:
            over.set()
    assert 1 >= most.result()
    # Whatever won, the job can be had.
    service.post(url, **LONG)
    settled(service, job, "Completed")
