"""Activity: score one unit of a run: a segment or a span of the picture, the sound, or a sweep."""

from __future__ import annotations

from typing import Any

import azure.durable_functions as df

from activities.outcome import outcome
from shared.names import SCORE_SEGMENT
from shared.steps import Step, run_score
from shared.storage import Records, paths

blueprint = df.Blueprint()


@blueprint.activity_trigger(input_name="task", activity=SCORE_SEGMENT)
def score_segment(task: Any) -> dict[str, Any]:
    job, unit = task["job"], task["unit"]

    def work(settings: Any, store: Any) -> dict[str, Any]:
        summary = run_score(settings, Records(store, job), unit)
        return {"cached": summary.cached, "frames": summary.facts.frames}

    return outcome(work, Step(job, paths.unit_step(unit), paths.summary_path(job, unit)), job=job, unit=unit)
