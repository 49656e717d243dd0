"""How often a step of a run was begun and not ended.

A step may end all that could tell of it: on Kubernetes an out-of-memory kill takes worker and host together,
so nobody writes that it failed, and the queue delivers it again without end. So each attempt leaves a mark
before it works, and removes it when the work ends in this process, well or not. The marks that are there
are those of attempts whose process died.
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
    """One step of a run: its name, and the path of what it writes last, where it looks for that first."""

    run: str
    name: str
    done: str | None = None

    @contextmanager
    def attempt(self, store: BlobStore) -> Iterator[None]:
        """Around the work. It costs one write and one removal.

        A step that is done is never refused. Raises WorkerKilled where MOST_BEGUN attempts left their marks,
        or what storage says before the work; what it says afterwards is logged: the work is done.
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
        """Its path; None where all are taken."""
        token = uuid4().hex.encode()
        for number in range(1, MOST_BEGUN + 1):
            path = paths.begun_path(self.run, self.name, number)
            # Ours too where storage did it, its answer was lost, and the client asked again.
            if store.put_new(path, token) or store.find(path) == token:
                return path
        return None


def _remove(store: BlobStore, mark: str) -> None:
    try:
        store.delete(mark)
    except MatchcutError as failure:
        log.warning("%s stays, and counts as an attempt that died: %s", mark, failure.message)
