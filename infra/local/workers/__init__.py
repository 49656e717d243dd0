"""The processes that run activities and timer functions."""

from infra.local.workers.pool import Failure, Work, Worker, WorkerDied, WorkerPool
from infra.local.workers.worker import run

__all__ = ["Failure", "Work", "Worker", "WorkerDied", "WorkerPool", "run"]
