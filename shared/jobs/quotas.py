"""How much may be open at a time, and who asks.

What is open is counted before a request is accepted, from one listing of the ledger: callers who come
in the same moment may pass together, so a limit can be exceeded by as many as are answered at once.
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

    headers: by lower-case name; params: those of the URL, where a key may stand as `code`. The key and the
    principal are kept nowhere. Without the setting easy_auth anybody could write the principal's header,
    so it is not looked at.
    """
    if settings.easy_auth and (principal := headers.get(_PRINCIPAL)):
        return _digest("principal", principal)
    key = headers.get(_KEY) or params.get("code")
    return _digest("key", key) if key else None


def _digest(kind: str, value: str) -> str:
    return hashlib.sha256(f"{kind} {value}".encode()).hexdigest()


def check_room(settings: Settings, store: BlobStore, caller: str | None, more: int = 1) -> None:
    """Raises TooManyJobs or QueueFull where `more` jobs of this caller would be too many open ones.

    Those without a key are counted as one caller.
    """
    most, most_of_one = settings.max_open_jobs, settings.max_open_jobs_per_key
    if not most and not most_of_one:
        return
    counts = ledger.count_open(store)
    own = counts.by_caller[names.caller_mark(caller)]
    if most_of_one and own + more > most_of_one:
        raise TooManyJobs(_sentence("Of your jobs", own, more, most_of_one))
    if most and counts.jobs + more > most:
        raise QueueFull(_sentence("Of all jobs", counts.jobs, more, most))


def _sentence(whose: str, there: int, more: int, most: int) -> str:
    return f"{whose} {there} have not ended, of at most {most}; this request is for {more} more."
