from __future__ import annotations

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest
from starlette.responses import HTMLResponse, RedirectResponse

from client.api import Api
from client.errors import ClientError, Refused, Unreachable, UsageError
from shared.contracts import CutOptions, JobRequest, State
from tests.support.ports import own_port
from tests.support.stub_service import JOB, Service, served
from tests.support.waiting import LIMIT_S

VIDEO = "https://account.example/videos/match.mp4"


def test_a_request_holds_what_was_said_and_no_defaults(service: Service) -> None:
    request = JobRequest(video=VIDEO, cut=CutOptions(pre_roll_s=Decimal("0.1"), thresholds={"shot": 0.6}))
    with Api(service.base_url) as api:
        accepted = api.submit(request, "once")
    assert JOB == accepted.id
    assert f"{service.base_url}/api/jobs/{JOB}" == accepted.status_url
    expected = {"video": VIDEO, "cut": {"pre_roll_s": 0.1, "thresholds": {"shot": 0.6}}}
    assert expected == json.loads(service.seen[0].body)
    assert "once" == service.seen[0].headers["idempotency-key"]
    assert "x-functions-key" not in service.seen[0].headers


def test_following_a_job_ends_with_its_last_state(service: Service) -> None:
    with Api(service.base_url) as api:
        states = [status.state for status in api.follow(JOB)]
    assert [State.QUEUED, State.SCORING, State.SCORING, State.COMPLETED] == states


def test_following_leaves_the_service_alone_as_long_as_it_asked(service: Service) -> None:
    service.steps, service.retry_after = 1, "1"
    with Api(service.base_url) as api:
        list(api.follow(JOB))
    first, second = (seen.at_s for seen in service.seen)
    assert 1.0 <= second - first + 0.02


@pytest.mark.parametrize("text", ["soon", "-1", "Wed, 21 Oct 2015 07:28:00 GMT", "nan", ""])
def test_a_retry_after_that_is_no_number_of_seconds_is_not_obeyed(service: Service, text: str) -> None:
    service.retry_after = text
    with Api(service.base_url) as api:
        assert 2.0 == api.status(JOB).retry_after_s


def test_a_retry_after_of_an_hour_is_cut_short(service: Service) -> None:
    service.retry_after = "3600"
    with Api(service.base_url) as api:
        assert 60.0 == api.status(JOB).retry_after_s


def test_a_cut_connection_is_tried_again_and_told_once(service: Service) -> None:
    service.drop = 2
    told: list[str] = []
    with Api(service.base_url, notice=told.append) as api:
        status = api.status(JOB).status
    assert JOB == status.id
    assert 3 == len(service.seen)
    assert 1 == len(told)


def test_following_survives_a_service_that_goes_and_comes_back(service: Service) -> None:
    other, missed = Service(steps=4), threading.Event()
    with own_port() as port, ThreadPoolExecutor(1) as thread:
        with served(other, port) as base_url:
            api = Api(base_url, patience_s=LIMIT_S, notice=lambda _: missed.set())
            statuses = api.follow(JOB)
            assert State.QUEUED == next(statuses).state
        rest = thread.submit(lambda: [status.state for status in statuses])
        assert missed.wait(LIMIT_S)
        assert not rest.done()
        with served(other, port), api:
            assert [State.SCORING] * 3 + [State.COMPLETED] == rest.result(LIMIT_S)


def test_a_service_that_stays_away_is_given_up_in_time() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with Api(base_url, patience_s=0.5) as api, pytest.raises(Unreachable, match="does not answer"):
            api.read(JOB, "result.json")


def test_a_busy_service_is_tried_again(service: Service) -> None:
    service.busy = 1
    with Api(service.base_url) as api:
        assert State.QUEUED == api.status(JOB).status.state


def test_a_service_that_stays_busy_says_so_itself(service: Service) -> None:
    service.busy = 1000
    with Api(service.base_url) as api, pytest.raises(Refused, match="storage does not answer") as refused:
        api.status(JOB, patience_s=0.5)
    assert "storage_unavailable" == refused.value.code
    assert 2 <= len(service.seen) <= 4


def test_a_problem_is_told_with_its_field_and_what_to_do(service: Service) -> None:
    with Api(service.base_url) as api, pytest.raises(Refused) as refused:
        api.submit(JobRequest(video="https://account.example/videos/missing.mp4"))
    assert "blob_not_found" == refused.value.code
    assert "The video is not there. video: no blob. Upload the blob, or correct its URL." == str(
        refused.value
    )
    assert 1 == len(service.seen)


def test_fields_of_a_newer_service_are_passed_over(service: Service) -> None:
    service.extra = {"queue_position": 3}
    with Api(service.base_url) as api:
        assert JOB == api.submit(JobRequest(video=VIDEO)).id
        assert JOB == api.status(JOB).status.id


def test_another_service_at_the_address_is_told_in_one_sentence(service: Service) -> None:
    service.instead = HTMLResponse("<h1>It works!</h1>")
    with Api(service.base_url) as api, pytest.raises(ClientError, match="check the address"):
        api.status(JOB)


def test_a_redirect_does_not_carry_the_key_away(service: Service) -> None:
    other = Service()
    with served(other) as elsewhere:
        service.instead = RedirectResponse(f"{elsewhere}/api/jobs/{JOB}")
        with Api(service.base_url, key="open-sesame") as api, pytest.raises(ClientError):
            api.status(JOB)
    assert "open-sesame" == service.seen[0].headers["x-functions-key"]
    assert [] == other.seen


def test_a_download_that_breaks_off_is_made_whole(service: Service, tmp_path: Path) -> None:
    service.files = {"cut.edl": b"TITLE: x\n" * 20_000}
    service.drop = 1
    with Api(service.base_url) as api:
        path = api.download(JOB, "cut.edl", tmp_path)
    assert service.files["cut.edl"] == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


def test_a_download_that_fails_leaves_nothing(service: Service, tmp_path: Path) -> None:
    with Api(service.base_url) as api, pytest.raises(Refused, match="no such file"):
        api.download(JOB, "cut.edl", tmp_path)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["../cut.edl", "a/b", "a\\b", "", ".", "..", ".profile", "/etc/passwd", "a\nb"]
)
def test_a_file_name_that_is_a_path_is_never_asked_for(service: Service, tmp_path: Path, name: str) -> None:
    with Api(service.base_url) as api, pytest.raises(ClientError, match="not a plain file name"):
        api.download(JOB, name, tmp_path)
    assert [] == service.seen


@pytest.mark.parametrize("job", ["", "../health", "A", "a" * 81, "m?x=1"])
def test_an_id_that_is_none_is_never_asked_for(service: Service, job: str) -> None:
    with Api(service.base_url) as api, pytest.raises(UsageError):
        api.status(job)
    assert [] == service.seen


@pytest.mark.parametrize(
    "address",
    [
        "",
        "localhost:7071",
        "ftp://host",
        "https://",
        "https://user:pw@host",
        "https://host?code=1",
        "http://h:99999",
    ],
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="address of the API"):
        Api(address)
