"""The service's own blob container: read, write, list and remove small blobs by path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import BlobServiceClient, ContainerClient, ContentSettings

from shared.errors import BadUrl, BlobNotFound, InvalidRequest, StorageUnavailable
from shared.settings import Settings
from shared.storage.clients import service_of, translated, translated_own


@dataclass(frozen=True)
class BlobEntry:
    """A blob as a listing describes it."""

    path: str
    etag: str
    length_bytes: int
    modified: datetime
    """When it was last written, by storage's clock, in whole seconds."""


REUSED = timedelta(hours=6)
"""`reuse` does not touch a blob that was written within this time."""
_MOST_DELETED = 256


def _entry(properties: Any) -> BlobEntry:
    return BlobEntry(
        str(properties.name), str(properties.etag), int(properties.size), properties.last_modified
    )


class BlobStore:
    """A container of the service. Every write replaces a whole blob, atomically.

    Every method raises StorageUnavailable during a storage outage.
    """

    def __init__(self, service: BlobServiceClient, container: str) -> None:
        self._container: ContainerClient = service.get_container_client(container)

    @classmethod
    def from_settings(cls, settings: Settings, patient: bool = True) -> Self:
        """The service's container; creates it where it does not exist.

        patient: False for a caller that waits for an answer: requests then fail within about ten seconds
        (clients.PROMPT) instead of a minute (clients.PATIENT).
        """
        store = cls(service_of(settings.storage, patient), settings.container)
        with translated_own("the service's container"):
            if not store._container.exists():
                with suppress(ResourceExistsError):  # another process created it first
                    store._container.create_container()
        return store

    @classmethod
    def models(cls, settings: Settings, patient: bool = True) -> BlobStore | None:
        """The operator's container of models; None where the settings name none. It is never created here."""
        if not settings.models_container:
            return None
        return cls(service_of(settings.storage, patient), settings.models_container)

    def get(self, path: str, etag: str | None = None) -> bytes:
        """The blob's content. Raises BlobNotFound, and VideoChanged where it no longer has this `etag`."""
        condition: dict[str, Any] = {}
        if etag:
            condition = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
        with translated_own(path):
            return bytes(self._container.download_blob(path, **condition).readall())

    def find(self, path: str) -> bytes | None:
        """The blob's content, or None where there is none."""
        try:
            return self.get(path)
        except BlobNotFound:
            return None

    def put(
        self,
        path: str,
        data: bytes,
        content_type: str = "application/json",
        metadata: dict[str, str] | None = None,
    ) -> None:
        """Write the blob, whether it exists or not. metadata: ASCII; `page` lists it."""
        settings = ContentSettings(content_type=content_type)
        with translated_own(path):
            self._container.upload_blob(
                path, data, overwrite=True, content_settings=settings, metadata=metadata
            )

    def put_new(self, path: str, data: bytes) -> bool:
        """Write the blob unless it exists. Exactly one of several callers gets True: its data is stored."""
        with translated_own(path):
            try:
                self._container.upload_blob(
                    path,
                    data,
                    overwrite=False,
                    content_settings=ContentSettings(content_type="application/json"),
                )
            except ResourceExistsError:
                return False
        return True

    def exists(self, path: str) -> bool:
        with translated_own(path):
            return self._container.get_blob_client(path).exists()

    def list(self, prefix: str, page_size: int | None = None) -> Iterator[str]:
        """Paths of blobs, in order. page_size: choose a small one where the caller usually stops early
        (default 5000)."""
        with translated_own(prefix):
            yield from self._container.list_blob_names(name_starts_with=prefix, results_per_page=page_size)

    def page(
        self, prefix: str, size: int, continuation: str | None = None
    ) -> tuple[Sequence[tuple[str, dict[str, str]]], str | None]:
        """(path and metadata of at most `size` blobs, by path; the continuation of the next page, None at the
        end). size: at most 5000.

        Raises InvalidRequest for a continuation that storage did not give.
        """
        pages: Any = self._container.list_blobs(
            name_starts_with=prefix, include=["metadata"], results_per_page=size
        ).by_page(continuation)
        try:
            with translated(prefix):
                found = [(str(blob.name), dict(blob.metadata or {})) for blob in next(pages, ())]
        except BadUrl:
            raise InvalidRequest("This is no continuation that the service gave.") from None
        return found, pages.continuation_token or None

    def metadata(self, path: str) -> dict[str, str] | None:
        """The blob's metadata; None where there is no such blob."""
        try:
            with translated_own(path):
                return dict(self._container.get_blob_client(path).get_blob_properties().metadata or {})
        except BlobNotFound:
            return None

    def entries(self, prefix: str = "") -> Iterator[BlobEntry]:
        """Every blob, in the order of their paths, read page by page. Raises BlobNotFound where the container
        does not exist."""
        with translated_own(f"the container {self._container.container_name}"):
            for blob in self._container.list_blobs(name_starts_with=prefix or None):
                yield _entry(blob)

    def entry(self, path: str) -> BlobEntry | None:
        """This blob as `entries` gives it; None where there is no such blob."""
        try:
            with translated_own(path):
                return _entry(self._container.get_blob_client(path).get_blob_properties())
        except BlobNotFound:
            return None

    def reuse(self, path: str) -> bool:
        """Whether the blob exists. If it does, it counts as written within the last REUSED from now on.

        An older blob is written again, which changes its ETag: retention, which removes only unchanged blobs,
        then keeps it.
        """
        found = self.entry(path)
        if found is None:
            return False
        return found.modified >= self._now() - REUSED or self._touch(path)

    def _now(self) -> datetime:
        return datetime.now(UTC)

    def _touch(self, path: str) -> bool:
        try:
            with translated_own(path):
                self._container.get_blob_client(path).set_blob_metadata({"reused": "1"})
        except BlobNotFound:  # removed since `entry` saw it
            return False
        return True

    def replace(self, path: str, data: bytes, etag: str) -> bool:
        """Overwrite the blob if it still has this ETag; whether it had."""
        with translated_own(path):
            try:
                self._container.upload_blob(
                    path, data, overwrite=True, etag=etag, match_condition=MatchConditions.IfNotModified
                )
            except (ResourceModifiedError, ResourceNotFoundError):
                return False
        return True

    def delete_unchanged(self, entries: Iterable[BlobEntry]) -> Sequence[BlobEntry]:
        """Remove the blobs that still have the ETags of their entries; the entries whose blobs were removed.

        It sends 256 removals in a request, as many as storage accepts.
        """
        removed, listed = [], list(entries)
        for start in range(0, len(listed), _MOST_DELETED):
            part = listed[start : start + _MOST_DELETED]
            deletions: Any = [
                {"name": entry.path, "etag": entry.etag, "match_condition": MatchConditions.IfNotModified}
                for entry in part
            ]
            with translated_own("a removal"):
                answers: Any = self._container.delete_blobs(*deletions, raise_on_any_failure=False)
                statuses = [int(answer.status_code) for answer in answers]
            if unexpected := {status for status in statuses if status not in (202, 404, 412)}:
                raise StorageUnavailable(f"Storage answered {min(unexpected)} for a removal.")
            removed += [entry for entry, status in zip(part, statuses, strict=True) if status == 202]
        return removed

    def delete(self, path: str) -> None:
        """Remove the blob, if it exists."""
        with suppress(BlobNotFound), translated_own(path):
            self._container.delete_blob(path)
