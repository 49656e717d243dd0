"""Count the attempts at a step of a run whose processes died.

A step may kill every process that could report its failure: on Kubernetes an out-of-memory kill ends worker
and host together. Nobody records a failure then, and the queue delivers the step again without end. So each
attempt leaves a mark before it works, and removes the mark when the work ends in this process, successfully
or not. The remaining marks are those of attempts whose process died.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

from shared.errors import MatchcutError, WorkerKilled
from shared.storage import BlobStore, paths

log = logging.getLogger("matchcut")
MOST_BEGUN = 3
"""Attempts at one step of a run whose processes may die."""


@dataclass(frozen=True)
class Step:
    """One step of a run. `done`: the path of its last output, for a step that looks for that output first."""

    run: str
    name: str
    done: str | None = None

    @contextmanager
    def attempt(self, store: BlobStore) -> Iterator[None]:
        """Surround the work with a mark. It costs one write and one removal.

        A step that is done is never refused. Raises WorkerKilled where MOST_BEGUN attempts left their marks,
        and storage's errors before the work. Storage's errors after the work are only logged.
        """
        mark = self._leave_mark(store)
        if mark is None and not (self.done and store.exists(self.done)):
            raise WorkerKilled(f"Each of {MOST_BEGUN} processes that began this step was killed in it.")
        try:
            yield
        finally:
            if mark:
                _remove(store, mark)

    def _leave_mark(self, store: BlobStore) -> str | None:
        """The path of the new mark; None where all marks are taken."""
        token = uuid4().hex.encode()
        for number in range(1, MOST_BEGUN + 1):
            path = paths.begun_path(self.run, self.name, number)
            # The second case: storage wrote the mark, its answer was lost, and the client asked again.
            if store.put_new(path, token) or store.find(path) == token:
                return path
        return None


def _remove(store: BlobStore, mark: str) -> None:
    try:
        store.delete(mark)
    except MatchcutError as failure:
        log.warning("%s stays, and counts as an attempt that died: %s", mark, failure.message)
