"""Bindings of the orchestrators."""

from __future__ import annotations

from typing import Any

import azure.durable_functions as df

from orchestrator import flow
from shared import names

blueprint = df.Blueprint()


@blueprint.orchestration_trigger(context_name="context", orchestration=names.JOB)
def job(context: df.DurableOrchestrationContext) -> Any:
    return (yield from flow.run_job(context))


@blueprint.orchestration_trigger(context_name="context", orchestration=names.BATCH)
def batch(context: df.DurableOrchestrationContext) -> Any:
    return (yield from flow.run_batch(context))


@blueprint.orchestration_trigger(context_name="context", orchestration=names.CALLBACK)
def callback(context: df.DurableOrchestrationContext) -> Any:
    return (yield from flow.run_callback(context))


@blueprint.orchestration_trigger(context_name="context", orchestration=names.SCORE_BLOCK)
def score_block(context: df.DurableOrchestrationContext) -> Any:
    return (yield from flow.score_block(context))
