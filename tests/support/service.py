"""A service as its users meet it: the embedded host over HTTP, Azurite behind it."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from azure.storage.blob import BlobSasPermissions, BlobServiceClient, generate_blob_sas

from infra.local.embedded import EmbeddedHost
from tests.support.in_process import LIGHT
from tests.support.waiting import until

END_LIMIT_S = 240.0
"""Of a job or a batch, on a machine that is busy with others."""


class Service:
    def __init__(self, host: EmbeddedHost) -> None:
        self.host = host
        self.http = httpx.Client(base_url=host.base_url, timeout=60)
        self.blobs = BlobServiceClient.from_connection_string(host.connection_string)

    def upload(self, data: bytes, name: str = "match.mp4") -> str:
        container = self.blobs.get_container_client("videos")
        if not container.exists():
            container.create_container()
        client = container.get_blob_client(f"{uuid.uuid4().hex[:8]}/{name}")
        client.upload_blob(data)
        return str(client.url)

    def signed(self, url: str) -> str:
        blob = url.partition("/videos/")[2]
        sas = generate_blob_sas(
            account_name=str(self.blobs.account_name),
            container_name="videos",
            blob_name=blob,
            account_key=self.blobs.credential.account_key,
            permission=BlobSasPermissions(read=True),
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )
        return f"{url}?{sas}"

    def post(self, video: str, headers: dict[str, str] | None = None, **options: Any) -> httpx.Response:
        """Options are those of LIGHT where the test names no others; None leaves one out."""
        given = {name: value for name, value in {**LIGHT, **options}.items() if value is not None}
        return self.http.post("/api/jobs", json={"video": video, **given}, headers=headers)

    def wait(self, job: str, limit_s: float = END_LIMIT_S) -> dict[str, Any]:
        """The job's final status; every answer until then is 202 with Retry-After."""
        return self._ended(f"/api/jobs/{job}", limit_s)

    def wait_for_batch(self, batch: str, limit_s: float = END_LIMIT_S) -> dict[str, Any]:
        """As wait(), for a batch."""
        return self._ended(f"/api/batches/{batch}", limit_s)

    def _ended(self, path: str, limit_s: float) -> dict[str, Any]:
        status: dict[str, Any] = {}

        def over() -> bool:
            nonlocal status
            answer = self.http.get(path)
            status = answer.json()
            assert answer.status_code in (200, 202), answer.text
            if answer.status_code == 202:
                assert int(answer.headers["Retry-After"]) > 0
            return answer.status_code == 200

        until(over, lambda: f"{path} did not end: {status}", limit_s)
        return status

    def run(self, video: str, **options: Any) -> tuple[str, dict[str, Any]]:
        answer = self.post(video, **options)
        assert answer.status_code == 202, answer.text
        job = answer.json()["id"]
        return job, self.wait(job)

    def file(self, job: str, name: str) -> httpx.Response:
        return self.http.get(f"/api/jobs/{job}/files/{name}")


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert status == answer.status_code, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    body: dict[str, Any] = answer.json()
    assert status == body["status"]
    assert all(body[field] for field in ("type", "title", "detail", "code", "action"))
    return body
