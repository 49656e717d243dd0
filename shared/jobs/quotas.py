"""Limits on open jobs, in all and per caller.

Open jobs are counted before a request is accepted, from one listing of the ledger. Requests that arrive
together may all pass, so a limit can be exceeded by the number of requests that are answered concurrently.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from shared import names
from shared.errors import QueueFull, TooManyJobs
from shared.settings import Settings
from shared.storage import BlobStore, ledger

_PRINCIPAL, _KEY = "x-ms-client-principal-id", "x-functions-key"


def caller_id(settings: Settings, headers: Mapping[str, str], params: Mapping[str, str]) -> str | None:
    """sha256 of the principal that Easy Auth names, else of the function key; None where there is neither.

    headers: by lower-case name. params: those of the URL, which may hold a key as `code`. Neither key nor
    principal is stored. The principal's header counts only with the setting easy_auth, since without Easy
    Auth any caller could write it.
    """
    if settings.easy_auth and (principal := headers.get(_PRINCIPAL)):
        return _digest("principal", principal)
    key = headers.get(_KEY) or params.get("code")
    return _digest("key", key) if key else None


def _digest(kind: str, value: str) -> str:
    return hashlib.sha256(f"{kind} {value}".encode()).hexdigest()


def check_room(settings: Settings, store: BlobStore, caller: str | None, more: int = 1) -> None:
    """Raises TooManyJobs where `more` jobs would exceed this caller's limit, QueueFull where they would
    exceed the limit on all jobs.

    All callers without a key count as one.
    """
    most, most_per_caller = settings.max_open_jobs, settings.max_open_jobs_per_key
    if not most and not most_per_caller:
        return
    counts = ledger.count_open(store)
    own = counts.by_caller[names.caller_mark(caller)]
    if most_per_caller and own + more > most_per_caller:
        raise TooManyJobs(_sentence("Of your jobs", own, more, most_per_caller))
    if most and counts.jobs + more > most:
        raise QueueFull(_sentence("Of all jobs", counts.jobs, more, most))


def _sentence(whose: str, open_jobs: int, more: int, most: int) -> str:
    return f"{whose} {open_jobs} have not ended, of at most {most}; this request is for {more} more."
