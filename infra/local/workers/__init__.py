"""The processes that run activities and timer functions.

`worker` is the program of each of them: what imports it here would load it twice there.
"""

from infra.local.workers.pool import Failure, Work, Worker, WorkerDied, WorkerPool

__all__ = ["Failure", "Work", "Worker", "WorkerDied", "WorkerPool"]
