"""The orchestration as pure generators: plan -> score -> look -> score -> cut.

Two fan-outs: a cascade sweeps, and then looks at what the sweep proposed; an exhaustive job scores its
segments, and then the sound that they gathered.

Replayed many times, so: no clock, no environment, no random numbers, no I/O. Only references
cross into history. Fan-outs are fixed waves of task_all; above names.MAX_FAN_OUT units they go
through sub-orchestrations, since replay work grows with the square of one orchestrator's actions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from datetime import timedelta
from typing import Any

from azure.durable_functions import DurableOrchestrationContext

from shared import fan_out, names
from shared.contracts import State
from shared.errors import ErrorRecord, MatchcutError, SegmentFailed

Flow = Generator[Any, Any, Any]
Failed = dict[str, list[int]]
"""Error code -> units given up."""

PAUSES_S = (2, 15, 60, 300, 900)
"""Waits before a step that met trouble which may pass is run again: for storage that is away, 21 minutes."""
TRIES = 3
"""Of a step whose process dies, or that fails for no reason it knows: the fault may be the step's own."""
_OWN_FAULT = frozenset({MatchcutError.code, SegmentFailed.code})

_LOST: ErrorRecord = {
    **SegmentFailed("The process that ran this step ended before it answered.").record(),
    "retryable": True,
}


def run_job(context: DurableOrchestrationContext) -> Flow:
    """The orchestrator of one run of a job. Instance id: the run's (names.run_id). Output: the final state.

    Below, `job` is that id: the folder of the run's records.
    """
    final = yield from _run(context)
    if (context.get_input() or {}).get("leads"):
        yield from _insist(context, names.START_NEXT, {})
    return final


def run_callback(context: DurableOrchestrationContext) -> Flow:
    """Tells a run's callback how it ended, again and again until it is told or given up.

    Instance id: names.callback_id. Output: the callback's last state, or "unknown" where storage failed; then
    whoever tends what is open starts it anew, and attempts that were made are not made again.
    """
    run, attempt = context.get_input()["job"], 1
    while True:
        answer = yield from _insist(context, names.CALL_BACK, {"job": run, "attempt": attempt})
        if not answer["ok"]:
            return {"state": "unknown"}
        if answer["state"] != "pending":
            return {"state": answer["state"]}
        yield from _pause(context, answer["wait_s"])
        attempt += 1


def run_batch(context: DurableOrchestrationContext) -> Flow:
    """Makes jobs of a batch's requests, block after block. Instance id: the batch's. Output: blocks given up.

    The jobs run on their own. A block that is given up is tried again by whoever looks for batches that
    are not expanded yet.
    """
    batch = context.instance_id
    lost = 0
    for first in range(0, context.get_input()["total"], fan_out.BATCH_BLOCK):
        answer = yield from _insist(context, names.EXPAND_BATCH, {"batch": batch, "first": first})
        lost += not answer["ok"]
        yield from _insist(context, names.START_NEXT, {})
    return {"lost": lost}


def _run(context: DurableOrchestrationContext) -> Flow:
    job = context.instance_id
    context.set_custom_status({"state": State.PLANNING.value})
    plan = yield from _insist(context, names.PLAN_JOB, {"job": job})
    if not plan["ok"]:
        return (yield from _fail(context, job, plan["error"]))

    first = plan["units"]
    # A second fan-out of known size counts from the beginning, so that progress does not fall back.
    status = _status(context, plan, first + plan.get("later", 0))
    context.set_custom_status({"state": State.SCORING.value, **status})
    few = bool((context.get_input() or {}).get("batch"))
    failed = yield from _score(context, job, 0, first, few)

    look = yield from _insist(context, names.PLAN_LOOK, {"job": job, "failed": failed})
    if not look["ok"]:
        return (yield from _fail(context, job, look["error"]))
    if look["units"]:
        end = first + look["units"]
        status = {**_status(context, plan, end), "before": first}
        context.set_custom_status({"state": State.SCORING.value, **status})
        failed = _merged([failed, (yield from _score(context, job, first, end, few))])

    context.set_custom_status({"state": State.CUTTING.value, **status})
    cut = yield from _insist(context, names.WRITE_CUT, {"job": job, "failed": failed})
    if not cut["ok"]:
        return (yield from _fail(context, job, cut["error"]))
    context.set_custom_status({"state": cut["state"], **status})
    return {"state": cut["state"]}


def _status(context: DurableOrchestrationContext, plan: dict[str, Any], total: int) -> dict[str, Any]:
    """What progress is computed from: units in all, and since when this fan-out runs."""
    return {"total": total, "media_s": plan["media_s"], "since": context.current_utc_datetime.isoformat()}


def score_block(context: DurableOrchestrationContext) -> Flow:
    """Sub-orchestrator: the units [first, end) of a job. Output: what failed in them."""
    task = context.get_input()
    units = range(task["first"], task["end"])
    return (yield from _score_units(context, task["job"], units, task["few"]))


def _score(context: DurableOrchestrationContext, job: str, first: int, end: int, few: bool) -> Flow:
    """One fan-out: the units [first, end), in blocks where they are many. Output: what failed.

    few: the work of a batch; never more than names.FEW units of it wait in front of somebody else's.
    """
    if blocks := fan_out.blocks(first, end):
        return (yield from _score_blocks(context, job, blocks, few))
    return (yield from _score_units(context, job, range(first, end), few))


def _score_units(context: DurableOrchestrationContext, job: str, units: Sequence[int], few: bool) -> Flow:
    """Waves of score_segment: those that fail with a retryable error go into the next wave, after a pause."""
    failed: Failed = {}
    own_faults: Counter[int] = Counter()
    for pause_s in (*PAUSES_S, None):
        answers: list[Any] = []
        for some in _parts(units, fan_out.FEW if few else fan_out.MAX_FAN_OUT):
            tasks = [context.call_activity(names.SCORE_SEGMENT, {"job": job, "unit": unit}) for unit in some]
            answers += yield from _all(context, tasks)
        again = []
        for unit, answer in zip(units, answers, strict=True):
            if answer["ok"]:
                continue
            error = answer["error"]
            own_faults[unit] += error["code"] in _OWN_FAULT
            if error["retryable"] and own_faults[unit] < TRIES and pause_s is not None:
                again.append(unit)
            else:
                failed.setdefault(error["code"], []).append(unit)
        units = again
        if not units or pause_s is None:
            break
        yield from _pause(context, pause_s)
    return failed


def _score_blocks(context: DurableOrchestrationContext, job: str, blocks: Sequence[range], few: bool) -> Flow:
    """One wave of sub-orchestrations, of a batch one at a time; they retry by themselves."""
    answers: list[Any] = []
    for some in _parts(blocks, 1 if few else len(blocks)):
        tasks = [
            context.call_sub_orchestrator(
                names.SCORE_BLOCK,
                {"job": job, "first": block.start, "end": block.stop, "few": few},
                fan_out.block_id(job, block),
            )
            for block in some
        ]
        answers += yield from _all(context, tasks)
    return _merged(
        [
            {_LOST["code"]: list(block)} if answer is _LOST_ANSWER else answer
            for block, answer in zip(blocks, answers, strict=True)
        ]
    )


def _parts(several: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [several[start : start + size] for start in range(0, len(several), size)]


def _merged(several: Sequence[Failed]) -> Failed:
    merged: Failed = {}
    for failed in several:
        for code, units in failed.items():
            merged.setdefault(code, []).extend(units)
    return merged


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
    """One activity, tried again while its error is retryable, with pauses."""
    answer, own_faults = _LOST_ANSWER, 0
    for pause_s in (*PAUSES_S, None):
        try:
            answer = yield context.call_activity(activity, task)
        except Exception:
            answer = _LOST_ANSWER
        if answer["ok"] or not answer["error"]["retryable"]:
            break
        own_faults += answer["error"]["code"] in _OWN_FAULT
        if own_faults == TRIES or pause_s is None:
            break
        yield from _pause(context, pause_s)
    return answer


def _pause(context: DurableOrchestrationContext, pause_s: int) -> Flow:
    yield context.create_timer(context.current_utc_datetime + timedelta(seconds=pause_s))


def _fail(context: DurableOrchestrationContext, job: str, error: ErrorRecord) -> Flow:
    yield from _insist(context, names.CLOSE_JOB, {"job": job, "error": error})
    context.set_custom_status({"state": State.FAILED.value})
    return {"state": State.FAILED.value, "code": error["code"]}
