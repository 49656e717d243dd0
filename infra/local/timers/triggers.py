"""Timer triggers: each function has a thread that waits for it, and a process that runs it.

A run may compute, block or die, and the API in the host's process must not notice; so it gets a process. It
does not get one of the pool's, where it would wait behind all queued activities. The process starts when a
run is due, and stays until the next run only where that is near.

As in the Functions host, one run of a function ends before its next begins, and one run makes up for all that
fell due meanwhile. Unlike there, past runs are recorded nowhere, so nothing makes up for runs that fell due
while the host was down; run_on_startup is for that.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from infra.local.app import AppError, Function, new_invocation_id
from infra.local.timers._ncrontab import Schedule
from infra.local.workers import Failure, Worker, WorkerDied

logger = logging.getLogger(__name__)
_SETTING = re.compile(r"%([^%\s]+)%")
_LATE = timedelta(seconds=1)
"""Schedules have whole seconds, so a run that begins later than this is past due."""
_NEAR = timedelta(minutes=10)
_LOOK_S = 30.0
"""The wall clock may be set or stand still (a laptop that sleeps), so no single wait is longer."""
_NEVER = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Timer:
    """One timer function and when it runs."""

    name: str
    schedule: Schedule
    on_startup: bool

    @staticmethod
    def of(function: Function) -> Timer:
        """The timer of a function. %NAME% in its schedule stands for a setting, as everywhere in Functions.

        Raises AppError.
        """

        def setting(found: re.Match[str]) -> str:
            if found[1] not in os.environ:
                raise AppError(f"Function {function.name}: its schedule needs the setting {found[1]}.")
            return os.environ[found[1]]

        text = _SETTING.sub(setting, function.trigger.schedule)
        try:
            schedule = Schedule.parse(text)
        except ValueError as bad:
            raise AppError(
                f"Function {function.name}: its schedule {text!r} is not NCRONTAB: {bad}."
            ) from bad
        return Timer(function.name, schedule, bool(function.trigger.run_on_startup))


class Timers:
    """Runs timer functions from start() to stop(), which also ends the runs in progress. Raises AppError."""

    def __init__(self, functions: Iterable[Function], launch: Callable[[], Worker]) -> None:
        self._launch = launch
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._workers: dict[str, Worker] = {}
        timers = [Timer.of(function) for function in functions]
        self._threads = [
            threading.Thread(target=self._serve, args=(timer,), name=f"timer-{timer.name}", daemon=True)
            for timer in timers
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        with self._lock:
            self._stopping.set()
            for worker in self._workers.values():
                worker.kill()
        for thread in self._threads:
            if thread.ident:
                thread.join(5)

    def _serve(self, timer: Timer) -> None:
        last = _NEVER
        due = _now() if timer.on_startup else timer.schedule.after(_now())
        while self._wait_until(due):
            started = _now()
            following = timer.schedule.after(max(started, due))
            self._run(timer.name, _timer_info(last, following, started - due > _LATE))
            last, due = started, following
            if due - _now() > _NEAR:
                self._end_worker(timer.name)

    def _wait_until(self, due: datetime) -> bool:
        """Whether the moment has come; false where the host stops first."""
        while (left := (due - _now()).total_seconds()) > 0:
            if self._stopping.wait(min(left, _LOOK_S)):
                return False
        return not self._stopping.is_set()

    def _run(self, name: str, payload: str) -> None:
        """Run the function once. A failed run is logged and not repeated."""
        about = {"function": name, "invocation": new_invocation_id()}
        try:
            outcome = self._worker(name).run((name, payload, about["invocation"]))
        except (WorkerDied, OSError) as dead:  # OSError: no process could be started
            outcome = Failure("WorkerDied", f"the process that ran it died: {dead}")
        if self._stopping.is_set():
            return
        if isinstance(outcome, Failure):
            reason = f"{outcome.type}: {outcome.message}"
            logger.error("a timer function failed", extra={**about, "reason": reason, "stack": outcome.stack})
        else:
            logger.info("a timer function ran", extra=about)

    def _worker(self, name: str) -> Worker:
        worker = self._workers.get(name)
        if worker is None or not worker.alive():
            self._end_worker(name)
            with self._lock:
                if self._stopping.is_set():
                    raise WorkerDied("the host is stopping")
                worker = self._workers[name] = self._launch()
            worker.wait_ready()
        return worker

    def _end_worker(self, name: str) -> None:
        with self._lock:
            if worker := self._workers.pop(name, None):
                worker.kill()


def _timer_info(last: datetime, following: datetime, past_due: bool) -> str:
    """The JSON that the Functions host passes to a run; LastUpdated is the time at which Last was written."""
    status = {"Last": last.isoformat(), "LastUpdated": last.isoformat(), "Next": following.isoformat()}
    return json.dumps({"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due})


def _now() -> datetime:
    return datetime.now(UTC)
