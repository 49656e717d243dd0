"""Which open runs may run next."""

from __future__ import annotations

from shared.contracts import Priority, StoredRequest
from shared.errors import RecordUnreadable
from shared.settings import Settings
from shared.steps import settle_run
from shared.storage import BlobStore, Records, ledger


def next_runs(settings: Settings, store: BlobStore) -> list[StoredRequest]:
    """The requests that may run now, in order: every interactive one, and the first `batch_jobs` of batches.

    A run that has ended but is still listed as open is closed here. A run whose records cannot be read is
    parked.
    """
    found: list[StoredRequest] = []
    most: dict[Priority, int | None] = {"interactive": None, "batch": settings.batch_jobs}
    for priority, limit in most.items():
        counted = 0
        for entry in ledger.open_entries(store, priority):
            if limit is not None and counted >= limit:
                break
            records = Records(store, ledger.run_of(entry))
            try:
                stored, end = records.find_request(), records.find_end()
            except RecordUnreadable as why:
                ledger.park_entry(store, entry, why)
                continue
            if stored is None:
                continue
            if end:
                settle_run(store, stored, end)
                continue
            found.append(stored)
            counted += 1
    return found
