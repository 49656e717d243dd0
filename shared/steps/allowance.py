"""What a video and the work on it may take.

MediaLimits bounds what a container declares and what comes out of a decoder. `within` bounds one activity,
whatever it does: a bomb that no declaration gives away ends its own activity, with a code, and nothing else.
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


# ---------------------------------------------------------------- one activity


def within(settings: Settings, work: Callable[[], T]) -> T:
    """work(), in no more memory, CPU time, wall time and file size than one activity may have, from now on.

    Memory is what the process may write to (RLIMIT_DATA): of all limits on memory the one that lets ONNX
    Runtime and CUDA reserve addresses. CPU time is that of the calling thread. Where neither Python nor a
    library can stop, the kernel ends the process; its host then starts another one. Wall time that a thread
    waits in one call of a library is noticed when that returns; reads of sources have limits of their own.
    Linux only; elsewhere work() runs without limits. Raises TooCostly, or what work raises.
    """
    if sys.platform != "linux":
        return work()
    _allowance.enter(settings)
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
        _allowance.leave()


class _OutOfTime(BaseException):
    """No Exception, so that nothing which answers failures of its own takes it for one."""


class _Clock:
    """Raises _OutOfTime in the thread that made it, once that has spent cpu_s of CPU time, or wall_s in all.

    A signal would do for a process that works in its main thread; the Functions host works in others.
    """

    def __init__(self, cpu_s: float, wall_s: float) -> None:
        self._cpu_s, self._wall_s = cpu_s, wall_s
        self._thread = threading.get_ident()
        self._clock = time.pthread_getcpuclockid(self._thread)
        self._began = time.clock_gettime(self._clock), time.monotonic()
        self.exceeded = ""
        """What has been spent, once it has."""
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, name="activity-clock", daemon=True).start()

    def stop(self) -> None:
        """In the thread that made it. Takes what was raised and not noticed yet."""
        with self._lock:
            self._stopped.set()
        if self.exceeded:
            # Taken by letting one arrive. After one that is cleared, Python 3.11 looks for it again at
            # each call, and a thread that is traced, as by a debugger, never gets beyond that look.
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
                if left_s <= 0:  # again each second: a callback of a C library may swallow it
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


class _Allowance:
    """The soft limits of this process: those it came with, and while activities run, what they may have.

    Limits are the process's own, so several activities at once share the sum of theirs.
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

    def _set(self, kind: int, wanted: int) -> None:
        """Soft limits only: what a process without privileges lowers of a hard one never comes back."""
        allowed = [limit for limit in self._before[kind] if limit != resource.RLIM_INFINITY]
        resource.setrlimit(kind, (min([wanted, *allowed]), self._before[kind][1]))


def _data_bytes() -> int:
    """What RLIMIT_DATA counts of this process: memory that it alone may write to, used or not."""
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[5])
    return pages * os.sysconf("SC_PAGE_SIZE")


_allowance = _Allowance()
