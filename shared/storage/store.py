"""The service's own container: small documents by path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from azure.core import MatchConditions
from azure.core.exceptions import (
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob import BlobServiceClient, ContainerClient, ContentSettings

from shared.errors import (
    BadUrl,
    BlobNotFound,
    InvalidRequest,
    StorageUnavailable,
)
from shared.settings import Settings
from shared.storage.clients import service_of, translated, translated_own


@dataclass(frozen=True)
class BlobEntry:
    """A blob as a listing names it."""

    path: str
    etag: str
    length_bytes: int
    modified: datetime
    """When it was written last, by storage's clock, in whole seconds."""


REUSED = timedelta(hours=6)
"""A blob that was written no longer ago need not be touched when it is used again."""
_MOST_DELETED = 256


def _entry(properties: Any) -> BlobEntry:
    return BlobEntry(
        str(properties.name), str(properties.etag), int(properties.size), properties.last_modified
    )


class BlobStore:
    """The service's container: small documents by path. Writes are whole and atomic."""

    def __init__(self, service: BlobServiceClient, container: str) -> None:
        self._container: ContainerClient = service.get_container_client(container)

    @classmethod
    def from_settings(cls, settings: Settings, patient: bool = True) -> Self:
        """The store of these settings; makes the container where it is missing.

        Not `patient`: it gives up on storage within seconds, for callers that wait for an answer.
        """
        store = cls(service_of(settings.storage, patient), settings.container)
        with translated_own("the service's container"):
            if not store._container.exists():
                with suppress(ResourceExistsError):  # another process was faster
                    store._container.create_container()
        return store

    @classmethod
    def models(cls, settings: Settings, patient: bool = True) -> BlobStore | None:
        """The container with models of these settings; it is the operator's, and not made here."""
        if not settings.models_container:
            return None
        return cls(service_of(settings.storage, patient), settings.models_container)

    def get(self, path: str, etag: str | None = None) -> bytes:
        """The blob's content; with an ETag, VideoChanged where it is another by now."""
        same: dict[str, Any] = {}
        if etag:
            same = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
        with translated_own(path):
            return bytes(self._container.download_blob(path, **same).readall())

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
        """metadata: ASCII, told by `page` without reading the blob."""
        settings = ContentSettings(content_type=content_type)
        with translated_own(path):
            self._container.upload_blob(
                path, data, overwrite=True, content_settings=settings, metadata=metadata
            )

    def put_new(self, path: str, data: bytes) -> bool:
        """Write unless it is there; True for the one caller of many that wrote it."""
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

    def list(self, prefix: str, at_a_time: int | None = None) -> Iterator[str]:
        """at_a_time: for who reads on only if the first ones do not suffice (5000)."""
        with translated_own(prefix):
            yield from self._container.list_blob_names(name_starts_with=prefix, results_per_page=at_a_time)

    def page(
        self, prefix: str, size: int, continuation: str | None = None
    ) -> tuple[Sequence[tuple[str, dict[str, str]]], str | None]:
        """(path and metadata of at most `size` blobs (5000), by path; where to go on, None at the end).

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
        """What the blob's listing would tell; None where there is none."""
        try:
            with translated_own(path):
                return dict(self._container.get_blob_client(path).get_blob_properties().metadata or {})
        except BlobNotFound:
            return None

    def entries(self, prefix: str = "") -> Iterator[BlobEntry]:
        """Every blob, by path, page by page. Raises BlobNotFound where there is no such container."""
        with translated_own(f"the container {self._container.container_name}"):
            for blob in self._container.list_blobs(name_starts_with=prefix or None):
                yield _entry(blob)

    def entry(self, path: str) -> BlobEntry | None:
        """What the listing says of this blob; None where there is none."""
        try:
            with translated_own(path):
                return _entry(self._container.get_blob_client(path).get_blob_properties())
        except BlobNotFound:
            return None

    def reuse(self, path: str) -> bool:
        """Whether it is there; if so, it counts as written within the last REUSED, and its ETag is another
        wherever that took writing: whoever was about to remove it as too old does not."""
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
        except BlobNotFound:  # removed between two looks
            return False
        return True

    def replace(self, path: str, data: bytes, etag: str) -> bool:
        """Write over the blob if it is still the one with this ETag; whether it was."""
        with translated_own(path):
            try:
                self._container.upload_blob(
                    path, data, overwrite=True, etag=etag, match_condition=MatchConditions.IfNotModified
                )
            except (ResourceModifiedError, ResourceNotFoundError):
                return False
        return True

    def delete_unchanged(self, entries: Iterable[BlobEntry]) -> Sequence[BlobEntry]:
        """Remove those that are still as they were listed, 256 in a request; those that were removed."""
        removed, left = [], list(entries)
        for start in range(0, len(left), _MOST_DELETED):
            some = left[start : start + _MOST_DELETED]
            wanted: Any = [
                {"name": one.path, "etag": one.etag, "match_condition": MatchConditions.IfNotModified}
                for one in some
            ]
            with translated_own("a removal"):
                answers: Any = self._container.delete_blobs(*wanted, raise_on_any_failure=False)
                statuses = [int(answer.status_code) for answer in answers]
            if strange := {status for status in statuses if status not in (202, 404, 412)}:
                raise StorageUnavailable(f"Storage answered {min(strange)} for a removal.")
            removed += [one for one, status in zip(some, statuses, strict=True) if status == 202]
        return removed

    def delete(self, path: str) -> None:
        """Remove it; not an error where it is gone already."""
        with suppress(BlobNotFound), translated_own(path):
            self._container.delete_blob(path)
