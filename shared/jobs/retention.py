"""Remove old records and scores, but nothing that an open run needs.

A request may need a record at the very moment of its removal, and a sweep may die at any step. So:

- Scores. A run touches the scores that it reuses (BlobStore.reuse), so every score that it needs was written
  or touched after the run was accepted, give or take SLACK. The sweep removes only scores that are older than
  the oldest open run less SLACK and unchanged since they were listed. A touch after the listing
  therefore saves a score; a touch after the removal fails, and the run scores again.
- Jobs. A job is removed with all its attempts, a number of days after the last attempt ended. The sweep first
  replaces the job's first request by an empty blob, if the request is still unchanged; at that moment the
  job is gone. A new attempt begins by touching the request (keep_job), so one of the two fails. Then the
  sweep removes the other records, the empty request, and last the entry in the index, through which the next
  sweep finds whatever this one left. A new job of the same id waits for that, or does it itself
  (finish_removal).
- Batches. A batch is removed after the last of its jobs, with batch.json last.
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
"""REUSED, and as much again for clocks that differ and requests in flight."""
P = ParamSpec("P")
log = logging.getLogger("matchcut")

_DELETE_BATCH = 256
"""Blobs per request to storage."""
_SHARDS = "0123456789abcdef"


def _or_unreadable(judge: Callable[P, bool]) -> Callable[P, bool]:
    """Make a judgement true where a record cannot be read: an operator may mend the record, or run a version
    that can read it."""

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
    """Counts what a sweep has removed, or would remove in a dry run."""

    blobs: int = 0
    bytes: int = 0
    things: int = 0
    """Whole jobs or batches."""

    def add(self, removed: Iterable[BlobEntry], things: int = 0) -> None:
        self.things += things
        for entry in removed:
            self.blobs += 1
            self.bytes += entry.length_bytes


@dataclass
class Sweep:
    """One pass over all that is too old. `now`: aware, the moment from which ages count.

    The next pass resumes one that reached `limit_s` seconds or died. Memory does not grow with the store:
    listings are read page by page, and blobs are removed as they are found.
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
        """Remove. Raises storage's errors; the tallies then count the removals up to there."""
        self._end_s = self.clock() + self.limit_s
        steps = (self._sweep_jobs, self._sweep_batches, self._sweep_secrets, self._sweep_scores)
        self.complete = all(step() for step in steps)

    @property
    def report(self) -> str:
        dry = self.settings.retention_dry_run
        tallies = ", ".join(
            f"{tally.things or ''} {name} ({tally.blobs} blobs, {tally.bytes} bytes)".strip()
            for name, tally in (
                ("jobs", self.jobs),
                ("batches", self.batches),
                ("secrets", self.secrets),
                ("scores", self.scores),
            )
        )
        rest = "" if self.complete else "; the next run goes on"
        return f"retention {'would remove' if dry else 'removed'}: {tallies}{rest}"

    def _late(self) -> bool:
        return self.clock() > self._end_s

    def _delete(self, tally: Tally, entries: Iterable[BlobEntry]) -> None:
        if self.settings.retention_dry_run:
            tally.add(entries)
            return
        for part in _parts(entries):
            tally.add(self.store.delete_unchanged(part))

    # ------------------------------------------------------------ scores

    def _sweep_scores(self) -> bool:
        days = self.settings.retention_scores_days
        if not days:
            return True
        before = self.now - timedelta(days=days)
        # Find the oldest open run before the first listing: a run accepted later touches its scores later.
        if oldest := ledger.count_open(self.store).oldest:
            before = min(before, oldest - SLACK)
        # Begin with another shard each day, so that limit_s does not always spare the same ones.
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
                return  # a caller asked for the job meanwhile
            self.jobs.bytes += first.length_bytes
        if not self.settings.retention_dry_run:
            self.jobs.add(finish_removal(self.store, entry.job), 1)
            ledger.remove_index_entry(self.store, entry)

    @_or_unreadable
    def _is_kept(self, job: str, before: datetime) -> bool:
        """Whether the job's last attempt has not ended before `before`, or one of its runs is open."""
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
            entries = list(group)  # few: one for each BATCH_BLOCK of its videos at most, and two
            if all(entry.modified < before for entry in entries) and not self._is_needed(batch, entries):
                last = paths.batch_path(batch)
                self._delete(self.batches, (entry for entry in entries if entry.path != last))
                self._delete(self.batches, (entry for entry in entries if entry.path == last))
                self.batches.things += 1
        return True

    @_or_unreadable
    def _is_needed(self, batch: str, entries: Iterable[BlobEntry]) -> bool:
        """Whether the batch is open, or one of its jobs still has records."""
        if ledger.is_batch_open(self.store, batch):
            return True
        if not any(entry.path == paths.batch_items_path(batch) for entry in entries):
            return False  # half removed, or never accepted
        found = records.find(self.store, BatchItems, paths.batch_items_path(batch))
        jobs = {item.job for item in found.items if item.job} if found else set()
        return any(self.store.exists(paths.request_path(job)) for job in jobs)

    # ------------------------------------------------------------ secrets

    def _sweep_secrets(self) -> bool:
        """Remove the secrets of requests that were never stored, since a process died before; other secrets
        are removed when their job ends. There are few."""
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
        """Whether a run or a batch still needs its secrets. owner: its id."""
        if found := records.find(self.store, StoredRequest, paths.request_path(owner)):
            return not self.store.exists(paths.end_path(owner)) or ledger.is_run_open(self.store, found)
        exists = self.store.exists(paths.batch_path(owner))
        return exists and not self.store.exists(paths.batch_items_path(owner))


def attempts(store: BlobStore, job: str) -> Iterator[StoredRequest]:
    """The requests of the job's attempts, in order; none where the job is gone."""
    attempt = 1
    while found := records.find(store, StoredRequest, paths.request_path(names.run_id(job, attempt))):
        yield found
        attempt += 1


def keep_job(store: BlobStore, job: str) -> bool:
    """Keep an ended job from being removed: its time begins anew, and no sweep that is running removes it.

    Call it before the job is reported to a caller, and before a new attempt is stored. False where a sweep
    already removes the job.
    """
    path = paths.request_path(job)
    return store.reuse(path) and bool(store.find(path))


def finish_removal(store: BlobStore, job: str) -> list[BlobEntry]:
    """Remove the remaining records of a job whose first request a sweep has emptied; returns the removed.

    Any number of callers may do so concurrently. Nothing happens to any other job.
    """
    given_up = store.entry(paths.request_path(job))
    if given_up is None or given_up.length_bytes:
        return []
    removed: list[BlobEntry] = []
    # The old job's records are days older; younger ones belong to a new job of the same id.
    old = (entry for entry in _records(store, job) if entry.modified < given_up.modified)
    for part in _parts(entry for entry in old if entry.path != given_up.path):
        removed += store.delete_unchanged(part)
    removed += store.delete_unchanged([given_up])
    return removed


def _records(store: BlobStore, job: str) -> Iterator[BlobEntry]:
    listed = store.entries(f"{paths.JOBS}/{job}")
    return (entry for entry in listed if paths.is_job_record(job, entry.path))


def _parts(entries: Iterable[BlobEntry]) -> Iterator[list[BlobEntry]]:
    part: list[BlobEntry] = []
    for entry in entries:
        part.append(entry)
        if len(part) == _DELETE_BATCH:
            yield part
            part = []
    if part:
        yield part
