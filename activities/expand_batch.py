"""Activity: make jobs of one block of a batch's requests."""

from __future__ import annotations

from typing import Any

import azure.durable_functions as df

from activities.outcome import outcome
from shared.jobs import batches
from shared.names import EXPAND_BATCH

blueprint = df.Blueprint()


@blueprint.activity_trigger(input_name="task", activity=EXPAND_BATCH)
def expand_batch(task: Any) -> dict[str, Any]:
    batch, first = task["batch"], task["first"]

    def work(settings: Any, store: Any) -> dict[str, Any]:
        with batches.parking(store, batch):
            count = batches.expand(settings, store, batch, first)
            return {"count": count, "done": batches.finish(store, batch)}

    return outcome(work, batch=batch, first=first)
