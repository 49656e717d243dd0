"""What is removed after its time, and never anything that an open run needs.

Any moment may bring a request for what is about to go, and a sweep may die at any step. So:

- Scores. A run touches the scores that it reuses (BlobStore.reuse), so what it needs was written or touched
  after it was accepted, but for SLACK. Nothing is removed that is younger than the oldest open run
  less SLACK; and only what is still as it was listed, so a touch after the listing saves a blob, and a
  touch after the removal tells the run to score again.
- A job goes with all its attempts, so many days after its last one has ended. Its first request is replaced
  by an empty one: that is the moment in which it is gone, if nobody touched the request
  meanwhile, which is what a new attempt does first (keep_job). Then the rest is removed, the
  empty request after it, and the entry in the index at the very end, where the next sweep would find what
  this one left. A new job of the same id waits for that, or does it itself (finish_removal).
- A batch goes after the last of its jobs, batch.json at the end.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import wraps
from itertools import groupby
from typing import ParamSpec

from shared import names
from shared.contracts import BatchItems, StoredRequest
from shared.errors import RecordUnreadable
from shared.settings import Settings
from shared.storage import REUSED, BlobEntry, BlobStore, ledger, paths, records

SLACK = 2 * REUSED
"""REUSED, and for clocks that differ and requests that are under way."""
P = ParamSpec("P")
log = logging.getLogger("matchcut")

_AT_A_TIME = 256
_SHARDS = "0123456789abcdef"


def _or_unreadable(judge: Callable[P, bool]) -> Callable[P, bool]:
    """What cannot be read is needed: somebody may mend it, or run a version that can read it."""

    @wraps(judge)
    def judged(*args: P.args, **kwargs: P.kwargs) -> bool:
        try:
            return judge(*args, **kwargs)
        except RecordUnreadable as why:
            log.warning("retention leaves what it cannot judge: %s", why.message)
            return True

    return judged


@dataclass
class Tally:
    """What went, or would go."""

    blobs: int = 0
    bytes: int = 0
    things: int = 0
    """Jobs, batches."""

    def add(self, removed: Iterable[BlobEntry], things: int = 0) -> None:
        self.things += things
        for entry in removed:
            self.blobs += 1
            self.bytes += entry.length_bytes


@dataclass
class Sweep:
    """Remove what is too old, once. `now`: from which ages are counted.

    One that reaches `limit_s`, or dies, is gone on with by the next. Memory does not grow with the store:
    listings are read page by page, and removals are made at once.
    """

    settings: Settings
    store: BlobStore
    now: datetime
    limit_s: float = 3600.0
    clock: Callable[[], float] = time.monotonic
    scores: Tally = field(default_factory=Tally)
    jobs: Tally = field(default_factory=Tally)
    batches: Tally = field(default_factory=Tally)
    secrets: Tally = field(default_factory=Tally)
    complete: bool = False

    def run(self) -> None:
        """Raises what storage says; what was removed till then is counted."""
        self._end_s = self.clock() + self.limit_s
        steps = (self._sweep_jobs, self._sweep_batches, self._sweep_secrets, self._sweep_scores)
        self.complete = all(step() for step in steps)

    @property
    def report(self) -> str:
        dry = self.settings.retention_dry_run
        told = ", ".join(
            f"{tally.things or ''} {name} ({tally.blobs} blobs, {tally.bytes} bytes)".strip()
            for name, tally in (
                ("jobs", self.jobs),
                ("batches", self.batches),
                ("secrets", self.secrets),
                ("scores", self.scores),
            )
        )
        rest = "" if self.complete else "; the next run goes on"
        return f"retention {'would remove' if dry else 'removed'}: {told}{rest}"

    def _late(self) -> bool:
        return self.clock() > self._end_s

    def _delete(self, tally: Tally, entries: Iterable[BlobEntry]) -> None:
        if self.settings.retention_dry_run:
            tally.add(entries)
            return
        for some in _parts(entries):
            tally.add(self.store.delete_unchanged(some))

    # ------------------------------------------------------------ scores

    def _sweep_scores(self) -> bool:
        days = self.settings.retention_scores_days
        if not days:
            return True
        before = self.now - timedelta(days=days)
        # Of the open runs the oldest is known before the first listing: who comes later touches later.
        if oldest := ledger.count_open(self.store).oldest:
            before = min(before, oldest - SLACK)
        # Another beginning each day, so that a limit does not always spare the same ones.
        first = self.now.toordinal() * 7 % len(_SHARDS)
        for shard in _SHARDS[first:] + _SHARDS[:first]:
            if self._late():
                return False
            listed = self.store.entries(f"{paths.SCORES}/{shard}")
            self._delete(self.scores, (entry for entry in listed if entry.modified < before))
        return True

    # ------------------------------------------------------------ jobs

    def _sweep_jobs(self) -> bool:
        days = self.settings.retention_jobs_days
        if not days:
            return True
        before = self.now - timedelta(days=days)
        for entry in ledger.index_entries(self.store):
            if self._late():
                return False
            if entry.created < before:
                self._sweep_job(entry, before)
        return True

    def _sweep_job(self, entry: ledger.IndexEntry, before: datetime) -> None:
        first = self.store.entry(paths.request_path(entry.job))
        given_up = first is not None and first.length_bytes == 0
        if first is not None and not given_up:
            if first.modified >= before or self._is_kept(entry.job, before):
                return
            if self.settings.retention_dry_run:
                self.jobs.add(_records(self.store, entry.job), 1)
                return
            if not self.store.replace(first.path, b"", first.etag):
                return  # somebody asks for it at this moment
            self.jobs.bytes += first.length_bytes
        if not self.settings.retention_dry_run:
            self.jobs.add(finish_removal(self.store, entry.job), 1)
            ledger.remove_index_entry(self.store, entry)

    @_or_unreadable
    def _is_kept(self, job: str, before: datetime) -> bool:
        """Whether its last attempt has not ended before, or of one something is owed."""
        runs = list(attempts(self.store, job))
        end = self.store.entry(paths.end_path(runs[-1].run)) if runs else None
        if end is None or end.modified >= before:
            return True
        return any(ledger.is_run_open(self.store, run) for run in runs)

    # ------------------------------------------------------------ batches

    def _sweep_batches(self) -> bool:
        days = self.settings.retention_jobs_days
        if not days:
            return True
        before = self.now - timedelta(days=days)
        listed = self.store.entries(f"{paths.BATCHES}/")
        for batch, group in groupby(listed, key=lambda entry: entry.path.split("/")[1]):
            if self._late():
                return False
            there = list(group)  # at most one for each BATCH_BLOCK of its videos, and two
            if all(entry.modified < before for entry in there) and not self._is_needed(batch, there):
                last = paths.batch_path(batch)
                self._delete(self.batches, (entry for entry in there if entry.path != last))
                self._delete(self.batches, (entry for entry in there if entry.path == last))
                self.batches.things += 1
        return True

    @_or_unreadable
    def _is_needed(self, batch: str, there: Iterable[BlobEntry]) -> bool:
        if ledger.is_batch_open(self.store, batch):
            return True
        if not any(entry.path == paths.batch_items_path(batch) for entry in there):
            return False  # half removed, or never accepted
        found = records.find(self.store, BatchItems, paths.batch_items_path(batch))
        jobs = {item.job for item in found.items if item.job} if found else set()
        return any(self.store.exists(paths.request_path(job)) for job in jobs)

    # ------------------------------------------------------------ secrets

    def _sweep_secrets(self) -> bool:
        """Those of requests whose caller's process died before they were stored; others go with their job's
        end. There are few."""
        days = self.settings.retention_jobs_days
        if not days:
            return True
        before = self.now - timedelta(days=days)
        for entry in self.store.entries(f"{paths.SECRETS}/"):
            if entry.modified < before and not self._is_owed(entry.path.split("/")[1]):
                self._delete(self.secrets, [entry])
        return True

    @_or_unreadable
    def _is_owed(self, owner: str) -> bool:
        """owner: a run or a batch."""
        if found := records.find(self.store, StoredRequest, paths.request_path(owner)):
            return not self.store.exists(paths.end_path(owner)) or ledger.is_run_open(self.store, found)
        there = self.store.exists(paths.batch_path(owner))
        return there and not self.store.exists(paths.batch_items_path(owner))


def attempts(store: BlobStore, job: str) -> Iterator[StoredRequest]:
    """The job's runs, the first one first; none where the job is gone."""
    attempt = 1
    while found := records.find(store, StoredRequest, paths.request_path(names.run_id(job, attempt))):
        yield found
        attempt += 1


def keep_job(store: BlobStore, job: str) -> bool:
    """Before it is said that an ended job is there, or a new attempt is stored: no sweep removes it now, and
    its time begins anew. False where one already does."""
    path = paths.request_path(job)
    return store.reuse(path) and bool(store.find(path))


def finish_removal(store: BlobStore, job: str) -> list[BlobEntry]:
    """Remove what is left of a job that was given up; what was removed. Any number of callers may."""
    given_up = store.entry(paths.request_path(job))
    if given_up is None or given_up.length_bytes:
        return []
    removed: list[BlobEntry] = []
    # Everything of the old job is days older; what is not belongs to a new one of the same id.
    old = (entry for entry in _records(store, job) if entry.modified < given_up.modified)
    for some in _parts(entry for entry in old if entry.path != given_up.path):
        removed += store.delete_unchanged(some)
    removed += store.delete_unchanged([given_up])
    return removed


def _records(store: BlobStore, job: str) -> Iterator[BlobEntry]:
    listed = store.entries(f"{paths.JOBS}/{job}")
    return (entry for entry in listed if paths.is_job_record(job, entry.path))


def _parts(entries: Iterable[BlobEntry]) -> Iterator[list[BlobEntry]]:
    some: list[BlobEntry] = []
    for entry in entries:
        some.append(entry)
        if len(some) == _AT_A_TIME:
            yield some
            some = []
    if some:
        yield some
