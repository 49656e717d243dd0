"""A whole job in this process, through the same steps as the activities, over Azurite."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.storage.blob import BlobSasPermissions, BlobServiceClient, generate_blob_sas

from shared import jobs
from shared.contracts import EndRecord, Priority, Result, StoredRequest
from shared.models import Track
from shared.settings import Settings
from shared.steps import load_tracks, run_cut, run_look, run_plan, run_score
from shared.storage import BlobStore, Records, paths

LIGHT = {
    "models": ["crowd-excitement", "motion", "pitch-share", "shot-change"],
    "exhaustive": True,
}
"""Requests of tests that are not about the default profile's large networks, which take minutes."""


class InProcessService:
    """One service: its own container, and a `videos` container to upload to.

    A request's options are those of LIGHT, where a test does not name others.
    """

    def __init__(self, connection_string: str, **settings: Any) -> None:
        self.blobs = BlobServiceClient.from_connection_string(connection_string)
        self.settings = Settings(
            storage=connection_string, container=f"service-{uuid.uuid4().hex[:8]}", **settings
        )
        self.store = BlobStore.from_settings(self.settings)
        self.videos = f"videos-{uuid.uuid4().hex[:8]}"
        self.blobs.create_container(self.videos)

    def upload(self, data: bytes, name: str = "match.mp4") -> str:
        blob = self.blobs.get_blob_client(self.videos, name)
        blob.upload_blob(data, overwrite=True)
        return str(blob.url)

    def sas(self, url: str, *, read: bool = True, lasts_s: int = 3600) -> str:
        name = url.rsplit("/", 1)[1]
        query = generate_blob_sas(
            account_name=str(self.blobs.account_name),
            container_name=self.videos,
            blob_name=name,
            account_key=self.blobs.credential.account_key,
            permission=BlobSasPermissions(read=read, write=not read),
            expiry=datetime.now(UTC) + timedelta(seconds=lasts_s),
        )
        return f"{url}?{query}"

    def accept(self, url: str, key: str | None = None, **options: Any) -> str:
        """The run's id: of the job itself, at its first attempt."""
        return self.request(url, key, **options).run

    def request(
        self, url: str, key: str | None = None, priority: Priority = "interactive", **options: Any
    ) -> StoredRequest:
        given = {name: value for name, value in {**LIGHT, **options}.items() if value is not None}
        body = json.dumps({"video": url, **given}).encode()
        return jobs.take_request(self.settings, self.store, jobs.parse_request(body), key, priority)

    def stored(self, run: str) -> StoredRequest:
        return Records(self.store, run).request

    def score(self, job: str) -> int:
        """Both fan-outs; how many units they have."""
        plan = run_plan(self.settings, Records(self.store, job))
        for unit in plan.units:
            run_score(self.settings, Records(self.store, job), unit.index)
        look = run_look(self.settings, Records(self.store, job), ())
        for unit in look.units:
            run_score(self.settings, Records(self.store, job), unit.index)
        return len(plan.units) + len(look.units)

    def run(self, url: str, **options: Any) -> tuple[str, EndRecord]:
        job = self.accept(url, **options)
        self.score(job)
        return job, run_cut(self.settings, Records(self.store, job), {})

    def result(self, job: str) -> Result:
        return Result.model_validate_json(self.file(job, "result.json"))

    def file(self, job: str, name: str) -> bytes:
        return self.store.get(paths.file_path(job, name))

    def tracks(self, job: str) -> dict[str, Track]:
        """Of a job that was scored."""
        units = self.score(job)
        return load_tracks(
            self.store, [run_score(self.settings, Records(self.store, job), index) for index in range(units)]
        )
