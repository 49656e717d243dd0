"""Activity: start the runs whose turn it is, after a run has ended or a batch has got jobs."""

from __future__ import annotations

from typing import Any

import azure.durable_functions as df

from activities.outcome import outcome_of
from orchestrator.starting import start_next_runs
from orchestrator.threads import ACTIVITIES
from shared.names import START_NEXT

blueprint = df.Blueprint()


@blueprint.activity_trigger(input_name="task", activity=START_NEXT)
@blueprint.durable_client_input(client_name="client")
async def start_next(task: Any, client: Any) -> dict[str, Any]:
    async def work() -> dict[str, Any]:
        return {"turn": await start_next_runs(client, ACTIVITIES)}

    return await outcome_of(work, step=START_NEXT)
