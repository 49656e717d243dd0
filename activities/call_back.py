"""Activity: call a run's callback once, with how the run ended."""

from __future__ import annotations

from typing import Any

import azure.durable_functions as df

from activities.outcome import outcome
from shared.jobs import deliver
from shared.names import CALL_BACK

blueprint = df.Blueprint()


@blueprint.activity_trigger(input_name="task", activity=CALL_BACK)
def call_back(task: Any) -> dict[str, Any]:
    job, attempt = task["job"], task["attempt"]

    def work(settings: Any, store: Any) -> dict[str, Any]:
        return dict(deliver(settings, store, job, attempt))

    return outcome(work, job=job)
