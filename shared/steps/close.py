"""The step that ends a run."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from shared.contracts import EndRecord, ErrorBody, State, StoredRequest
from shared.errors import RecordUnreadable
from shared.storage import BlobStore, Records, forget_sas, ledger, paths


def close_run(
    records: Records, state: State, error: ErrorBody | None = None, files: Sequence[str] = ()
) -> EndRecord:
    """End a run: write its end record, and remove its SAS and its packets. Returns the end record, which only
    the first call writes. wall_s: seconds since the request was accepted."""
    stored, store = records.request, records.store
    total, media_s = 0, 0.0
    with suppress(RecordUnreadable):  # a run ends even so; its record then shows no progress
        if planned := records.find_plan():
            look = records.find_look()
            total = len(planned.units) + (len(look.units) if look else planned.gathers)
            media_s = float(planned.video.planned.duration_s)
    end = records.write_end(
        EndRecord(
            job=stored.job,
            state=state,
            files=tuple(files),
            error=error,
            total=total,
            media_s=media_s,
            wall_s=max(0.0, time.time() - datetime.fromisoformat(stored.created).timestamp()),
        )
    )
    forget_sas(store, stored)
    for path in store.list(paths.packets_folder(records.run)):
        store.delete(path)
    settle_run(store, stored, end)
    return end


def settle_run(store: BlobStore, stored: StoredRequest, end: EndRecord) -> None:
    """Enter an ended run's callback among the open ones, and its end into the ledger. In this order a crash
    loses nothing; a repetition changes nothing."""
    if stored.request.callback:
        store.put(paths.open_callback_path(stored.run), b"")
    ledger.close_run(store, stored, end)
