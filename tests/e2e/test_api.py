"""The HTTP API, end to end."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any
from urllib.parse import unquote

import jsonschema
import pytest

from infra.local.app import load
from shared.contracts import Result
from tests.support.clips import MEDIA, make_clip
from tests.support.service import Service, problem

pytestmark = [pytest.mark.e2e, pytest.mark.azurite]

CLIP = make_clip(50)
"""For what every job has."""
LIVELY = {"thresholds": {"highlight": 0.1}}


def test_a_posted_url_becomes_an_edl(service: Service, match: bytes) -> None:
    whole: dict[str, Any] = {"models": None, "exhaustive": None}  # the default profile's cascade
    video = service.signed(service.upload(match))
    answer = service.post(video, cut={"title": "Cup final", **LIVELY}, **whole)
    assert answer.status_code == 202
    job = answer.json()["id"]
    assert (
        answer.headers["Location"] == answer.json()["status_url"] == f"{service.host.base_url}/api/jobs/{job}"
    )
    assert int(answer.headers["Retry-After"]) > 0
    status = service.wait(job)
    assert status["state"] == "Completed"
    assert status["progress"]["done"] == status["progress"]["total"] > 1
    assert set(status["links"]) == {"cut.edl", "result.json"}
    edl = service.http.get(status["links"]["cut.edl"])
    assert edl.text.startswith("TITLE: Cup final\nFCM: NON-DROP FRAME\n")
    result = service.http.get(status["links"]["result.json"]).json()
    jsonschema.validate(result, service.http.get("/api/schemas/result.json").json())
    told = Result.model_validate(result)
    assert told.video.duration_frames == 1000
    assert told.cascade is not None
    assert {"action", "players", "play"} <= {said.model for e in told.events for said in e.evidence}
    assert result["video"]["rate"] == "25/1"


def test_the_same_request_is_the_same_job(service: Service) -> None:
    url = service.upload(CLIP)
    first, _ = service.run(url)
    again = service.post(service.signed(url))
    assert (again.status_code, again.json()["id"], again.json()["state"]) == (200, first, "Completed")
    assert service.post(url, name="another").json()["id"] != first


def test_simultaneous_identical_requests_start_one_job(service: Service, match: bytes) -> None:
    url = service.upload(match)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: service.post(url), range(12)))
    assert {answer.status_code for answer in answers} == {202}
    (job,) = {answer.json()["id"] for answer in answers}
    assert service.wait(job)["state"] == "Completed"


def test_an_idempotency_key_names_the_job_and_refuses_another_body(service: Service) -> None:
    url, key = service.upload(CLIP), {"Idempotency-Key": "night-shift-1"}
    first = service.post(url, headers=key)
    assert first.json()["id"] == service.post(url, headers=key).json()["id"]
    assert problem(service.post(url, headers=key, name="x"), 409)["code"] == "idempotency_conflict"
    service.wait(first.json()["id"])


BAD = [
    ({"video": "https://h.example/c/b.mp4", "colour": "red"}, 400, "unknown_field"),
    ({"video": "https://h.example/c/b.mp4", "cut": {"pre_role_s": 1}}, 400, "unknown_field"),
    ({}, 400, "invalid_request"),
    ({"video": 5}, 400, "invalid_request"),
    ({"video": "https://h.example/c/b.mp4", "segment_s": 0}, 400, "invalid_request"),
    ({"video": "https://h.example/c/b.mp4", "cut": {"pre_roll_s": -1}}, 400, "invalid_request"),
    ({"video": "ftp://h.example/c/b.mp4"}, 400, "bad_url"),
    ({"video": "https://h.example/c/b.mp4"}, 403, "host_not_allowed"),
    ({"video": "http://169.254.169.254/latest/meta-data"}, 400, "bad_url"),
]


@pytest.mark.parametrize(
    ("body", "status", "code"), BAD, ids=[f"{code}-{n}" for n, (_, _, code) in enumerate(BAD)]
)
def test_bad_requests_have_a_code_before_anything_starts(
    service: Service, body: dict[str, Any], status: int, code: str
) -> None:
    found = problem(service.http.post("/api/jobs", json=body), status)
    assert code == found["code"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"x" * 70_000])
def test_bodies_that_are_no_request_are_refused(service: Service, content: bytes) -> None:
    assert problem(service.http.post("/api/jobs", content=content), 400)["code"] == "invalid_request"


def test_unknown_fields_are_named(service: Service) -> None:
    body = {"video": "https://h.example/c/b.mp4", "colour": "red"}
    found = problem(service.http.post("/api/jobs", json=body), 400)
    assert [error["field"] for error in found["errors"]] == ["colour"]


def test_options_that_name_what_is_not_there_are_refused(service: Service, match: bytes) -> None:
    url = service.upload(match)
    assert problem(service.post(url, profile="cricket"), 400)["code"] == "unknown_model"
    assert problem(service.post(url, models=["no-such"]), 400)["code"] == "unknown_model"
    assert problem(service.post(url, cut={"thresholds": {"offside": 0.5}}), 400)["code"] == "invalid_request"
    assert problem(service.post(url, cut={"formats": ["papyrus"]}), 400)["code"] == "invalid_request"


def test_a_blob_that_is_not_there_or_not_readable_is_refused_before_202(
    service: Service, match: bytes
) -> None:
    url = service.upload(match)
    assert problem(service.post(url + "x"), 404)["code"] == "blob_not_found"
    signed = service.signed(url)
    start = signed.index("sig=") + 4
    forged = signed[:start] + "AAAAAAAA" + signed[start + 8 :]
    refused = service.post(forged)
    assert problem(refused, 403)["code"] == "blob_access_denied"
    assert "sig=" not in refused.text


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"just text", "not_a_video"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n", "not_a_video"),
        (b"", "not_a_video"),
    ],
    ids=["text", "playlist", "empty"],
)
def test_what_is_no_video_is_the_jobs_error(service: Service, data: bytes, code: str) -> None:
    _, status = service.run(service.upload(data))
    assert (status["state"], status["error"]["code"]) == ("Failed", code)
    assert status["error"]["action"]
    assert status["links"] == {}


@pytest.mark.media
@pytest.mark.skipif(not MEDIA.is_dir(), reason="no real footage beside the checkout")
def test_a_file_without_a_picture_is_the_jobs_error(service: Service) -> None:
    _, status = service.run(service.upload((MEDIA / "rails/video_without_video_stream.mp4").read_bytes()))
    assert (status["state"], status["error"]["code"]) == ("Failed", "no_video_stream")


def test_a_video_above_the_limit_is_the_jobs_error(service: Service) -> None:
    long = make_clip(400, Fraction(1), gop=50)  # 400 s at one frame a second
    _, status = service.run(service.upload(long))
    assert (status["state"], status["error"]["code"]) == ("Failed", "video_too_long")


def test_jobs_and_files_that_are_not_there_are_404(service: Service) -> None:
    for path in ("/api/jobs/m-none", "/api/jobs/UPPER", "/api/jobs/m-none/files/cut.edl"):
        assert problem(service.http.get(path), 404)["code"] == "job_not_found"
    job, _ = service.run(service.upload(CLIP))
    for name in ("plan.json", "request.json", "..%2Frequest.json"):
        assert service.file(job, name).status_code == 404
    assert problem(service.http.delete("/api/jobs/m-none"), 404)["code"] == "job_not_found"


def test_a_cancelled_job_stays_cancelled_and_can_be_posted_again(service: Service, match: bytes) -> None:
    url = service.upload(match)
    job = service.post(url, segment_s=2).json()["id"]
    answer = service.http.delete(f"/api/jobs/{job}")
    assert (answer.status_code, answer.json()["state"]) == (202, "Cancelled")
    assert service.wait(job)["state"] == "Cancelled"
    again = service.http.delete(f"/api/jobs/{job}")
    assert (again.status_code, again.json()["state"]) == (200, "Cancelled")
    assert service.post(url, segment_s=2).json()["id"] == job
    assert service.wait(job)["state"] == "Completed"


def test_the_edl_has_the_same_bytes_for_any_number_of_segments(service: Service, match: bytes) -> None:
    """The whole service: 1, 3 and 20 segments, through orchestration, workers and storage."""
    url = service.upload(match)
    edls = set()
    for segment_s, segments in ((40, 1), (13, 3), (2, 20)):
        job, status = service.run(url, segment_s=segment_s, cut=LIVELY)
        assert status["progress"]["total"] == segments + 1
        edls.add(service.file(job, "cut.edl").content)
    assert len(edls) == 1
    assert b"FROM CLIP NAME" in next(iter(edls))


def test_health_names_models_and_profiles(service: Service) -> None:
    answer = service.http.get("/api/health")
    assert answer.status_code == 200
    assert (answer.json()["storage"], answer.json()["hub"]) == ("ok", "ok")
    assert answer.json()["faults"] == {}
    assert "soccer" in answer.json()["profiles"]
    assert {model["name"] for model in answer.json()["models"]} >= {"crowd-excitement", "motion"}


def test_the_openapi_document_describes_every_route_that_is_served(service: Service) -> None:
    document = service.http.get("/api/openapi.json").json()
    served = set()
    for function in load("function_app").http:
        methods = function.trigger.methods
        served |= {(f"/api/{function.trigger.route}", method.value.lower()) for method in methods}
    described = {
        (path, method)
        for path, methods in document["paths"].items()
        for method in methods
        if method != "parameters"
    }
    assert described == served
    references = set(_references(document))
    assert {name.removeprefix("#/components/schemas/") for name in references} <= set(
        document["components"]["schemas"]
    )
    schema = document["components"]["schemas"]["JobRequest"]
    jsonschema.validators.Draft202012Validator.check_schema(schema)


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in _references(value)]
    if isinstance(node, list):
        return [found for value in node for found in _references(value)]
    return []


def test_the_signature_of_a_sas_appears_nowhere(service: Service, match: bytes) -> None:
    """History, status, logs, results and every blob that a job leaves behind."""
    signed = service.signed(service.upload(match))
    signature = signed.partition("sig=")[2].partition("&")[0]
    job, status = service.run(signed, cut=LIVELY)
    secrets = (signature, unquote(signature))
    everything = {"showHistory": "true", "showHistoryOutput": "true", "showInput": "true"}
    history = service.http.get(f"/runtime/webhooks/durabletask/instances/{job}", params=everything)
    assert len(history.json()["historyEvents"]) > 5
    texts = {
        "status": json.dumps(status),
        "history": history.text,
        "log": service.host.log.read_text(),
        **{name: service.file(job, name).text for name in status["links"]},
    }
    container = service.blobs.get_container_client("matchcut")
    for blob in container.list_blobs():
        if job in blob.name or blob.name.startswith("secrets"):
            texts[blob.name] = container.download_blob(blob.name).readall().decode("utf-8", "replace")
    assert not [name for name in texts if name.startswith(f"secrets/{job}")]
    assert [] == [name for name, text in texts.items() if any(secret in text for secret in secrets)]
