"""The path of each record in the service's container. A run is one attempt at a job: names.run_id."""

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


def request_path(run: str) -> str:
    return f"{JOBS}/{run}/request.json"


def choice_path(run: str) -> str:
    return f"{JOBS}/{run}/choice.json"


def plan_path(run: str) -> str:
    return f"{JOBS}/{run}/plan.json"


def look_path(run: str) -> str:
    return f"{JOBS}/{run}/look.json"


def cancel_path(run: str) -> str:
    return f"{JOBS}/{run}/cancel"


def end_path(run: str) -> str:
    """The run's final state. Written once, before the links to its files are shown."""
    return f"{JOBS}/{run}/end.json"


def summaries_path(run: str) -> str:
    return f"{JOBS}/{run}/segments/"


def summary_path(run: str, unit: int) -> str:
    return f"{summaries_path(run)}{unit:05d}.json"


def unit_step(unit: int) -> str:
    """The step, in begun_path, that scores a unit."""
    return f"{unit:05d}"


def begun_path(run: str, step: str, attempt: int) -> str:
    """A mark that exists while an attempt at a step runs, and that stays where its process died."""
    return f"{JOBS}/{run}/begun/{step}-{attempt}"


def packets_folder(run: str) -> str:
    return f"{JOBS}/{run}/packets/"


def packets_path(run: str, unit: int) -> str:
    """The sound's packets of one segment: kept from its scoring until the run ends."""
    return f"{packets_folder(run)}{unit:05d}.npz"


def file_path(run: str, name: str) -> str:
    return f"{JOBS}/{run}/out/{name}"


def secret_path(run: str, fingerprint: str) -> str:
    """The SAS of the source while the run goes on; never served, removed at the end.

    fingerprint: the request's, so that a SAS is never sent to another request's address.
    """
    return f"{SECRETS}/{run}/{fingerprint}"


def callback_path(run: str) -> str:
    """The body of the run's callback, and every attempt to send it."""
    return f"{JOBS}/{run}/callback.json"


def callback_secret_path(run: str, fingerprint: str) -> str:
    """The query of the callback's URL, until the callback is delivered or given up; never served."""
    return f"{SECRETS}/{run}/{fingerprint}.callback"


def open_callback_path(run: str) -> str:
    """An entry that exists from the run's end until its callback is delivered or given up."""
    return f"{OPEN}/callbacks/{run}"


def score_path(key: str) -> str:
    return f"{SCORES}/{key[:2]}/{key}.npz"


def is_job_record(job: str, path: str) -> bool:
    """Whether a path is a record of any attempt at this job."""
    return re.match(rf"{JOBS}/{re.escape(job)}(-[0-9]+)?/", path) is not None


def embedding_path(key: str) -> str:
    return f"{SCORES}/{key[:2]}/{key}.embedding.npz"


def facts_path(key: str) -> str:
    """The facts that decoding found in a span (contracts.SpanFacts)."""
    return f"{SCORES}/{key[:2]}/{key}.json"


def batch_path(batch: str) -> str:
    return f"{BATCHES}/{batch}/batch.json"


def batch_blocks_folder(batch: str) -> str:
    """The folder of the batch's blocks: fan_out.BATCH_BLOCK items each."""
    return f"{BATCHES}/{batch}/items/"


def batch_block_path(batch: str, first: int) -> str:
    """The items of the block that begins with request `first`: what became of each request."""
    return f"{batch_blocks_folder(batch)}{first:05d}.json"


def batch_items_path(batch: str) -> str:
    """The items of all requests; written once every block is done."""
    return f"{BATCHES}/{batch}/items.json"


def parked_path(open_path: str) -> str:
    """Where an entry of OPEN is kept while its records cannot be read."""
    return f"{PARKED}/{open_path}"


def open_batch_folder(batch: str) -> str:
    """The prefix of open_batch_path for this batch and for no other."""
    return f"{OPEN}/batches/{batch}_"


def open_batch_path(batch: str, total: int, caller: str | None) -> str:
    """An entry that exists until all `total` requests of the batch were looked up."""
    return f"{open_batch_folder(batch)}{total}_{caller_mark(caller)}"


def batch_secret_path(batch: str, fingerprint: str) -> str:
    """Every query string of the batch's URLs, until its jobs have them."""
    return f"{SECRETS}/{batch}/{fingerprint}"
