"""The status of a job for its callers: state, progress, links.

Callers poll far more often than anything changes. A complete job stays complete, so its status is held for a
while and costs storage nothing; one listing covers all jobs that wait in batches; any other job costs one
listing, which shows its attempts, its end and its units at once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from shared import names
from shared.cache import Cache
from shared.callbacks import describe_callback
from shared.contracts import EndRecord, JobStatus, Progress, State, StoredRequest
from shared.errors import BlobNotFound, FileNotReady, JobNotFound
from shared.settings import Settings
from shared.storage import BlobStore, Records, find_request, ledger, paths, records
from shared.timelines import FORMATS

_KEPT_S = 300
"""Records that are written once are asked for again after that: retention may have removed them."""
_SPREAD = 0.5
"""So that jobs that were asked for together are not all looked up anew together."""
_MOST_KEPT = 4096
_UNSETTLED = 20
"""In front of those whose turn it is may stand a few that have ended and are not settled yet."""


@dataclass(frozen=True)
class Live:
    """What the durable instance says."""

    runtime_status: str
    custom: Mapping[str, Any]

    @property
    def over(self) -> bool:
        return self.runtime_status in ("Completed", "Failed", "Terminated", "Canceled")


@dataclass(frozen=True)
class Seen:
    """What storage tells of an attempt at a job. units: how many have left a summary."""

    stored: StoredRequest
    end: EndRecord | None
    units: int


_COMPLETE = Cache[Seen](_KEPT_S, spread=_SPREAD, max_size=_MOST_KEPT)
_REQUESTS = Cache[StoredRequest](_KEPT_S, spread=_SPREAD, max_size=_MOST_KEPT)
_ENDS = Cache[EndRecord](_KEPT_S, spread=_SPREAD, max_size=_MOST_KEPT)


def see(store: BlobStore, job: str) -> Seen:
    """The last attempt at a job. Raises JobNotFound."""
    return _COMPLETE.get((store, job), partial(_look, store, job), keep_if=_is_complete)


def _is_complete(seen: Seen) -> bool:
    """Nothing changes a complete job any more; any other may get another attempt."""
    return seen.end is not None and seen.end.state is State.COMPLETED


def waiting(settings: Settings, store: BlobStore) -> dict[str, str]:
    """Jobs of batches whose turn is far -> their runs: there is nothing to tell but that they wait."""
    near = settings.batch_jobs + _UNSETTLED
    runs = list(ledger.open_runs(store, "batch", page_size=None))[near:]
    at_once = set(ledger.open_runs(store, "interactive", page_size=None)) if runs else set()
    return {names.job_of(run): run for run in runs if run not in at_once}


def see_waiting(store: BlobStore, run: str) -> Seen:
    """A run of those that wait. Raises JobNotFound."""
    try:
        return Seen(_request(store, run), None, 0)
    except BlobNotFound:
        raise JobNotFound("There is no job with this id.") from None


def see_run(store: BlobStore, stored: StoredRequest) -> Seen:
    """One attempt, whichever it is."""
    path = paths.summaries_path(stored.run)
    return Seen(stored, Records(store, stored.run).find_end(), sum(1 for _ in store.list(path)))


def _look(store: BlobStore, job: str) -> Seen:
    units: Counter[int] = Counter()
    last, ended = 0, set[int]()
    # Its runs' folders begin with the job's id, and no other job's do.
    for path in store.list(f"{paths.JOBS}/{job}") if names.is_digest_id(job) else ():
        run = path.split("/")[1]
        attempt = names.attempt_of(job, run)
        if attempt is None:
            continue
        units[attempt] += path.startswith(paths.summaries_path(run))
        if path == paths.request_path(run):
            last = max(last, attempt)
        elif path == paths.end_path(run):
            ended.add(attempt)
    if not last:
        raise JobNotFound("There is no job with this id.")
    run = names.run_id(job, last)
    try:
        return Seen(_request(store, run), _end(store, run) if last in ended else None, units[last])
    except BlobNotFound:  # removed since it was listed
        raise JobNotFound("There is no job with this id.") from None


def _request(store: BlobStore, run: str) -> StoredRequest:
    return _REQUESTS.get((store, run), lambda: Records(store, run).request)


def _end(store: BlobStore, run: str) -> EndRecord:
    return _ENDS.get((store, run), partial(records.read, store, EndRecord, paths.end_path(run)))


def describe(settings: Settings, store: BlobStore, seen: Seen, live: Live | None, now: datetime) -> JobStatus:
    """The job's status from what was seen of it and, while it runs, its durable instance.

    `live` was looked up before `seen`: an instance that was over then has written its end, if ever. Where it
    has not, the job waits to be started anew by whoever tends what is open.
    """
    stored, end = seen.stored, seen.end
    if end is not None:
        state, error, progress = end.state, end.error, _ended(end, seen.units)
    else:
        custom = live.custom if live and not live.over else {}
        state, error = State(custom.get("state", State.QUEUED)), None
        progress = _running(seen.units, custom, now)
    files = end.files if end else ()
    return JobStatus(
        id=stored.job,
        name=stored.request.name,
        state=state,
        progress=progress,
        links={name: f"{status_url(settings, stored.job)}/files/{name}" for name in files},
        error=error,
        callback=describe_callback(store, stored),
    )


def _ended(end: EndRecord, units: int) -> Progress:
    complete = end.state in (State.COMPLETED, State.COMPLETED_WITH_GAPS)
    done = end.total if complete else units
    return Progress(
        done=done,
        total=end.total,
        fraction=1.0 if complete else min(1.0, done / end.total) if end.total else 0.0,
        eta_s=None,
        realtime_factor=round(end.media_s / end.wall_s, 2) if complete and end.wall_s else None,
    )


def _running(units: int, custom: Mapping[str, Any], now: datetime) -> Progress:
    """Counts the units' summaries, which say more than the orchestrator: it only sees whole waves."""
    total, before = int(custom.get("total", 0)), int(custom.get("before", 0))
    done = min(total, units)
    elapsed_s = 0.0
    if since := custom.get("since"):
        elapsed_s = (now - datetime.fromisoformat(since)).total_seconds()
    fraction = done / total if total else 0.0
    lately = done - before  # units of the fan-out that began at `since`
    known = lately > 0 and elapsed_s > 0
    return Progress(
        done=done,
        total=total,
        fraction=fraction,
        eta_s=round(elapsed_s * (total - done) / lately, 1) if known else None,
        realtime_factor=round(float(custom.get("media_s", 0)) * lately / total / elapsed_s, 2)
        if known
        else None,
    )


def status_url(settings: Settings, job: str) -> str:
    return f"{settings.public_base_url.rstrip('/')}/api/jobs/{job}"


def result_file(store: BlobStore, job: str, name: str) -> tuple[bytes, str]:
    """(content, media type) of a file that the job's links name. Raises JobNotFound, FileNotReady."""
    run = find_request(store, job).run
    end = Records(store, run).find_end()
    if end is None or name not in end.files:
        raise FileNotReady(f"The job has no file of this name{'' if end else ' yet'}.")
    media_type = next(form.media_type for form in FORMATS.values() if form.file_name == name)
    return store.get(paths.file_path(run, name)), media_type
