"""Deadlines: how long a thread may wait for other hosts, all in all.

A socket's own time-out limits one recv, so a host that sends a byte now and then never reaches it. A deadline
shuts every socket that the thread used under it, whether that waits for a handshake, a header or a body.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar


class DeadlinePassed(Exception):
    """The deadline has passed. It is not an OSError, on which HTTP libraries would try again."""


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
        """Raises DeadlinePassed once the deadline has passed; `from None`, since the failure that it caused
        may quote a URL with its signature."""
        if self.passed:
            raise DeadlinePassed from None

    def watch(self, opened: socket.socket) -> None:
        """Shut this socket when the deadline passes."""
        # A duplicate still reaches the connection after TLS has taken over the socket itself.
        with self._lock:
            self._twins.append(socket.fromfd(opened.fileno(), opened.family, opened.type))
            if self.passed:
                self._shut()

    def rest(self, seconds: float) -> None:
        """Sleep for so many seconds. Raises DeadlinePassed where the deadline passes first."""
        self._passed.wait(seconds)
        self.check()

    def end(self) -> None:
        """Let the deadline pass now."""
        with self._lock:
            self._passed.set()
            self._shut()

    def _shut(self) -> None:
        for twin in self._twins:
            with suppress(OSError):
                twin.shutdown(socket.SHUT_RDWR)

    def forget(self) -> None:
        """Stop watching; the sockets stay open."""
        with self._lock:
            for twin in self._twins:
                twin.close()
            self._twins.clear()


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[Deadline]:
    """Shut the connections that this thread uses inside the `with` once so many seconds have passed.

    The code inside then fails with any exception, or takes a cut-off answer for a whole one: check `passed`.
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
    """Shut the socket when this thread's deadline passes, if it has one."""
    if running := _current.get():
        running.watch(opened)


def check() -> None:
    """Raises DeadlinePassed where this thread's deadline has passed."""
    if running := _current.get():
        running.check()


def rest(seconds: float) -> None:
    """Sleep for so many seconds. Raises DeadlinePassed where this thread's deadline passes first."""
    if running := _current.get():
        running.rest(seconds)
    else:
        time.sleep(seconds)
