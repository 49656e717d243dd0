"""The process pool of the activities: a worker that dies fails its own activity and nothing else.

concurrent.futures breaks the whole pool when a worker dies, and so does pebble 5.2 when the worker was idle.
Here each worker has a socket and a thread of its own, and shares nothing. Work runs in the order in which it
was submitted, whichever job it belongs to.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import Pipe

logger = logging.getLogger(__name__)
START_LIMIT_S = 120.0
GRACE_S = 10.0
"""An activity whose result no orchestration awaits gets so long to end by itself: it looks for a cancel now
and then."""
_LOOK_S = 1.0


@dataclass(frozen=True)
class Failure:
    """Why an activity has no result: what it raised, or how its worker ended."""

    type: str
    message: str
    stack: str = ""


@dataclass(frozen=True)
class Work:
    """One activity to run.

    `wanted` says whether its result is still awaited; it is asked before the activity starts and while it
    runs. `done` gets the result's JSON, or the failure.
    """

    function: str
    payload: str
    invocation_id: str
    wanted: Callable[[], bool]
    done: Callable[[str | Failure], None]


class WorkerDied(Exception):
    """The worker process is gone; the message says how it ended."""


class NotWanted(WorkerDied):
    """The host ended the worker, since no orchestration awaits its result."""


class Worker:
    """One worker process and the socket to it."""

    def __init__(self, module: str, client_binding: str) -> None:
        self._connection, theirs = Pipe()
        try:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "infra.local.workers.worker",
                    str(theirs.fileno()),
                    module,
                    client_binding,
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno(),
                # A group of its own: Ctrl-C reaches the host alone, and the worker's children go with it.
                process_group=0,
            )
        finally:
            theirs.close()

    def wait_ready(self) -> None:
        """Wait until the worker has loaded the app. Raises WorkerDied where it does not within
        START_LIMIT_S."""
        if not self._connection.poll(START_LIMIT_S):
            self.kill()
            raise WorkerDied(f"it did not load the app within {START_LIMIT_S:.0f} s")
        kind, detail = self._receive()
        if kind == "error":
            self.kill()
            raise WorkerDied(detail)

    def alive(self) -> bool:
        """Whether an idle worker lives. It sends nothing while idle, so a readable socket has ended."""
        return self.process.poll() is None and not self._connection.poll(0)

    def run(
        self,
        request: tuple[str, str, str],
        wanted: Callable[[], bool] = lambda: True,
        grace_s: float = GRACE_S,
    ) -> str | Failure:
        """Run one function; returns its result's JSON, or its failure. `request`: function, input JSON,
        invocation id.

        Raises WorkerDied; NotWanted where the function still ran grace_s seconds after `wanted` last was
        true. In both cases the process is gone.
        """
        try:
            self._connection.send(request)
        except OSError as gone:
            raise WorkerDied(self._ending()) from gone
        last = time.monotonic()
        while not self._connection.poll(_LOOK_S):
            now = time.monotonic()
            if wanted():
                last = now
            elif now - last >= grace_s:
                self.kill()
                raise NotWanted("nobody waited for its work any more")
        kind, *values = self._receive()
        return values[0] if kind == "result" else Failure(*values)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _receive(self) -> tuple[str, ...]:
        try:
            message: tuple[str, ...] = self._connection.recv()
        except (EOFError, OSError) as gone:
            raise WorkerDied(self._ending()) from gone
        return message

    def _ending(self) -> str:
        try:
            code = self.process.wait(5)
        except subprocess.TimeoutExpired:
            return "it closed its connection"
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


class WorkerPool:
    """`workers` processes, started at once, each replaced when it dies.

    `client_binding` is what a durable client in an activity gets. An activity may go on for
    `grace_s` after it was wanted last; then its worker is killed, since one that waits looks at nothing.
    """

    def __init__(self, module: str, workers: int, client_binding: str, grace_s: float = GRACE_S) -> None:
        self._module, self._binding, self._grace_s = module, client_binding, grace_s
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._stopping = False
        self._workers: dict[int, Worker] = {}
        self._threads = [
            threading.Thread(target=self._serve, args=(slot,), name=f"worker-{slot}", daemon=True)
            for slot in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Work) -> None:
        self._queue.put(work)

    def stop(self) -> None:
        """Kill the workers, whatever they run, and drop the queued work."""
        with self._lock:
            self._stopping = True
            for worker in self._workers.values():
                worker.kill()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(5)

    def _serve(self, slot: int) -> None:
        try:
            self._worker(slot)
        except (WorkerDied, OSError) as dead:
            if not self._stopping:
                logger.error("a worker did not start: %s", dead)
        while (work := self._queue.get()) is not None and not self._stopping:
            try:
                if work.wanted():
                    work.done(self._run(slot, work))
            except Exception:
                if not self._stopping:
                    logger.exception("an activity's outcome was lost", extra={"function": work.function})

    def _run(self, slot: int, work: Work) -> str | Failure:
        try:
            request = (work.function, work.payload, work.invocation_id)
            return self._worker(slot).run(request, work.wanted, self._grace_s)
        except NotWanted as ended:
            logger.info("a worker was ended", extra={"function": work.function, "reason": str(ended)})
            return Failure("NotWanted", f"the worker process that ran it was ended: {ended}")
        except (WorkerDied, OSError) as dead:  # OSError: no process could be started
            if not self._stopping:
                logger.error("a worker died", extra={"function": work.function, "reason": str(dead)})
            return Failure("WorkerDied", f"the worker process that ran it died: {dead}")

    def _worker(self, slot: int) -> Worker:
        worker = self._workers.get(slot)
        if worker is not None and worker.alive():
            return worker
        with self._lock:
            if self._stopping:
                raise WorkerDied("the host is stopping")
            if worker is not None:
                worker.kill()
            worker = self._workers[slot] = Worker(self._module, self._binding)
        worker.wait_ready()
        return worker
