"""Answers that many ask for and that are dear to find: found by one of them, for all, for a while."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from time import monotonic
from typing import Generic, TypeVar

V = TypeVar("V")


@dataclass
class _Entry(Generic[V]):
    finding: threading.Lock = field(default_factory=threading.Lock)
    values: tuple[V, ...] = ()
    until: float = 0.0
    stale_until: float = 0.0


class Recent(Generic[V]):
    """least_s: how long an answer holds at least. dearth: and so many times as long as it took to find, so
    that at most one part in 1 + dearth of the time is spent on finding it anew. For as long again it is
    told while somebody finds a new one, so that a slow search holds up nobody else."""

    def __init__(self, least_s: float, dearth: float, most: int = 256) -> None:
        self._least_s, self._dearth, self._most = least_s, dearth, most
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry[V]] = OrderedDict()

    def get(self, key: Hashable, find: Callable[[], V]) -> V:
        """The answer, maybe found for somebody else. What `find` raises is not kept."""
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)
        now = monotonic()
        if now < entry.until or not entry.finding.acquire(blocking=now >= entry.stale_until):
            return entry.values[0]
        try:
            began = monotonic()
            if began >= entry.until:
                entry.values = (find(),)
                now = monotonic()
                holds_s = max(self._least_s, self._dearth * (now - began))
                entry.stale_until = now + 2 * holds_s
                entry.until = now + holds_s
            return entry.values[0]
        finally:
            entry.finding.release()

    def forget(self, key: Hashable) -> None:
        """The next one finds it anew."""
        with self._lock:
            self._entries.pop(key, None)
