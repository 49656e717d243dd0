"""Activity: write the end of a run that failed."""

from __future__ import annotations

from typing import Any

import azure.durable_functions as df

from activities.outcome import outcome
from shared.contracts import ErrorBody, State
from shared.names import CLOSE_JOB
from shared.steps import close_run
from shared.storage import Records

blueprint = df.Blueprint()


@blueprint.activity_trigger(input_name="task", activity=CLOSE_JOB)
def close_job(task: Any) -> dict[str, Any]:
    job = task["job"]

    def work(settings: Any, store: Any) -> dict[str, Any]:
        error = ErrorBody.model_validate(task["error"])
        return {"state": close_run(Records(store, job), State.FAILED, error).state.value}

    return outcome(work, job=job)
