"""The table of all HTTP functions. The host's bindings and the OpenAPI document follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from azure.functions import AuthLevel
from pydantic import BaseModel

from shared.contracts import (
    BatchRequest,
    BatchStatus,
    Health,
    JobAccepted,
    JobEvents,
    JobList,
    JobRequest,
    JobStatus,
    Result,
    RetryRequest,
    State,
)
from shared.names import JOB_ID_PATTERN

Schema = Mapping[str, Any]
Content = Mapping[str, type[BaseModel] | Schema]
"""Media type -> the contract of the body, or its JSON Schema."""

_TEXT: Schema = {"type": "string"}
_OBJECT: Schema = {"type": "object"}


@dataclass(frozen=True)
class Parameter:
    """A parameter of the path, the URL's query, or a header."""

    name: str
    place: Literal["path", "query", "header"]
    schema: Schema
    description: str = ""


@dataclass(frozen=True)
class Path:
    """template: below /api/, with placeholders in braces. parameters: of every route of this path."""

    template: str
    parameters: tuple[Parameter, ...] = ()


@dataclass(frozen=True)
class Body:
    """The body of a request."""

    content: Content
    required: bool = True


@dataclass(frozen=True)
class Answer:
    """An answer without a problem. headers: names of the headers that it always has."""

    status: int
    description: str
    content: Content
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Route:
    """One HTTP function.

    name: that of its handler, and so of the function in the host. operation_id: its name in the document,
    where that differs. parameters: its own, beside those of its path. problems: statuses of its problem+json
    answers. A route with a key also answers 401.
    """

    name: str
    method: Literal["GET", "POST", "DELETE"]
    path: Path
    answers: tuple[Answer, ...]
    problems: tuple[int, ...] = ()
    summary: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    auth: AuthLevel = AuthLevel.FUNCTION
    operation_id: str = ""


def _json(model: type[BaseModel]) -> Content:
    return {"application/json": model}


_ID = Parameter("id", "path", {"type": "string", "pattern": JOB_ID_PATTERN})
_IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key", "header", {"type": "string", "minLength": 1, "maxLength": 200}
)
_LOCATED = ("Location", "Retry-After")

_JOBS = Path("jobs")
_JOB = Path("jobs/{id}", (_ID,))

ROUTES = (
    Route(
        "submit",
        "POST",
        _JOBS,
        summary="Start a job; the same video and options give the same job.",
        parameters=(_IDEMPOTENCY_KEY,),
        body=Body(_json(JobRequest)),
        answers=(
            Answer(200, "The job has ended already.", _json(JobAccepted)),
            Answer(202, "Accepted.", _json(JobAccepted), _LOCATED),
        ),
        problems=(400, 403, 404, 409, 413, 429, 503),
    ),
    Route(
        "list_jobs",
        "GET",
        _JOBS,
        summary="Jobs, newest first.",
        parameters=(
            Parameter("state", "query", _TEXT, f"Some of {', '.join(State)}, with commas between."),
            Parameter("since", "query", {**_TEXT, "format": "date-time"}, "Accepted then or later."),
            Parameter("top", "query", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
            Parameter("continuation", "query", _TEXT, "As the page before gave it."),
        ),
        answers=(Answer(200, "A page.", _json(JobList)),),
        problems=(400, 503),
    ),
    Route(
        "submit_batch",
        "POST",
        Path("batches"),
        summary="Start up to 1000 jobs that run when there is room.",
        parameters=(_IDEMPOTENCY_KEY,),
        body=Body({**_json(BatchRequest), "application/x-ndjson": _TEXT}),
        answers=(Answer(202, "Accepted.", _json(BatchStatus), _LOCATED),),
        problems=(400, 409, 429, 503),
    ),
    Route(
        "batch_status",
        "GET",
        Path("batches/{id}", (_ID,)),
        answers=(
            Answer(200, "Every job has ended.", _json(BatchStatus)),
            Answer(202, "The batch goes on.", _json(BatchStatus), ("Retry-After",)),
        ),
        problems=(404, 503),
    ),
    Route(
        "batch_csv",
        "GET",
        Path("batches/{id}/csv", (_ID,)),
        answers=(Answer(200, "A row per video.", {"text/csv": _TEXT}),),
        problems=(404, 503),
    ),
    Route(
        "events",
        "GET",
        Path(
            "jobs/{id}/events",
            (
                _ID,
                Parameter("after", "query", {"type": "integer", "minimum": 0, "default": 0}, "A revision."),
            ),
        ),
        summary="Events so far, the surest first; provisional while the job runs.",
        answers=(Answer(200, "What is known now.", _json(JobEvents)),),
        problems=(400, 404, 503),
    ),
    Route(
        "retry",
        "POST",
        Path("jobs/{id}/retry", (_ID,)),
        summary="Run what is missing of a job that ended with gaps, failed or was cancelled.",
        body=Body(_json(RetryRequest), required=False),
        answers=(Answer(202, "Accepted.", _json(JobAccepted), _LOCATED),),
        problems=(400, 403, 404, 409, 429, 503),
    ),
    Route(
        "status",
        "GET",
        _JOB,
        answers=(
            Answer(200, "The job has ended.", _json(JobStatus)),
            Answer(202, "The job goes on.", _json(JobStatus), ("Retry-After",)),
        ),
        problems=(404, 503),
    ),
    Route(
        "cancel",
        "DELETE",
        _JOB,
        answers=(
            Answer(200, "The job had ended already.", _json(JobStatus)),
            Answer(202, "Cancelled.", _json(JobStatus)),
        ),
        problems=(404, 503),
    ),
    Route(
        "file",
        "GET",
        Path("jobs/{id}/files/{name}", (_ID, Parameter("name", "path", _TEXT))),
        answers=(
            Answer(
                200,
                "A result file; result.json follows the schema Result.",
                {**_json(Result), "text/plain": _TEXT},
            ),
        ),
        problems=(404, 503),
    ),
    Route(
        "health",
        "GET",
        Path("health"),
        auth=AuthLevel.ANONYMOUS,
        answers=(
            Answer(200, "Ready.", _json(Health)),
            Answer(503, "Storage, the durable task hub or a model is missing.", _json(Health)),
        ),
    ),
    Route(
        "openapi_document",
        "GET",
        Path("openapi.json"),
        auth=AuthLevel.ANONYMOUS,
        operation_id="openapi",
        answers=(Answer(200, "This document.", {"application/json": _OBJECT}),),
    ),
    Route(
        "schema_document",
        "GET",
        Path("schemas/result.json"),
        auth=AuthLevel.ANONYMOUS,
        operation_id="result_schema",
        answers=(Answer(200, "JSON Schema of result.json.", {"application/schema+json": _OBJECT}),),
    ),
)
"""In the order of the document. A new route is an entry here, and a handler of its name."""
