"""Callbacks over HTTP, end to end."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from infra.local.embedded import EmbeddedHost
from shared.callbacks import verify
from tests.support.clips import make_clip
from tests.support.receivers import Receiver, reset, say
from tests.support.service import Service
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.azurite]

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_a_receiver_is_told_how_each_job_ended_even_when_it_was_away(match: bytes) -> None:
    # Nobody answers the first call: it comes again five seconds later.
    with Receiver(reset, say(204)) as receiver:
        env = {"MATCHCUT_CALLBACK_HOSTS": f"127.0.0.1:{receiver.port}", "MATCHCUT_CALLBACK_SECRETS": SECRET}
        with EmbeddedHost(workers=1, env=env) as host:
            service = Service(host)
            callback = f"http://127.0.0.1:{receiver.port}/in?token=quitesecret"
            done, _ = service.run(service.upload(make_clip(50)), callback=callback)
            stopped = service.post(service.upload(match), callback=callback, segment_s=2).json()["id"]
            service.http.delete(f"/api/jobs/{stopped}")

            def states() -> list[str]:
                statuses = [service.http.get(f"/api/jobs/{job}") for job in (done, stopped)]
                assert not [status for status in statuses if "quitesecret" in status.text]
                return [status.json()["callback"]["state"] for status in statuses]

            until(lambda: states() == ["delivered"] * 2, lambda: (states(), receiver.asked))
            assert "quitesecret" not in host.log.read_text()
    told = {}
    for asked in receiver.asked:
        assert asked.target == "/in?token=quitesecret"
        assert verify([SECRET], asked.headers, asked.body, datetime.now(UTC))
        told[asked.headers["webhook-id"]] = json.loads(asked.body)["type"]
    assert {done: "job.completed", stopped: "job.cancelled"} == told
    assert 3 == len(receiver.asked)  # one of them came twice, under the same id


def test_a_callback_to_a_host_that_is_not_listed_is_refused(service: Service) -> None:
    answer = service.post(service.upload(make_clip(5)), callback="https://elsewhere.example.com/in")
    assert (403, "callback_not_allowed") == (answer.status_code, answer.json()["code"])
