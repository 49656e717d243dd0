"""Limits on the memory, time and file size of one activity.

MediaLimits (shared.video) bounds what a container declares and what a decoder returns. run_limited bounds a
whole activity: a decompression bomb that no declaration reveals ends its own activity, with an error code,
and nothing else.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from shared.errors import TooCostly
from shared.settings import Settings

if sys.platform == "linux":
    import resource

T = TypeVar("T")
_BACKSTOP_S = 60
_AGAIN_S = 1.0


def run_limited(settings: Settings, work: Callable[[], T]) -> T:
    """Run work() with the memory (bytes), CPU time, wall time (seconds) and file size that settings allow one
    activity, counted from now on.

    - Memory is what the process alone may write to (RLIMIT_DATA), the only limit on memory under which ONNX
      Runtime and CUDA can reserve addresses.
    - CPU time is that of the calling thread.
    - Wall time spent inside one call of a library is noticed when the call returns. Reads of sources have
      limits of their own.

    Where neither Python nor a library can stop, the kernel ends the process, and its host starts another.
    Only Linux has these limits; elsewhere work() runs without. Raises TooCostly, and work's own errors.
    """
    if sys.platform != "linux":
        return work()
    _process_limits.enter(settings)
    clock = _Clock(settings.max_activity_cpu_s, settings.max_activity_wall_s)
    try:
        try:
            return work()
        finally:
            clock.stop()
    except _OutOfTime:
        clock.stop()
        raise TooCostly(f"It took more than {clock.exceeded}.") from None
    except MemoryError:
        raise TooCostly("It needs more memory than one step may have.") from None
    except OSError as failure:
        if failure.errno != errno.EFBIG:
            raise
        raise TooCostly("It wrote a larger file than one step may write.") from None
    finally:
        _process_limits.leave()


class _OutOfTime(BaseException):
    """Not an Exception, so no code that handles Exceptions swallows it."""


class _Clock:
    """Raises _OutOfTime in the thread that made it, once that thread has spent cpu_s seconds of CPU time or
    wall_s seconds of wall time.

    A signal would reach only the main thread, and the Functions host runs activities in other threads.
    """

    def __init__(self, cpu_s: float, wall_s: float) -> None:
        self._cpu_s, self._wall_s = cpu_s, wall_s
        self._thread = threading.get_ident()
        self._clock = time.pthread_getcpuclockid(self._thread)
        self._began = time.clock_gettime(self._clock), time.monotonic()
        self.exceeded = ""
        """The limit that the thread has reached, as text; empty until then."""
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, name="activity-clock", daemon=True).start()

    def stop(self) -> None:
        """Stop the clock, and absorb an _OutOfTime that is still pending. Call it in the thread that made the
        clock."""
        with self._lock:
            self._stopped.set()
        if self.exceeded:
            # Absorb it by letting one arrive. If it were cleared instead, Python 3.11 would look for it again
            # at each call, and a traced thread, as under a debugger, would never get beyond that look.
            with suppress(_OutOfTime):
                _raise_in(self._thread, _OutOfTime)
                while True:
                    pass

    def _watch(self) -> None:
        left_s = min(self._cpu_s, self._wall_s)  # one thread's CPU time passes no faster than the wall's
        while not self._stopped.wait(max(left_s, _AGAIN_S)):
            with self._lock:
                if self._stopped.is_set():
                    return
                left_s = self._left_s()
                if left_s <= 0:  # raised again each second: a callback of a C library may swallow it
                    _raise_in(self._thread, _OutOfTime)

    def _left_s(self) -> float:
        cpu_began, wall_began = self._began
        cpu_left_s = self._cpu_s - (time.clock_gettime(self._clock) - cpu_began)
        wall_left_s = self._wall_s - (time.monotonic() - wall_began)
        if cpu_left_s <= 0:
            self.exceeded = f"{self._cpu_s} s of CPU time"
        elif wall_left_s <= 0:
            self.exceeded = f"{self._wall_s} s of wall time"
        return min(cpu_left_s, wall_left_s)


def _raise_in(thread: int, kind: type[BaseException]) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(kind))


class _ProcessLimits:
    """The soft limits of this process: the original ones, and while activities run, the ones of run_limited.

    The kernel limits processes, not threads, so activities that run at once share the sum of their limits.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._data_bytes = 0
        self._before: dict[int, tuple[int, int]] = {}

    def enter(self, settings: Settings) -> None:
        with self._lock:
            if not self._running:
                kinds = (resource.RLIMIT_DATA, resource.RLIMIT_CPU, resource.RLIMIT_FSIZE)
                self._before = {kind: resource.getrlimit(kind) for kind in kinds}
                self._data_bytes = _data_bytes()
                self._settings = settings
            self._running += 1
            self._apply()

    def leave(self) -> None:
        with self._lock:
            self._running -= 1
            self._apply()

    def _apply(self) -> None:
        if not self._running:
            for kind, limit in self._before.items():
                resource.setrlimit(kind, limit)
            return
        settings, running = self._settings, self._running
        cpu_s = settings.max_activity_cpu_s * settings.ort_threads + _BACKSTOP_S
        self._set(resource.RLIMIT_DATA, self._data_bytes + running * settings.max_activity_bytes)
        self._set(resource.RLIMIT_CPU, int(time.process_time()) + running * cpu_s)
        self._set(resource.RLIMIT_FSIZE, settings.max_activity_file_bytes)

    def _set(self, kind: int, limit: int) -> None:
        """Set a soft limit only: a process without privileges can never raise a hard limit again."""
        allowed = [before for before in self._before[kind] if before != resource.RLIM_INFINITY]
        resource.setrlimit(kind, (min([limit, *allowed]), self._before[kind][1]))


def _data_bytes() -> int:
    """The bytes that RLIMIT_DATA counts of this process: memory that it alone may write to, used or not."""
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[5])
    return pages * os.sysconf("SC_PAGE_SIZE")


_process_limits = _ProcessLimits()
