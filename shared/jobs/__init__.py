"""The operations on jobs and batches: accept, retry, cancel, list, follow, remove.

`steps` does a job's work; `orchestrator` serves HTTP.
"""

from shared.jobs.acceptance import accept, take_request
from shared.jobs.attempts import cancel, instances, reopen_lost, retry
from shared.jobs.delivery import deliver
from shared.jobs.provisional import events_so_far
from shared.jobs.queue import next_runs
from shared.jobs.requests import InvalidFields, parse_request
from shared.jobs.retention import Sweep
from shared.jobs.status import (
    Live,
    Seen,
    describe,
    result_file,
    see,
    see_run,
    see_waiting,
    status_url,
    waiting,
)

__all__ = [
    "InvalidFields",
    "Live",
    "Seen",
    "Sweep",
    "accept",
    "cancel",
    "deliver",
    "describe",
    "events_so_far",
    "instances",
    "next_runs",
    "parse_request",
    "reopen_lost",
    "result_file",
    "retry",
    "see",
    "see_run",
    "see_waiting",
    "status_url",
    "take_request",
    "waiting",
]
