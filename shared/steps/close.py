"""The step that ends a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from shared.contracts import (
    EndRecord,
    ErrorBody,
    Plan,
    State,
    StoredRequest,
)
from shared.errors import RecordUnreadable
from shared.storage import (
    BlobStore,
    find_look,
    ledger,
    load_request,
    paths,
    records,
)


def close_job(
    store: BlobStore,
    job: str,
    state: State,
    error: ErrorBody | None = None,
    files: Sequence[str] = (),
) -> EndRecord:
    """Write the job's last word, once; forget its secret and its packets. A second call changes nothing."""
    stored = load_request(store, job)
    total, media_s = 0, 0.0
    with suppress(RecordUnreadable):  # a run ends even so, and tells of no progress
        if planned := records.find(store, Plan, paths.plan_path(job)):
            look = find_look(store, job)
            total = len(planned.units) + (len(look.units) if look else planned.gathers)
            media_s = float(planned.video.planned_frames / planned.video.rate)
    end = EndRecord(
        job=stored.job,
        state=state,
        files=tuple(files),
        error=error,
        total=total,
        media_s=media_s,
        wall_s=max(0.0, time.time() - datetime.fromisoformat(stored.created).timestamp()),
    )
    if not store.put_new(paths.end_path(job), end.model_dump_json().encode()):
        end = records.read(store, EndRecord, paths.end_path(job))
    store.delete(paths.secret_path(job, stored.fingerprint))
    for path in store.list(paths.packets_folder(job)):
        store.delete(path)
    settle(store, stored, end)
    return end


def settle(store: BlobStore, stored: StoredRequest, end: EndRecord) -> None:
    """What follows from a run's last word, in an order in which nothing is lost. May be repeated."""
    if stored.request.callback:
        store.put(paths.open_callback_path(stored.run), b"")
    ledger.settle(store, stored, end)
