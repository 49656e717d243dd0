"""A store over Azurite whose clock the test sets, and in which things may happen between two writes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.storage import BlobEntry, BlobStore


class Clocked(BlobStore):
    """Storage tells when a blob was written; here, by the clock of the test."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.ahead = timedelta()
        self.written: dict[str, datetime] = {}
        self.writes = 0
        """Of a sweep, so far."""
        self.between: Callable[[int], None] | None = None
        """Called before each of these with its number; what it does itself does not call it again."""

    def _now(self) -> datetime:
        return (datetime.now(UTC) + self.ahead).replace(microsecond=0)

    def now(self) -> str:
        """For utc_now."""
        return (datetime.now(UTC) + self.ahead).isoformat(timespec="milliseconds")

    def put(self, path: str, *args: Any, **more: Any) -> None:
        super().put(path, *args, **more)
        self.written[path] = self._now()

    def put_new(self, path: str, data: bytes) -> bool:
        wrote = super().put_new(path, data)
        if wrote:
            self.written[path] = self._now()
        return wrote

    def _touch(self, path: str) -> bool:
        touched = super()._touch(path)
        if touched:
            self.written[path] = self._now()
        return touched

    def replace(self, path: str, data: bytes, etag: str) -> bool:
        self._happen()
        replaced = super().replace(path, data, etag)
        if replaced:
            self.written[path] = self._now()
        return replaced

    def delete_unchanged(self, entries: Iterable[BlobEntry]) -> Sequence[BlobEntry]:
        listed = list(entries)
        self._happen()
        return super().delete_unchanged(listed)

    def delete(self, path: str) -> None:
        self._happen()
        super().delete(path)

    def entries(self, prefix: str = "") -> Iterator[BlobEntry]:
        return (self._told(entry) for entry in super().entries(prefix))

    def entry(self, path: str) -> BlobEntry | None:
        found = super().entry(path)
        return self._told(found) if found else None

    def _told(self, entry: BlobEntry) -> BlobEntry:
        return dataclasses.replace(entry, modified=self.written.get(entry.path, entry.modified))

    def _happen(self) -> None:
        if happens := self.between:
            self.between = None
            self.writes += 1
            happens(self.writes)
            self.between = happens
