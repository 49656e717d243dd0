"""How an activity answers: an expected failure is a value, never an exception.

An exception in one task of a fan-out would hide the results of all other tasks.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

from orchestrator.threads import service_store
from shared.errors import MatchcutError
from shared.redact import redact
from shared.settings import Settings, get_settings
from shared.steps import Step, run_limited
from shared.storage import BlobStore

log = logging.getLogger("matchcut")


def outcome(
    work: Callable[[Settings, BlobStore], dict[str, Any]], step: Step | None = None, **where: Any
) -> dict[str, Any]:
    """{"ok": true, ...} from work, or {"ok": false, "error": {code, message, action, retryable}}.

    step: counts the attempts at work that may kill its process. where: repeated in the answer and in the log.
    An answer stays under 4 KB, since history keeps it.
    """
    try:
        settings = get_settings()
        store = service_store(settings, patient=True)
        with step.attempt(store) if step else nullcontext():
            return {"ok": True, **where, **run_limited(settings, lambda: work(settings, store))}
    except Exception as failure:
        return _failed(failure, where)


async def outcome_of(work: Callable[[], Awaitable[dict[str, Any]]], **where: Any) -> dict[str, Any]:
    """`outcome` of work that awaits a durable client, and runs blocking calls on threads.ACTIVITIES."""
    try:
        return {"ok": True, **where, **await work()}
    except Exception as failure:
        return _failed(failure, where)


def _failed(failure: Exception, where: dict[str, Any]) -> dict[str, Any]:
    """The answer to a failure. The caller is handling it, so that its traceback can be logged."""
    if isinstance(failure, MatchcutError):
        log.warning("%s: %s (%s)", where, failure.code, redact(failure.message))
        return {"ok": False, **where, "error": failure.record()}
    log.error("%s: unexpected failure\n%s", where, redact(traceback.format_exc()))
    error = MatchcutError(f"An unexpected {type(failure).__name__} stopped this step.")
    return {"ok": False, **where, "error": {**error.record(), "retryable": True}}
