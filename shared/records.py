"""Records that the service wrote, read back by this version, an older or a newer one (floor 3).

What callers and operators write is read strictly; of what the service wrote, fields that this version does
not know are passed over. An empty blob is no record: retention leaves one where a job was.
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import ValidationError

from shared.contracts import Contract
from shared.errors import BlobNotFound, RecordUnreadable
from shared.storage import BlobStore

R = TypeVar("R", bound=Contract)


def parse(kind: type[R], path: str, data: bytes) -> R:
    """Raises RecordUnreadable, which names the path and the first fault, and repeats no value."""
    try:
        return kind.of_record(data)
    except ValidationError as bad:
        fault = bad.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in fault["loc"])
        told = f"{where}: {fault['type']}" if where else fault["type"]
    raise RecordUnreadable(f"The record {path} cannot be read ({told}).")


def read(store: BlobStore, kind: type[R], path: str) -> R:
    """Raises BlobNotFound, RecordUnreadable, or what storage says."""
    found = find(store, kind, path)
    if found is None:
        raise BlobNotFound(f"{path} does not exist.")
    return found


def find(store: BlobStore, kind: type[R], path: str) -> R | None:
    """None where there is none. Raises RecordUnreadable, or what storage says."""
    data = store.find(path)
    return parse(kind, path, data) if data else None
