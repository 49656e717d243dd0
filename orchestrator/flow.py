"""The orchestration as pure generators: plan -> waves of scoring -> cut.

Replayed many times, so: no clock, no environment, no random numbers, no I/O. Only references
cross into history. Fan-outs are fixed waves of task_all; above names.MAX_FAN_OUT units they go
through sub-orchestrations, since replay work grows with the square of one orchestrator's actions.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

from azure.durable_functions import DurableOrchestrationContext

from shared import names
from shared.contracts import State
from shared.errors import ErrorRecord, SegmentFailed

Flow = Generator[Any, Any, Any]
Failed = dict[str, list[int]]
"""Error code -> units given up."""

WAVES = 3
"""A step that fails with a retryable error is run in up to two more waves."""

_LOST: ErrorRecord = {
    **SegmentFailed("The process that ran this step ended before it answered.").record(),
    "retryable": True,
}


def run_job(context: DurableOrchestrationContext) -> Flow:
    """The orchestrator of one run of a job. Instance id: the run's (names.run_id). Output: the final state.

    Below, `job` is that id: the folder of the run's records.
    """
    job = context.instance_id
    context.set_custom_status({"state": State.PLANNING.value})
    plan = yield from _insist(context, names.PLAN_JOB, {"job": job})
    if not plan["ok"]:
        return (yield from _fail(context, job, plan["error"]))

    status = {
        "total": plan["units"],
        "media_s": plan["media_s"],
        "since": context.current_utc_datetime.isoformat(),
    }
    context.set_custom_status({"state": State.SCORING.value, **status})
    if plan["units"] <= names.MAX_FAN_OUT:
        failed = yield from _score(context, job, range(plan["units"]))
    else:
        failed = yield from _score_in_blocks(context, job, plan)

    context.set_custom_status({"state": State.CUTTING.value, **status})
    cut = yield from _insist(context, names.WRITE_CUT, {"job": job, "failed": failed})
    if not cut["ok"]:
        return (yield from _fail(context, job, cut["error"]))
    context.set_custom_status({"state": cut["state"], **status})
    return {"state": cut["state"]}


def score_block(context: DurableOrchestrationContext) -> Flow:
    """Sub-orchestrator: the units [first, end) of a job. Output: what failed in them."""
    task = context.get_input()
    return (yield from _score(context, task["job"], range(task["first"], task["end"])))


def _score(context: DurableOrchestrationContext, job: str, units: Sequence[int]) -> Flow:
    """Waves of score_segment: those that fail with a retryable error go into the next wave."""
    failed: Failed = {}
    for wave in range(WAVES):
        tasks = [context.call_activity(names.SCORE_SEGMENT, {"job": job, "unit": unit}) for unit in units]
        answers = yield from _all(context, tasks)
        again = []
        for unit, answer in zip(units, answers, strict=True):
            if answer["ok"]:
                continue
            if answer["error"]["retryable"] and wave < WAVES - 1:
                again.append(unit)
            else:
                failed.setdefault(answer["error"]["code"], []).append(unit)
        units = again
        if not units:
            break
    return failed


def _score_in_blocks(context: DurableOrchestrationContext, job: str, plan: dict[str, Any]) -> Flow:
    """One wave of sub-orchestrations, each of names.BLOCK units; they retry by themselves."""
    units = plan["units"]
    blocks = [range(first, min(first + names.BLOCK, units)) for first in range(0, units, names.BLOCK)]
    ids = names.block_ids(job, units)
    tasks = [
        context.call_sub_orchestrator(
            names.SCORE_BLOCK, {"job": job, "first": block.start, "end": block.stop}, instance_id
        )
        for block, instance_id in zip(blocks, ids, strict=True)
    ]
    answers = yield from _all(context, tasks)
    failed: Failed = {}
    for block, answer in zip(blocks, answers, strict=True):
        given_up = {_LOST["code"]: list(block)} if answer is _LOST_ANSWER else answer
        for code, some in given_up.items():
            failed.setdefault(code, []).extend(some)
    return failed


_LOST_ANSWER: dict[str, Any] = {"ok": False, "error": _LOST}


def _all(context: DurableOrchestrationContext, tasks: list[Any]) -> Flow:
    """Every task's answer, in order; one that raised (its process died) answers _LOST_ANSWER.

    task_all ends with its first exception; the tasks are then awaited one by one, so that
    the answers of the others are not lost.
    """
    try:
        return (yield context.task_all(tasks))
    except Exception:
        answers = []
        for task in tasks:
            try:
                answers.append((yield task))
            except Exception:
                answers.append(_LOST_ANSWER)
        return answers


def _insist(context: DurableOrchestrationContext, activity: str, task: dict[str, Any]) -> Flow:
    """One activity, tried again while its error is retryable, WAVES times in all."""
    answer = _LOST_ANSWER
    for _ in range(WAVES):
        try:
            answer = yield context.call_activity(activity, task)
        except Exception:
            answer = _LOST_ANSWER
        if answer["ok"] or not answer["error"]["retryable"]:
            break
    return answer


def _fail(context: DurableOrchestrationContext, job: str, error: ErrorRecord) -> Flow:
    yield from _insist(context, names.CLOSE_JOB, {"job": job, "error": error})
    context.set_custom_status({"state": State.FAILED.value})
    return {"state": State.FAILED.value, "code": error["code"]}
