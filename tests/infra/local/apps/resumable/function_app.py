"""An app whose orchestrator has the name of matchcut's, and keeps its state in blobs as matchcut does."""

from __future__ import annotations

import time
from typing import Any

import azure.durable_functions as df
import azure.functions as func

from shared import names
from shared.settings import get_settings
from shared.storage import BlobStore, paths

app = df.DFApp()
STEPS, GATED = 6, 4


@app.orchestration_trigger(context_name="context", orchestration=names.JOB)
def job(context: df.DurableOrchestrationContext) -> Any:
    steps = [context.call_activity("step", f"{context.instance_id}/{n}") for n in range(STEPS)]
    yield context.task_all(steps)
    yield context.call_activity("close", context.instance_id)


@app.timer_trigger(schedule="0 0 0 1 1 *", arg_name="timer", run_on_startup=True)
@app.durable_client_input(client_name="client")
async def go_on(timer: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    """Starts what an earlier host has left, as the service's own timer does."""
    store = BlobStore.from_settings(get_settings())
    for path in store.list(f"{paths.JOBS}/"):
        instance = path.split("/")[1]
        if path == paths.request_path(instance) and not store.exists(paths.end_path(instance)):
            await client.start_new(names.JOB, instance)


@app.activity_trigger(input_name="name")
def step(name: str) -> None:
    """Leaves one blob for each time it ran; what is there already is not done again. From GATED on it waits
    for the blob `go`."""
    store = BlobStore.from_settings(get_settings())
    if not store.exists(f"done/{name}"):
        while int(name.rpartition("/")[2]) >= GATED and not store.exists("go"):
            time.sleep(0.02)
        store.put(f"ran/{name}/{time.monotonic_ns()}", b"{}")
        store.put(f"done/{name}", b"{}")


@app.activity_trigger(input_name="instance")
def close(instance: str) -> None:
    BlobStore.from_settings(get_settings()).put(paths.end_path(instance), b"{}")
