"""Where each record lies in the service's container."""

from __future__ import annotations

import re

from shared.names import caller_mark

SCORES = "scores"


JOBS = "jobs"


SECRETS = "secrets"


OPEN = "open"


PARKED = "parked"


INDEX = "index"


BATCHES = "batches"


def request_path(job: str) -> str:
    return f"{JOBS}/{job}/request.json"


def choice_path(job: str) -> str:
    return f"{JOBS}/{job}/choice.json"


def plan_path(job: str) -> str:
    return f"{JOBS}/{job}/plan.json"


def look_path(job: str) -> str:
    return f"{JOBS}/{job}/look.json"


def cancel_path(job: str) -> str:
    return f"{JOBS}/{job}/cancel"


def end_path(job: str) -> str:
    """Written once, when the job has ended, with its final state; there before links are given."""
    return f"{JOBS}/{job}/end.json"


def summaries_path(job: str) -> str:
    return f"{JOBS}/{job}/segments/"


def summary_path(job: str, unit: int) -> str:
    return f"{summaries_path(job)}{unit:05d}.json"


def unit_step(unit: int) -> str:
    """As begun_path names the scoring of a unit."""
    return f"{unit:05d}"


def begun_path(job: str, step: str, attempt: int) -> str:
    """There while an attempt at a step is made, and for ever where its process died in it."""
    return f"{JOBS}/{job}/begun/{step}-{attempt}"


def packets_folder(job: str) -> str:
    return f"{JOBS}/{job}/packets/"


def packets_path(job: str, unit: int) -> str:
    """The sound's packets of a segment, from when it was scored until the job ends."""
    return f"{packets_folder(job)}{unit:05d}.npz"


def file_path(job: str, name: str) -> str:
    return f"{JOBS}/{job}/out/{name}"


def secret_path(job: str, fingerprint: str) -> str:
    """Holds the SAS of the source while the job runs; never served, removed at the end.

    By fingerprint of the request: a SAS is never sent to another request's address.
    """
    return f"{SECRETS}/{job}/{fingerprint}"


def callback_path(run: str) -> str:
    """What is sent to the run's callback, and every attempt to send it."""
    return f"{JOBS}/{run}/callback.json"


def callback_secret_path(run: str, fingerprint: str) -> str:
    """Holds the query of the callback's URL until it is delivered or given up; never served."""
    return f"{SECRETS}/{run}/{fingerprint}.callback"


def open_callback_path(run: str) -> str:
    """There from the run's end until its callback is delivered or given up."""
    return f"{OPEN}/callbacks/{run}"


def score_path(key: str) -> str:
    return f"{SCORES}/{key[:2]}/{key}.npz"


def is_of(job: str, path: str) -> bool:
    """Whether a path is a record of some attempt at this job."""
    return re.match(rf"{JOBS}/{re.escape(job)}(-[0-9]+)?/", path) is not None


def embedding_path(key: str) -> str:
    return f"{SCORES}/{key[:2]}/{key}.embedding.npz"


def facts_path(key: str) -> str:
    """What decoding found in a span (contracts.SpanFacts)."""
    return f"{SCORES}/{key[:2]}/{key}.json"


def batch_path(batch: str) -> str:
    return f"{BATCHES}/{batch}/batch.json"


def batch_block_path(batch: str, first: int | None) -> str:
    """What became of the requests from `first`; None: the folder of all blocks."""
    return f"{BATCHES}/{batch}/items/" + ("" if first is None else f"{first:05d}.json")


def batch_items_path(batch: str) -> str:
    """What became of all requests, once that is known."""
    return f"{BATCHES}/{batch}/items.json"


def parked_path(open_path: str) -> str:
    """Where an entry of OPEN is kept while what it leads to cannot be read."""
    return f"{PARKED}/{open_path}"


def open_batch_folder(batch: str) -> str:
    """What open_batch_path begins with for this batch, and for no other."""
    return f"{OPEN}/batches/{batch}_"


def open_batch_path(batch: str, total: int, caller: str | None) -> str:
    """There until every one of its `total` requests was looked up."""
    return f"{open_batch_folder(batch)}{total}_{caller_mark(caller)}"


def batch_secret_path(batch: str, fingerprint: str) -> str:
    """Holds every SAS of the batch, until its jobs have them."""
    return f"{SECRETS}/{batch}/{fingerprint}"
