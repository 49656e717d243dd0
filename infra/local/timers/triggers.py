"""Timer triggers: each function on a thread of its own, run in a process of its own.

A process, because a run may compute, block or die, and the API in the host's process must not
notice; not one of the pool's, where a run would stand behind all queued activities. It is started
when a run is due, and kept until the next one only where that is near.

As in the Functions host, one run of a function ends before its next begins, and what fell due
meanwhile is made up for by one run. Not as there: which runs there have been is kept nowhere, so
what fell due while the host was down is not made up for; run_on_startup is for that.
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
from infra.local.timers.ncrontab import Schedule
from infra.local.workers import Failure, Worker, WorkerDied

logger = logging.getLogger(__name__)
_SETTING = re.compile(r"%([^%\s]+)%")
_LATE = timedelta(seconds=1)
"""Schedules have whole seconds: what begins later than this is past due."""
_NEAR = timedelta(minutes=10)
_LOOK_S = 30.0
"""The wall clock may be set or stand still (a laptop that sleeps), so nobody waits for long at once."""
_NEVER = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Timer:
    """One timer function and when it runs."""

    name: str
    schedule: Schedule
    on_startup: bool

    @staticmethod
    def of(function: Function) -> Timer:
        """%NAME% in a schedule stands for a setting, as everywhere in Functions. Raises AppError."""

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
    """Runs the functions from start() to stop(), which ends a run that is going on. Raises AppError."""

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
        """False where the host stops first."""
        while (left := (due - _now()).total_seconds()) > 0:
            if self._stopping.wait(min(left, _LOOK_S)):
                return False
        return not self._stopping.is_set()

    def _run(self, name: str, payload: str) -> None:
        """A run that fails is logged, and is over."""
        about = {"function": name, "invocation": new_invocation_id()}
        try:
            outcome = self._worker(name).run((name, payload, about["invocation"]))
        except (WorkerDied, OSError) as dead:  # OSError: no process to be had
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
    """What the Functions host sends with a run; LastUpdated is when Last was written."""
    status = {"Last": last.isoformat(), "LastUpdated": last.isoformat(), "Next": following.isoformat()}
    return json.dumps({"Schedule": {"AdjustForDST": True}, "ScheduleStatus": status, "IsPastDue": past_due})


def _now() -> datetime:
    return datetime.now(UTC)
