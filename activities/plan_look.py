"""Activity: plan the second fan-out from the results of the first one."""

from __future__ import annotations

from typing import Any

import azure.durable_functions as df

from activities.outcome import outcome
from shared.names import PLAN_LOOK
from shared.steps import Step, run_look
from shared.storage import Records, paths

blueprint = df.Blueprint()


@blueprint.activity_trigger(input_name="task", activity=PLAN_LOOK)
def plan_look(task: Any) -> dict[str, Any]:
    job = task["job"]
    failed = [unit for units in task["failed"].values() for unit in units]

    def work(settings: Any, store: Any) -> dict[str, Any]:
        return {"units": len(run_look(settings, Records(store, job), failed).units)}

    return outcome(work, Step(job, PLAN_LOOK, paths.look_path(job)), job=job)
