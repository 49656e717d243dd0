"""Activity: stitch the scores, spot events, cut, and write every timeline."""

from __future__ import annotations

from typing import Any

import azure.durable_functions as df

from activities.outcome import outcome
from shared.names import WRITE_CUT
from shared.steps import Step, run_cut
from shared.storage import Records

blueprint = df.Blueprint()


@blueprint.activity_trigger(input_name="task", activity=WRITE_CUT)
def write_cut(task: Any) -> dict[str, Any]:
    job = task["job"]
    failed = {int(unit): code for code, units in task["failed"].items() for unit in units}

    def work(settings: Any, store: Any) -> dict[str, Any]:
        return {"state": run_cut(settings, Records(store, job), failed).state.value}

    return outcome(work, Step(job, WRITE_CUT), job=job)
