"""How long a thread may wait for somebody, all in all.

A socket's own time-out is that of one recv: whoever sends a byte now and then never meets it. A deadline
ends every socket that was used under it, whatever it waits for: a handshake, a header, a body.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar


class Passed(Exception):
    """The deadline has passed. No OSError, which whoever speaks HTTP would take for a reason to try again."""


class Deadline:
    """See deadline()."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._twins: list[socket.socket] = []
        self._passed = threading.Event()

    @property
    def passed(self) -> bool:
        return self._passed.is_set()

    def check(self) -> None:
        """Raises Passed, without what went wrong on the way: that may quote a URL with its signature."""
        if self.passed:
            raise Passed from None

    def watch(self, opened: socket.socket) -> None:
        # A duplicate reaches the connection even after TLS has taken the socket itself over.
        with self._lock:
            self._twins.append(socket.fromfd(opened.fileno(), opened.family, opened.type))
            if self.passed:
                self._shut()

    def rest(self, seconds: float) -> None:
        """Sleep. Raises Passed where the deadline comes first."""
        self._passed.wait(seconds)
        self.check()

    def end(self) -> None:
        with self._lock:
            self._passed.set()
            self._shut()

    def _shut(self) -> None:
        for twin in self._twins:
            with suppress(OSError):
                twin.shutdown(socket.SHUT_RDWR)

    def forget(self) -> None:
        with self._lock:
            for twin in self._twins:
                twin.close()
            self._twins.clear()


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[Deadline]:
    """For what this thread does inside: the guarded connections that it uses end after so long.

    What was waiting there then fails in any way, or takes what was cut off for the whole: ask `passed`.
    """
    running = Deadline()
    token = _current.set(running)
    timer = threading.Timer(seconds, running.end)
    timer.daemon = True
    timer.start()
    try:
        yield running
    finally:
        timer.cancel()
        _current.reset(token)
        running.forget()


def watch(opened: socket.socket) -> None:
    """Let this thread's deadline, where it has one, end the socket."""
    if running := _current.get():
        running.watch(opened)


def check() -> None:
    """Raises Passed where this thread's deadline has passed."""
    if running := _current.get():
        running.check()


def rest(seconds: float) -> None:
    """Sleep, no longer than to this thread's deadline. Raises Passed."""
    if running := _current.get():
        running.rest(seconds)
    else:
        time.sleep(seconds)
