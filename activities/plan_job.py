"""Activity: probe the video and write plan.json."""

from __future__ import annotations

from typing import Any

import azure.durable_functions as df

from activities.outcome import outcome
from shared.names import PLAN_JOB
from shared.steps import Step, run_plan
from shared.storage import Records, paths

blueprint = df.Blueprint()


@blueprint.activity_trigger(input_name="task", activity=PLAN_JOB)
def plan_job(task: Any) -> dict[str, Any]:
    job = task["job"]

    def work(settings: Any, store: Any) -> dict[str, Any]:
        plan = run_plan(settings, Records(store, job))
        media_s = float(plan.video.planned_frames / plan.video.rate)
        return {"units": len(plan.units), "later": int(plan.gathers), "media_s": media_s}

    return outcome(work, Step(job, PLAN_JOB, paths.plan_path(job)), job=job)
