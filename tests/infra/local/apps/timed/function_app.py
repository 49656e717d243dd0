"""Timer functions that leave a line of JSON for each run in $TIMED_FOLDER/<name>."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)
blueprint = df.Blueprint()


def _line(name: str, timer: func.TimerRequest, nap_s: float = 0.0, **more: Any) -> None:
    seen: dict[str, Any] = {"start": time.time(), "pid": os.getpid(), "past_due": timer.past_due}
    seen["status"] = timer.schedule_status  # type: ignore[attr-defined]  # not in the abstract class
    time.sleep(nap_s)
    with Path(os.environ["TIMED_FOLDER"], name).open("a") as lines:
        lines.write(json.dumps({**seen, "end": time.time(), **more}) + "\n")


@blueprint.timer_trigger(schedule="%BEAT%", arg_name="timer")
def beat(timer: func.TimerRequest) -> None:
    _line("beat", timer)


@blueprint.timer_trigger(schedule="* * * * * *", arg_name="timer", run_on_startup=False)
def slow(timer: func.TimerRequest) -> None:
    """Longer than its interval, and at last very long."""
    _line("slow", timer, nap_s=2.2)
    if Path(os.environ["TIMED_FOLDER"], "hang").exists():
        Path(os.environ["TIMED_FOLDER"], "hangs").write_text(str(os.getpid()))
        time.sleep(300)


@blueprint.timer_trigger(schedule="0 0 0 1 1 *", arg_name="timer", run_on_startup=True)
@blueprint.durable_client_input(client_name="client")
async def at_start(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    started = await client.start_new("hello", "by-timer", 1)
    _line("at_start", timer, started=started)


@blueprint.timer_trigger(schedule="* * * * * *", arg_name="timer")
def stumble(timer: func.TimerRequest) -> None:
    _line("stumble", timer)
    raise ValueError("no good today")


@blueprint.timer_trigger(schedule="*/2 * * * * *", arg_name="timer")
def die(timer: func.TimerRequest) -> None:
    _line("die", timer)
    os.kill(os.getpid(), signal.SIGKILL)


@blueprint.orchestration_trigger(context_name="context")
def hello(context: df.DurableOrchestrationContext) -> Any:
    return (yield context.call_activity("same", context.get_input()))


@blueprint.activity_trigger(input_name="value")
def same(value: Any) -> Any:
    return value


app.register_functions(blueprint)
