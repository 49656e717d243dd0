"""List all jobs, page by page."""

from __future__ import annotations

import base64
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from shared.contracts import JobList, JobSummary, State
from shared.errors import InvalidRequest
from shared.jobs.status import status_url
from shared.settings import Settings
from shared.storage import BlobStore, ledger

_QUERY = ("state", "since", "top", "continuation")
_MOST_LISTED = 1000
_LONGEST = 2000
"""Limit on a continuation's characters; storage's own have about a hundred."""


def parse_query(params: Mapping[str, str]) -> dict[str, Any]:
    """The arguments of list_jobs, from the URL's parameters. Raises InvalidRequest."""
    if unknown := sorted(set(params) - {*_QUERY, "code"}):  # `code` may hold a function key
        raise InvalidRequest(f"Unknown parameter: {', '.join(unknown)}.")
    try:
        states = {State(name) for name in filter(None, params.get("state", "").split(","))}
    except ValueError:
        raise InvalidRequest(f"state: one or more of {', '.join(State)}, with commas between.") from None
    since = None
    if (text := params.get("since")) is not None:
        try:
            since = datetime.fromisoformat(text)
        except ValueError:
            raise InvalidRequest("since: a date or time in ISO 8601, such as 2026-01-31T18:00:00Z.") from None
        since = since if since.tzinfo else since.replace(tzinfo=UTC)
    if len(params.get("continuation", "")) > _LONGEST:
        raise InvalidRequest("This is no continuation that the service gave.")
    top = params.get("top", "100")
    if not (top.isascii() and top.isdigit() and 1 <= int(top) <= _MOST_LISTED):
        raise InvalidRequest(f"top: a number from 1 to {_MOST_LISTED}.")
    return {
        "states": states,
        "since": since,
        "top": int(top),
        "continuation": params.get("continuation") or None,
    }


def _token(marker: str) -> str:
    """Storage's marker in the form that callers get, which is safe in a URL."""
    return base64.urlsafe_b64encode(marker.encode()).decode().rstrip("=")


def _marker(token: str) -> str:
    """Storage's marker in a token. Raises InvalidRequest for a token that _token did not make."""
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        marker = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except ValueError:
        marker = ""
    if not marker.isprintable() or not marker:
        raise InvalidRequest("continuation: not what an earlier page gave.")
    return marker


def list_jobs(
    settings: Settings,
    store: BlobStore,
    states: Collection[State],
    since: datetime | None,
    top: int,
    continuation: str | None,
) -> JobList:
    """One page of at most `top` jobs, newest first. states: empty for all. since: aware; None for all.

    Raises InvalidRequest for a continuation that no earlier page gave.
    """
    entries, following = ledger.index_page(store, top, _marker(continuation) if continuation else None)
    if since is not None and entries and entries[-1].created < since:
        following = None
    found = [
        entry
        for entry in entries
        if (not states or entry.state in states) and (since is None or entry.created >= since)
    ]
    return JobList(
        jobs=tuple(
            JobSummary(
                id=entry.job,
                name=entry.name,
                created=entry.created.isoformat(timespec="milliseconds"),
                state=entry.state,
                code=entry.code,
                message=entry.message,
                status_url=status_url(settings, entry.job),
            )
            for entry in found
        ),
        continuation=_token(following) if following else None,
    )
