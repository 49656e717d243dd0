"""Batches over HTTP, end to end."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from client.commands import app
from tests.support.clips import make_clip
from tests.support.in_process import LIGHT
from tests.support.service import Service, problem

pytestmark = [pytest.mark.e2e, pytest.mark.azurite]


def test_a_batch_ends_by_itself_and_one_broken_file_costs_only_itself(service: Service) -> None:
    good = [service.upload(make_clip(50, gop=5 + n), f"{n}.mp4") for n in range(10)]
    broken, gone = service.upload(b"no video", "broken.mp4"), good[0].replace("0.mp4", "gone.mp4")
    videos = [*map(service.signed, good), broken, gone]
    answer = service.http.post("/api/batches", json={"name": "Friday", "videos": videos, "options": LIGHT})
    assert answer.status_code == 202, answer.text
    batch = answer.json()["id"]
    assert answer.headers["Location"] == answer.json()["links"]["self"]
    # Somebody who waits is served meanwhile.
    _, status = service.run(service.upload(make_clip(60), "alone.mp4"))
    assert status["state"] == "Completed"
    ended = service.wait_for_batch(batch)
    assert {"Completed": 10, "Failed": 1, "Refused": 1} == ended["counts"]
    assert {(10, "not_a_video"), (11, "blob_not_found")} == {
        (f["index"], f["code"]) for f in ended["failures"]
    }
    rows = list(csv.DictReader(io.StringIO(service.http.get(ended["links"]["csv"]).text)))
    assert 12 == len(rows)
    assert service.http.get(rows[0]["edl"]).text.startswith("TITLE: ")
    listed = service.http.get("/api/jobs", params={"top": 5}).json()
    assert 5 == len(listed["jobs"])
    failed = service.http.get("/api/jobs", params={"state": "Failed", "top": 1000}).json()["jobs"]
    assert "not_a_video" in {job["code"] for job in failed}


def test_json_lines_make_a_batch_too(service: Service) -> None:
    url = service.upload(make_clip(50, gop=7))
    lines = "\n".join(json.dumps({"video": url, "name": name, **LIGHT}) for name in ("a", "b"))
    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "lines-1"}
    first = service.http.post("/api/batches", content=lines, headers=headers)
    again = service.http.post("/api/batches", content=lines, headers=headers)
    assert first.json()["id"] == again.json()["id"]
    assert {"Completed": 2} == service.wait_for_batch(first.json()["id"])["counts"]


def test_a_batch_with_a_faulty_request_is_refused_whole(service: Service) -> None:
    body = {"videos": [service.upload(make_clip(5)), "https://elsewhere.example.com/c/b.mp4"]}
    refused = problem(service.http.post("/api/batches", json=body), 400)
    assert ["videos.1"] == [fault["field"] for fault in refused["errors"]]
    assert problem(service.http.get("/api/batches/b-0"), 404)["code"] == "batch_not_found"
    assert problem(service.http.get("/api/jobs?state=x"), 400)["code"] == "invalid_request"


def test_events_can_be_read_and_a_finished_job_is_not_retried(service: Service, match: bytes) -> None:
    job, _ = service.run(service.upload(match), cut={"thresholds": {"highlight": 0.1}})
    page = service.http.get(f"/api/jobs/{job}/events").json()
    assert (False, True) == (page["provisional"], page["changed"])
    assert len(page["events"]) > 0
    assert not service.http.get(f"/api/jobs/{job}/events", params={"after": page["revision"]}).json()[
        "changed"
    ]
    problem(service.http.get(f"/api/jobs/{job}/events?after=x"), 400)
    assert problem(service.http.post(f"/api/jobs/{job}/retry"), 409)["code"] == "nothing_to_retry"


def test_a_cancelled_job_can_be_retried(service: Service, match: bytes) -> None:
    job = service.post(service.upload(match), segment_s=2).json()["id"]
    service.http.delete(f"/api/jobs/{job}")
    answer = service.http.post(f"/api/jobs/{job}/retry")
    assert (202, job) == (answer.status_code, answer.json()["id"])
    assert service.wait(job)["state"] == "Completed"


def test_the_client_sends_a_list_waits_names_what_failed_and_retries(
    service: Service, tmp_path: Path
) -> None:
    def client(*arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--api", service.host.base_url])

    broken = service.upload(b"no video", "listed.mp4")
    good = service.signed(service.upload(make_clip(50, gop=9)))
    videos = tmp_path / "friday.txt"
    videos.write_text("\n".join([good, broken, f"{broken}.gone"]))
    options = ["--exhaustive", "--model", "motion", "--model", "pitch-share"]
    done = client("batch", "submit", str(videos), *options, "--watch")
    assert 1 == done.exit_code
    assert "Ended, 3 of 3: " in done.stdout
    assert "not_a_video" in done.stdout
    assert "error: 2 of 3 have no result" in done.stderr
    batch = done.stdout.split()[1]
    assert done.stderr.endswith(f"`batch csv {batch}` names them all.\n")
    rows = list(csv.DictReader(io.StringIO(client("batch", "csv", batch).stdout)))
    assert ["Completed", "Failed", "Refused"] == [row["state"] for row in rows]
    assert f"{rows[1]['job']}  " in client("list", "--state", "Failed", "--top", "5").stdout
    again = client("retry", rows[1]["job"])
    assert 0 == again.exit_code, again.output
    assert again.stdout.endswith(f"/api/jobs/{rows[1]['job']}\n")
    assert "nothing" in client("retry", rows[0]["job"]).stderr
