"""A cache for values that take a search to load, such as a listing of storage."""

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
    loading: threading.Lock = field(default_factory=threading.Lock)
    values: tuple[V, ...] = ()
    expires: float = 0.0
    stale_until: float = 0.0


class Cache(Generic[V]):
    """Values by key, each held for a while. Threads may share a cache.

    ttl_s: a value is held this long at least, in seconds.
    ttl_per_load: a value is also held this many times as long as it took to load, so that loads take at most
    1 / (1 + ttl_per_load) of the time.
    spread: the part of ttl_s, in [0, 1), by which keys differ: values loaded together expire one by one.
    max_size: how many values are held; the least recently used go first.
    """

    def __init__(
        self, ttl_s: float, *, ttl_per_load: float = 0, spread: float = 0, max_size: int = 256
    ) -> None:
        self._ttl_s, self._ttl_per_load = ttl_s, ttl_per_load
        self._spread, self._max_size = spread, max_size
        self._lock = threading.Lock()
        self._entries: OrderedDict[Hashable, _Entry[V]] = OrderedDict()

    def get(self, key: Hashable, load: Callable[[], V], keep_if: Callable[[V], bool] | None = None) -> V:
        """The value, loaded where none is held. Each caller loads for itself, and waits for nobody.

        The cache holds the value where keep_if says so. Raises what `load` raises, which is not held.
        """
        with self._lock:
            held = self._entries.get(key)
            if held is not None and monotonic() < held.expires:
                self._entries.move_to_end(key)
                return held.values[0]
        began = monotonic()
        value = load()
        if keep_if is None or keep_if(value):
            self._hold(self._entry(key), key, value, began)
        return value

    def get_shared(self, key: Hashable, load: Callable[[], V]) -> V:
        """The value, loaded by one caller for all where none is held. Raises as `get` does.

        Other callers get the expired value meanwhile, for as long again as it was held; after that they wait.
        """
        entry = self._entry(key)
        now = monotonic()
        if now < entry.expires or not entry.loading.acquire(blocking=now >= entry.stale_until):
            return entry.values[0]
        try:
            began = monotonic()
            if began >= entry.expires:
                self._hold(entry, key, load(), began)
            return entry.values[0]
        finally:
            entry.loading.release()

    def discard(self, key: Hashable) -> None:
        """Lets the next caller load the value anew."""
        with self._lock:
            self._entries.pop(key, None)

    def _entry(self, key: Hashable) -> _Entry[V]:
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            self._entries.move_to_end(key)
            while len(self._entries) > self._max_size:
                self._entries.popitem(last=False)
            return entry

    def _hold(self, entry: _Entry[V], key: Hashable, value: V, began: float) -> None:
        now = monotonic()
        least_s = self._ttl_s * (1 - self._spread * (hash(key) % 1024) / 1024)
        ttl_s = max(least_s, self._ttl_per_load * (now - began))
        entry.values = (value,)
        entry.stale_until = now + 2 * ttl_s
        entry.expires = now + ttl_s
