from __future__ import annotations

import json
from typing import Any

import pytest

from client.batches import batch_body, describe, follow, table
from client.errors import ClientError, UsageError
from shared.contracts import BatchFailure, BatchStatus, JobSummary, State

ONE, TWO = "https://account.example/videos/1.mp4?sig=x", "https://account.example/videos/2.mp4"


def status(state: str, counts: dict[str, int], **changes: Any) -> BatchStatus:
    total = sum(counts.values())
    given: dict[str, Any] = {
        "id": "b-1",
        "name": None,
        "created": "2026-11-20T22:00:00+00:00",
        "state": state,
    }
    given |= {"total": total, "counts": counts, "eta_s": None, "failures": (), "links": {}}
    return BatchStatus(**given | changes)


def test_a_list_of_urls_becomes_one_object_with_the_options_that_were_given() -> None:
    text = f"# Friday\n{ONE}\n\n  {TWO}  \r\n"
    body, media_type = batch_body(text, "Friday", {"profile": "soccer", "models": None, "strict": False})
    expected = {"name": "Friday", "videos": [ONE, TWO], "options": {"profile": "soccer"}}
    assert (expected, "application/json") == (json.loads(body), media_type)
    assert {"videos": [TWO]} == json.loads(batch_body(TWO, None, {})[0])


@pytest.mark.parametrize(
    ("text", "media_type"),
    [
        (json.dumps({"videos": [ONE]}, indent=1), "application/json"),
        (json.dumps({"video": ONE}), "application/x-ndjson"),
        (json.dumps({"video": ONE}) + "\n" + json.dumps({"video": TWO}), "application/x-ndjson"),
    ],
)
def test_a_body_as_the_api_takes_it_is_sent_as_it_is(text: str, media_type: str) -> None:
    assert (text.encode(), media_type) == batch_body(text, None, {"strict": False})
    with pytest.raises(UsageError):
        batch_body(text, "Friday", {})
    with pytest.raises(UsageError):
        batch_body(text, None, {"strict": True})


@pytest.mark.parametrize("text", ["", "\n# nothing\n"])
def test_a_list_without_a_video_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no video"):
        batch_body(text, None, {})


def test_a_batch_is_told_in_one_line() -> None:
    counts = {"Completed": 499, "Failed": 1, "Refused": 1, "Queued": 240, "Scoring": 9, "Cancelled": 0}
    told = describe(status("Running", counts, eta_s=8100.0))
    assert (
        "Running, 501 of 750: Completed 499, Failed 1, Refused 1, Queued 240, Scoring 9, ETA 2:15:00" == told
    )


def test_a_batch_is_followed_by_its_changes_and_its_failures(capsys: pytest.CaptureFixture[str]) -> None:
    running = status("Running", {"Queued": 2})
    failure = BatchFailure(index=1, video=TWO, job=None, code="blob_not_found", message="It is not there.")
    ended = status("Ended", {"Completed": 1, "Refused": 1}, failures=(failure,))
    with pytest.raises(ClientError, match="1 of 2 have no result"):
        follow([running, running, ended])
    assert [
        "Running, 0 of 2: Queued 2",
        "Ended, 2 of 2: Completed 1, Refused 1",
        f"    2  {TWO}  blob_not_found: It is not there.",
    ] == capsys.readouterr().out.splitlines()
    assert "b-1" == follow([status("Ended", {"Completed": 1, "CompletedWithGaps": 1})]).id


def test_a_list_has_a_line_for_each_job() -> None:
    job = JobSummary(
        id="m-1", name=None, created="2026-11-20T22:00:00.123+00:00", state=State.FAILED, code="not_a_video",
        message=None, status_url="",
    )  # fmt: skip
    assert ["m-1  2026-11-20T22:00:00  Failed             -  not_a_video"] == list(table([job]))
