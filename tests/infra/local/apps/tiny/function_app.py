"""A small function app with one of each thing that the embedded host must do."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)


# ---------------------------------------------------------------- HTTP


@app.route(route="echo/{who}", methods=["GET", "POST"])
def echo(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
    body = {
        "who": req.route_params["who"],
        "method": req.method,
        "query": dict(req.params),
        "header": req.headers.get("X-Sent"),
        "body": req.get_body().decode(),
        "invocation": context.invocation_id,
        "function": context.function_name,
    }
    return func.HttpResponse(json.dumps(body), mimetype="application/json", headers={"X-Back": "yes"})


@app.route(route="echo/literal", methods=["GET"])
def literal(req: func.HttpRequest) -> str:
    return "literal"


@app.route(route="files/{*path}", methods=["GET"])
async def files(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(bytes(range(256)), mimetype=f"application/{req.route_params['path']}")


@app.route(route="broken", methods=["GET"])
def broken(req: func.HttpRequest) -> str:
    raise RuntimeError("a secret that must not be served")


@app.route(route="run/{name}/{id}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> Any:
    """The SDK's own client, over HTTP against this host."""
    started = await client.start_new(req.route_params["name"], req.route_params["id"], req.get_json())
    return client.create_check_status_response(req, started)


@app.route(route="seen/{id}", methods=["GET"])
@app.durable_client_input(client_name="client")
async def seen(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    status = await client.get_status(req.route_params["id"], show_input=True)
    return func.HttpResponse(json.dumps(status.to_json()), mimetype="application/json")


# ---------------------------------------------------------------- orchestrators


@app.orchestration_trigger(context_name="context")
def fan_out(context: df.DurableOrchestrationContext) -> Any:
    """Input: how many. Output: the answers in order."""
    count = context.get_input()
    context.set_custom_status({"asked": count})
    answers = yield context.task_all([context.call_activity("double", n) for n in range(count)])
    context.set_custom_status({"answered": len(answers)})
    return answers


@app.orchestration_trigger(context_name="context")
def parent(context: df.DurableOrchestrationContext) -> Any:
    """Input: {"blocks", "each"}. Output: the sum of all answers, and the blocks' parents."""
    task = context.get_input()
    blocks = [context.call_sub_orchestrator("block", task["each"]) for _ in range(task["blocks"])]
    answers = yield context.task_all(blocks)
    return {"sum": sum(answer["sum"] for answer in answers), "parents": [a["parent"] for a in answers]}


@app.orchestration_trigger(context_name="context")
def block(context: df.DurableOrchestrationContext) -> Any:
    count = context.get_input()
    answers = yield context.task_all([context.call_activity("double", n) for n in range(count)])
    return {"sum": sum(answers), "parent": context.parent_instance_id}


@app.orchestration_trigger(context_name="context")
def one(context: df.DurableOrchestrationContext) -> Any:
    """Input: {"activity", "input"}. Output: its answer, or what the exception said."""
    task = context.get_input()
    try:
        return {"answer": (yield context.call_activity(task["activity"], task["input"]))}
    except Exception as failure:
        return {"error": str(failure)}


@app.orchestration_trigger(context_name="context")
def careless(context: df.DurableOrchestrationContext) -> Any:
    context.set_custom_status("before")
    yield context.call_activity("fail", "unhandled")


@app.orchestration_trigger(context_name="context")
def guarded(context: df.DurableOrchestrationContext) -> Any:
    try:
        yield context.call_sub_orchestrator("careless", None, f"{context.instance_id}-sub")
    except Exception as failure:
        return str(failure)


@app.orchestration_trigger(context_name="context")
def approval(context: df.DurableOrchestrationContext) -> Any:
    """An event against a timer; input: seconds. Output: which came first, and what it carried."""
    event = context.wait_for_external_event("approve")
    timer = context.create_timer(context.current_utc_datetime + timedelta(seconds=context.get_input()))
    winner = yield context.task_any([event, timer])
    if winner == event:
        timer.cancel()
        return {"event": event.result}
    return {"timer": True}


@app.orchestration_trigger(context_name="context")
def countdown(context: df.DurableOrchestrationContext) -> Any:
    left = context.get_input()
    last = yield context.call_activity("double", left)
    if left > 0:
        context.continue_as_new(left - 1)
        return None
    return last


@app.orchestration_trigger(context_name="context")
def wavering(context: df.DurableOrchestrationContext) -> Any:
    """Not deterministic: calls another activity once it is replayed."""
    name = "double" if not context.is_replaying else "fail"
    yield context.call_activity(name, 1)
    yield context.call_activity(name, 2)


@app.orchestration_trigger(context_name="context")
def retrying(context: df.DurableOrchestrationContext) -> Any:
    yield context.call_activity_with_retry("double", df.RetryOptions(1000, 2), 1)


@app.orchestration_trigger(context_name="context")
def marks(context: df.DurableOrchestrationContext) -> Any:
    """Input: {"folder", "count", "nap_s"}: activities that leave a file each, in one sub-orchestration."""
    return (yield context.call_sub_orchestrator("marks_block", context.get_input()))


@app.orchestration_trigger(context_name="context")
def marks_block(context: df.DurableOrchestrationContext) -> Any:
    task = context.get_input()
    tasks = [context.call_activity("mark", {**task, "n": n}) for n in range(task["count"])]
    return (yield context.task_all(tasks))


# ---------------------------------------------------------------- activities


@app.activity_trigger(input_name="number")
def double(number: int) -> int:
    return 2 * number


@app.activity_trigger(input_name="value")
async def same(value: Any) -> Any:
    return value


@app.activity_trigger(input_name="task")
@app.durable_client_input(client_name="client")
async def start_others(task: Any, client: df.DurableOrchestrationClient) -> Any:
    """Input: {"ids", "name", "value"}. Starts the first, then the others at once, then looks at all."""
    first, *others = task["ids"]
    started = [await client.start_new(task["name"], first, task["value"])]
    started += await asyncio.gather(*[client.start_new(task["name"], i, task["value"]) for i in others])
    seen = await asyncio.gather(*[client.get_status(name) for name in started])
    return {"started": started, "names": [status.name for status in seen], "pid": os.getpid()}


@app.activity_trigger(input_name="ids")
@app.durable_client_input(client_name="client")
async def look_at(ids: Any, client: df.DurableOrchestrationClient) -> Any:
    return [status.name for status in await asyncio.gather(*[client.get_status(name) for name in ids])]


@app.activity_trigger(input_name="value")
def fail(value: str) -> None:
    raise ValueError(f"no good: {value}")


@app.activity_trigger(input_name="value")
def die(value: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@app.activity_trigger(input_name="value")
def unspeakable(value: str) -> Any:
    return object


@app.activity_trigger(input_name="value")
def rss_bytes(value: str) -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@app.activity_trigger(input_name="task")
def mark(task: dict[str, Any]) -> int:
    Path(task["folder"], str(task["n"])).touch()
    time.sleep(task["nap_s"])
    return int(task["n"])


@app.activity_trigger(input_name="pid_file")
def child(pid_file: str) -> None:
    """Starts a process that outlives its call, and waits."""
    started = subprocess.Popen(["sleep", "300"])
    Path(pid_file).write_text(str(started.pid))
    time.sleep(300)
