"""The commands' work on many jobs: read a list of videos, wait for a batch, show a list."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from client import view
from client.errors import ClientError, UsageError
from shared.contracts import BatchStatus, JobSummary, State

_WITH_RESULT = (State.COMPLETED, State.COMPLETED_WITH_GAPS)
_WAITING = ("Accepting", *(state for state in State if not state.ended))
LINES, OBJECT = "application/x-ndjson", "application/json"


def read_text(source: str) -> str:
    """A file's text, or stdin's for "-". Raises ClientError."""
    if source == "-":
        return sys.stdin.read()
    try:
        return Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as bad:
        why = bad.strerror if isinstance(bad, OSError) else "it is not UTF-8"
        raise ClientError(f"{source} cannot be read: {why}.") from None


def batch_body(text: str, name: str | None, options: dict[str, Any]) -> tuple[bytes, str]:
    """(body, content type) of POST /api/batches for a text, which is either

    - one URL per line; empty lines and lines that begin with # do not count; or
    - a body of the API, one object or one object per line, which is sent unchanged.

    Raises UsageError for an empty list, and for a name or options beside a body of the API.
    """
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise UsageError("There is no video in the list.")
    options = {option: value for option, value in options.items() if value}
    if not lines[0].startswith("{"):
        fields = {"name": name, "videos": lines, "options": options}
        return json.dumps({field: value for field, value in fields.items() if value}).encode(), OBJECT
    if name or options:
        raise UsageError("A list of JSON says itself what is asked for: put the name and the options there.")
    try:
        batch = "videos" in json.loads(text)  # a single line may be either form
    except ValueError:
        batch = False
    return text.encode(), OBJECT if batch else LINES


def follow(statuses: Iterable[BatchStatus]) -> BatchStatus:
    """Print each change until the batch has ended, then its failures. Returns the last status; there must be
    at least one.

    Raises ClientError where videos have no result.
    """
    before = ""
    for status in statuses:
        if (line := describe(status)) != before:
            view.say(line)
            before = line
    for failure in status.failures:
        view.say(f"{failure.index + 1:5}  {failure.video}  {failure.code}: {failure.message}")
    if without := status.total - sum(status.counts.get(state, 0) for state in _WITH_RESULT):
        raise ClientError(
            f"{without} of {status.total} have no result; `batch csv {status.id}` names them all."
        )
    return status


def describe(status: BatchStatus) -> str:
    """`Running, 500 of 750: Completed 499, Failed 1, Queued 250, ETA 2:15:00`."""
    counts = {state: count for state, count in status.counts.items() if count}
    waiting = sum(counts.get(state, 0) for state in _WAITING)
    by_state = ", ".join(f"{state} {count}" for state, count in counts.items())
    eta = "" if status.eta_s is None else f", ETA {view.duration(status.eta_s)}"
    return f"{status.state}, {status.total - waiting} of {status.total}: {by_state}{eta}"


def table(jobs: Iterable[JobSummary]) -> Iterator[str]:
    """One line per job."""
    for job in jobs:
        yield "  ".join(
            (job.id, job.created[:19], f"{job.state.value:17}", job.name or "-", job.code or "")
        ).rstrip()
