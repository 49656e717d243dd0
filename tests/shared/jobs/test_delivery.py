"""A job's callback, from its record to the receiver."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from infra.local.azurite import Azurite
from shared.callbacks import describe_callback, find_callback_record, validate_callback, verify
from shared.callbacks.sending import BACKOFF_S
from shared.contracts import ErrorBody, JobRequest, State, StoredRequest
from shared.errors import FileNotReady
from shared.jobs import deliver
from shared.settings import Settings
from shared.steps import close_run
from shared.storage import BlobStore, Records, Secrets, find_callback_query, keep_secrets, paths
from tests.support.receivers import PATIENT, Play, Receiver, reset, say

pytestmark = pytest.mark.azurite

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TOKEN = "token=quitesecret"
FAILED = ErrorBody(code="not_a_video", message="No.", action="Send one.", retryable=False)


class Told:
    """A run that has ended, and the receiver that it is to tell."""

    def __init__(self, azurite: Azurite, receiver: Receiver, run: int, state: State) -> None:
        given: dict[str, Any] = {
            "callback_hosts": f"127.0.0.1:{receiver.port}",
            "callback_secrets": SECRET,
            "public_base_url": "https://matchcut.example.com",
        }
        self.receiver = receiver
        self.settings = Settings(storage=azurite.connection_string, container="callbacks", **given)
        self.store = BlobStore.from_settings(self.settings)
        callback = validate_callback(self.settings, f"http://127.0.0.1:{receiver.port}/in?{TOKEN}")
        self.stored = StoredRequest(
            job=f"m-{receiver.port}-{run}",
            request=JobRequest(video="https://ours.example/videos/match.mp4", callback=callback.url),
            fingerprint="f",
            etag="e",
            length_bytes=1,
            created=datetime.now(UTC).isoformat(timespec="milliseconds"),
            attempt=2,
        )
        self.run = self.stored.run
        keep_secrets(self.store, self.stored, Secrets(callback=callback.query))
        self.store.put(paths.request_path(self.run), self.stored.model_dump_json().encode())
        if state.ended:
            close_run(Records(self.store, self.run), state, FAILED if state is State.FAILED else None)

    def deliver(self, number: int) -> tuple[str, int]:
        outcome = deliver(self.settings, self.store, self.run, number, patience=PATIENT)
        return outcome["state"], outcome["wait_s"]

    @property
    def statuses(self) -> list[int | str | None]:
        record = find_callback_record(self.store, self.run)
        return [entry.status or entry.error for entry in record.deliveries] if record else []


@pytest.fixture
def tell(azurite: Azurite) -> Iterator[Any]:
    opened: list[Receiver] = []

    def start(*plays: Play, state: State = State.COMPLETED) -> Told:
        opened.append(Receiver(*plays).__enter__())
        return Told(azurite, opened[-1], len(opened), state)

    yield start
    for receiver in opened:
        receiver.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        (State.COMPLETED, "job.completed"),
        (State.COMPLETED_WITH_GAPS, "job.completed_with_gaps"),
        (State.FAILED, "job.failed"),
        (State.CANCELLED, "job.cancelled"),
    ],
)
def test_the_receiver_is_told_how_the_job_ended(state: State, kind: str, tell: Any) -> None:
    told = tell(say(200), state=state)
    assert told.deliver(1) == ("delivered", 0)
    (asked,) = told.receiver.asked
    assert asked.target == f"/in?{TOKEN}"
    assert asked.headers["webhook-id"] == told.run == f"{told.stored.job}-2"
    assert verify([SECRET], asked.headers, asked.body, datetime.now(UTC))
    message = json.loads(asked.body)
    assert message["type"] == kind
    assert datetime.fromisoformat(message["timestamp"]) <= datetime.now(UTC)
    assert message["data"]["id"] == told.stored.job
    assert message["data"]["state"] == state
    assert message["data"]["error"] == (FAILED.model_dump() if state is State.FAILED else None)
    assert "callback" not in message["data"]


def test_attempts_go_on_until_one_arrives_with_the_same_body_and_id(tell: Any) -> None:
    told = tell(say(503), reset, say(429, "Retry-After: 1000"), say(204))
    waits = [told.deliver(number) for number in (1, 2, 3)]
    assert [state for state, _ in waits] == ["pending"] * 3
    assert [BACKOFF_S[0] <= waits[0][1], BACKOFF_S[1] <= waits[1][1], waits[2][1]] == [True, True, 1000]
    # What a straggling unit leaves behind would change the status, and must not change what is sent.
    told.store.put(paths.summary_path(told.run, 0), b"{}")
    assert told.deliver(4) == ("delivered", 0)
    assert told.statuses == [503, "broken_answer", 429, 204]
    assert len({asked.body for asked in told.receiver.asked}) == 1
    assert {asked.headers["webhook-id"] for asked in told.receiver.asked} == {told.run}
    for asked in told.receiver.asked:
        assert verify([SECRET], asked.headers, asked.body, datetime.now(UTC))


def test_an_attempt_that_is_written_down_is_not_made_again(tell: Any) -> None:
    told = tell(say(500), say(200))
    first = told.deliver(1)
    assert told.deliver(1) == first
    assert len(told.receiver.asked) == 1
    told.deliver(2)
    assert [told.deliver(number) for number in (1, 2, 3)] == [("delivered", 0)] * 3
    assert len(told.receiver.asked) == 2


def test_an_attempt_whose_record_was_lost_comes_again_with_the_same_id_and_body(tell: Any) -> None:
    told = tell(say(200))
    told.deliver(1)
    told.store.delete(paths.callback_path(told.run))
    assert told.deliver(1) == ("delivered", 0)
    once, again = told.receiver.asked
    assert (once.headers["webhook-id"], once.body) == (again.headers["webhook-id"], again.body)


def test_a_receiver_that_is_gone_is_left_alone(tell: Any) -> None:
    told = tell(say(410))
    assert told.deliver(1) == ("given_up", 0)
    assert told.deliver(2) == ("given_up", 0)
    assert len(told.receiver.asked) == 1


def test_after_seven_failures_it_is_given_up(tell: Any) -> None:
    told = tell(say(500))
    states = [told.deliver(number)[0] for number in range(1, 9)]
    assert states == ["pending"] * 6 + ["given_up"] * 2
    assert told.statuses == [500] * 7


def test_the_query_is_kept_apart_until_it_is_not_needed_and_shows_nowhere(
    tell: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    told = tell(say(500), say(200))
    told.deliver(1)
    assert find_callback_query(told.store, told.stored) == TOKEN
    told.deliver(2)
    assert find_callback_query(told.store, told.stored) == ""
    left = b"".join(told.store.get(path) for path in told.store.list(f"jobs/{told.run}/"))
    assert b"quitesecret" not in left
    assert SECRET[6:].encode() not in left
    assert "quitesecret" not in caplog.text
    assert SECRET[6:] not in caplog.text


def test_the_status_shows_what_became_of_it(tell: Any) -> None:
    told = tell(say(500), say(200))
    url = f"http://127.0.0.1:{told.receiver.port}/in"

    def shown() -> dict[str, Any]:
        status = describe_callback(told.store, told.stored)
        assert status is not None
        return status.model_dump(mode="json")

    assert shown() == {"url": url, "state": "pending", "deliveries": []}
    told.deliver(1)
    told.deliver(2)
    assert shown()["state"] == "delivered"
    assert [(entry["attempt"], entry["status"]) for entry in shown()["deliveries"]] == [(1, 500), (2, 200)]
    assert set(shown()) == {"url", "state", "deliveries"}


def test_what_the_operator_no_longer_allows_is_not_sent(tell: Any) -> None:
    told = tell(say(200))
    told.settings = told.settings.model_copy(update={"callback_hosts": ("other.example",)})
    assert told.deliver(1)[0] == "pending"
    assert told.statuses == ["callback_not_allowed"]
    assert told.receiver.connections == 0


def test_a_run_that_goes_on_has_nothing_to_tell(tell: Any) -> None:
    told = tell(state=State.SCORING)
    with pytest.raises(FileNotReady):
        told.deliver(1)
    assert told.receiver.connections == 0


def test_a_job_without_a_callback_tells_nobody(tell: Any) -> None:
    told = tell()
    request = told.stored.request.model_copy(update={"callback": None})
    told.stored = told.stored.model_copy(update={"request": request})
    told.store.put(paths.request_path(told.run), told.stored.model_dump_json().encode())
    assert told.deliver(1) == ("none", 0)
    assert describe_callback(told.store, told.stored) is None
    assert told.receiver.connections == 0
