"""The orchestrations as pure generators. A run: plan -> score -> look -> score -> cut.

A run has two fan-outs. A cascade sweeps, and then looks at what the sweep proposed; an exhaustive job scores
its segments, and then the sound that they gathered.

The host replays this code many times, so it uses no clock, no environment, no random numbers, no I/O, and
history keeps only references. A fan-out is fixed waves of task_all. Above fan_out.MAX_FAN_OUT units it goes
through sub-orchestrations, since replay work grows with the square of one orchestrator's actions.

Keys of inputs ("job", "few", "leads") stay as they are, since runs that have begun replay with them.
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
"""Seconds before each retry after a retryable error: together they outlast a storage outage of 21 minutes."""
MAX_OWN_FAULTS = 3
"""A step is given up when its process has died, or it has failed for no known reason, this often."""
_OWN_FAULT_CODES = frozenset({MatchcutError.code, SegmentFailed.code})

_LOST: ErrorRecord = {
    **SegmentFailed("The process that ran this step ended before it answered.").record(),
    "retryable": True,
}
_LOST_ANSWER: dict[str, Any] = {"ok": False, "error": _LOST}


def run_job(context: DurableOrchestrationContext) -> Flow:
    """The orchestrator of one run of a job. Instance id: the run's, names.run_id. Output: the final state."""
    final = yield from _run_steps(context)
    if (context.get_input() or {}).get("leads"):
        yield from _call_with_retries(context, names.START_NEXT, {})
    return final


def run_callback(context: DurableOrchestrationContext) -> Flow:
    """Calls a run's callback until the receiver has taken the call, or the callback is given up.

    Instance id: names.callback_id. Output: the callback's last state, or "unknown" where storage failed. Then
    start_open_work starts the callback again, and no attempt is made twice.
    """
    run, attempt = context.get_input()["job"], 1
    while True:
        answer = yield from _call_with_retries(context, names.CALL_BACK, {"job": run, "attempt": attempt})
        if not answer["ok"]:
            return {"state": "unknown"}
        if answer["state"] != "pending":
            return {"state": answer["state"]}
        yield from _wait(context, answer["wait_s"])
        attempt += 1


def run_batch(context: DurableOrchestrationContext) -> Flow:
    """Makes jobs of a batch's requests, block after block. Instance id: the batch's. Output: blocks given up.

    The jobs run on their own. start_open_work starts a batch again that has blocks given up.
    """
    batch = context.instance_id
    lost = 0
    for first in range(0, context.get_input()["total"], fan_out.BATCH_BLOCK):
        answer = yield from _call_with_retries(context, names.EXPAND_BATCH, {"batch": batch, "first": first})
        lost += not answer["ok"]
        yield from _call_with_retries(context, names.START_NEXT, {})
    return {"lost": lost}


def _run_steps(context: DurableOrchestrationContext) -> Flow:
    run = context.instance_id
    context.set_custom_status({"state": State.PLANNING.value})
    plan = yield from _call_with_retries(context, names.PLAN_JOB, {"job": run})
    if not plan["ok"]:
        return (yield from _fail_run(context, run, plan["error"]))

    first = plan["units"]
    # A second fan-out of known size counts from the beginning, so that progress does not fall back.
    status = _status(context, plan, first + plan.get("later", 0))
    context.set_custom_status({"state": State.SCORING.value, **status})
    of_batch = bool((context.get_input() or {}).get("batch"))
    failed = yield from _score(context, run, 0, first, of_batch)

    look = yield from _call_with_retries(context, names.PLAN_LOOK, {"job": run, "failed": failed})
    if not look["ok"]:
        return (yield from _fail_run(context, run, look["error"]))
    if look["units"]:
        end = first + look["units"]
        status = {**_status(context, plan, end), "before": first}
        context.set_custom_status({"state": State.SCORING.value, **status})
        failed = _merge([failed, (yield from _score(context, run, first, end, of_batch))])

    context.set_custom_status({"state": State.CUTTING.value, **status})
    cut = yield from _call_with_retries(context, names.WRITE_CUT, {"job": run, "failed": failed})
    if not cut["ok"]:
        return (yield from _fail_run(context, run, cut["error"]))
    context.set_custom_status({"state": cut["state"], **status})
    return {"state": cut["state"]}


def _status(context: DurableOrchestrationContext, plan: dict[str, Any], total: int) -> dict[str, Any]:
    """What progress is computed from: units in all, and since when this fan-out runs."""
    return {"total": total, "media_s": plan["media_s"], "since": context.current_utc_datetime.isoformat()}


def _fail_run(context: DurableOrchestrationContext, run: str, error: ErrorRecord) -> Flow:
    yield from _call_with_retries(context, names.CLOSE_JOB, {"job": run, "error": error})
    context.set_custom_status({"state": State.FAILED.value})
    return {"state": State.FAILED.value, "code": error["code"]}


# ---------------------------------------------------------------- fan-outs


def score_block(context: DurableOrchestrationContext) -> Flow:
    """The sub-orchestrator of the units [first, end) of a run. Output: Failed, the units given up of them."""
    task = context.get_input()
    units = range(task["first"], task["end"])
    return (yield from _score_units(context, task["job"], units, task["few"]))


def _score(context: DurableOrchestrationContext, run: str, first: int, end: int, of_batch: bool) -> Flow:
    """One fan-out: the units [first, end), in blocks where they are many. Output: Failed.

    of_batch: at most fan_out.BATCH_JOB_UNITS units of the run wait in front of those of other callers.
    """
    if blocks := fan_out.blocks(first, end):
        return (yield from _score_blocks(context, run, blocks, of_batch))
    return (yield from _score_units(context, run, range(first, end), of_batch))


def _score_units(
    context: DurableOrchestrationContext, run: str, units: Sequence[int], of_batch: bool
) -> Flow:
    """Waves of score_segment. Units that fail with a retryable error go into the next wave, after a pause."""
    failed: Failed = {}
    own_faults: Counter[int] = Counter()
    for pause_s in (*PAUSES_S, None):
        answers: list[Any] = []
        for chunk in _chunks(units, fan_out.BATCH_JOB_UNITS if of_batch else fan_out.MAX_FAN_OUT):
            tasks = [context.call_activity(names.SCORE_SEGMENT, {"job": run, "unit": unit}) for unit in chunk]
            answers += yield from _await_all(context, tasks)
        next_wave = []
        for unit, answer in zip(units, answers, strict=True):
            if answer["ok"]:
                continue
            error = answer["error"]
            own_faults[unit] += error["code"] in _OWN_FAULT_CODES
            if error["retryable"] and own_faults[unit] < MAX_OWN_FAULTS and pause_s is not None:
                next_wave.append(unit)
            else:
                failed.setdefault(error["code"], []).append(unit)
        units = next_wave
        if not units or pause_s is None:
            break
        yield from _wait(context, pause_s)
    return failed


def _score_blocks(
    context: DurableOrchestrationContext, run: str, blocks: Sequence[range], of_batch: bool
) -> Flow:
    """One wave of sub-orchestrations, of a batch one at a time. They retry by themselves."""
    answers: list[Any] = []
    for chunk in _chunks(blocks, 1 if of_batch else len(blocks)):
        tasks = [
            context.call_sub_orchestrator(
                names.SCORE_BLOCK,
                {"job": run, "first": block.start, "end": block.stop, "few": of_batch},
                fan_out.block_id(run, block),
            )
            for block in chunk
        ]
        answers += yield from _await_all(context, tasks)
    return _merge(
        [
            {_LOST["code"]: list(block)} if answer is _LOST_ANSWER else answer
            for block, answer in zip(blocks, answers, strict=True)
        ]
    )


def _chunks(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _merge(parts: Sequence[Failed]) -> Failed:
    merged: Failed = {}
    for failed in parts:
        for code, units in failed.items():
            merged.setdefault(code, []).extend(units)
    return merged


# ---------------------------------------------------------------- calls


def _call_with_retries(context: DurableOrchestrationContext, activity: str, task: dict[str, Any]) -> Flow:
    """Calls one activity, again while its error is retryable, with pauses. Output: its last answer."""
    answer, own_faults = _LOST_ANSWER, 0
    for pause_s in (*PAUSES_S, None):
        try:
            answer = yield context.call_activity(activity, task)
        except Exception:
            answer = _LOST_ANSWER
        if answer["ok"] or not answer["error"]["retryable"]:
            break
        own_faults += answer["error"]["code"] in _OWN_FAULT_CODES
        if own_faults == MAX_OWN_FAULTS or pause_s is None:
            break
        yield from _wait(context, pause_s)
    return answer


def _await_all(context: DurableOrchestrationContext, tasks: list[Any]) -> Flow:
    """Every task's answer, in order. The answer of a task that raised, as its process died, is _LOST_ANSWER.

    task_all ends with its first exception. The tasks are then awaited one by one, so that the answers of the
    others are not lost.
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


def _wait(context: DurableOrchestrationContext, pause_s: int) -> Flow:
    yield context.create_timer(context.current_utc_datetime + timedelta(seconds=pause_s))
