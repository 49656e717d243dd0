"""The OpenAPI document, generated from the models that validate (pure)."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from shared.contracts import (
    BatchRequest,
    BatchStatus,
    Health,
    JobAccepted,
    JobEvents,
    JobList,
    JobRequest,
    JobStatus,
    Problem,
    Result,
    RetryRequest,
    State,
)
from shared.names import JOB_ID_PATTERN
from shared.settings import VERSION

_REF = "#/components/schemas/{model}"


_IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
}


def _query(name: str, schema: dict[str, Any], description: str = "") -> dict[str, Any]:
    told = {"description": description} if description else {}
    return {"name": name, "in": "query", "required": False, "schema": schema, **told}


def openapi() -> dict[str, Any]:
    """OpenAPI 3.1 of everything under /api."""
    document = _document()
    for operations in document["paths"].values():
        for method, operation in operations.items():
            if method != "parameters" and "security" not in operation:
                operation["responses"]["401"] = {"description": "No function key, or a wrong one."}
    return document


def _document() -> dict[str, Any]:
    _, schemas = models_json_schema(
        [(model, "validation") for model in (JobRequest, BatchRequest, RetryRequest)]
        + [
            (model, "serialization")
            for model in (JobAccepted, JobEvents, JobList, JobStatus, BatchStatus, Problem, Health, Result)
        ],
        ref_template=_REF,
    )
    job_id = {
        "name": "id",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": JOB_ID_PATTERN},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "matchcut", "version": VERSION, "summary": "A blob URL of a match in, an EDL out."},
        "paths": {
            "/api/jobs": {
                "post": {
                    "operationId": "submit",
                    "summary": "Start a job; the same video and options give the same job.",
                    "parameters": [_IDEMPOTENCY_KEY],
                    "requestBody": {
                        "required": True,
                        "content": {"application/json": {"schema": _ref(JobRequest)}},
                    },
                    "responses": {
                        "200": _answer("The job has ended already.", JobAccepted),
                        "202": _answer("Accepted.", JobAccepted, "Location", "Retry-After"),
                        **_problems(400, 403, 404, 409, 413, 429, 503),
                    },
                },
                "get": {
                    "operationId": "list_jobs",
                    "summary": "Jobs, newest first.",
                    "parameters": [
                        _query(
                            "state", {"type": "string"}, f"Some of {', '.join(State)}, with commas between."
                        ),
                        _query("since", {"type": "string", "format": "date-time"}, "Accepted then or later."),
                        _query("top", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100}),
                        _query("continuation", {"type": "string"}, "As the page before gave it."),
                    ],
                    "responses": {"200": _answer("A page.", JobList), **_problems(400, 503)},
                },
            },
            "/api/batches": {
                "post": {
                    "operationId": "submit_batch",
                    "summary": "Start up to 1000 jobs that run when there is room.",
                    "parameters": [_IDEMPOTENCY_KEY],
                    "requestBody": {
                        "required": True,
                        "content": {
                            "application/json": {"schema": _ref(BatchRequest)},
                            "application/x-ndjson": {"schema": {"type": "string"}},
                        },
                    },
                    "responses": {
                        "202": _answer("Accepted.", BatchStatus, "Location", "Retry-After"),
                        **_problems(400, 409, 429, 503),
                    },
                }
            },
            "/api/batches/{id}": {
                "parameters": [job_id],
                "get": {
                    "operationId": "batch_status",
                    "responses": {
                        "200": _answer("Every job has ended.", BatchStatus),
                        "202": _answer("The batch goes on.", BatchStatus, "Retry-After"),
                        **_problems(404, 503),
                    },
                },
            },
            "/api/batches/{id}/csv": {
                "parameters": [job_id],
                "get": {
                    "operationId": "batch_csv",
                    "responses": {
                        "200": {
                            "description": "A row per video.",
                            "content": {"text/csv": {"schema": {"type": "string"}}},
                        },
                        **_problems(404, 503),
                    },
                },
            },
            "/api/jobs/{id}/events": {
                "parameters": [
                    job_id,
                    _query("after", {"type": "integer", "minimum": 0, "default": 0}, "A revision."),
                ],
                "get": {
                    "operationId": "events",
                    "summary": "Events so far, the surest first; provisional while the job runs.",
                    "responses": {
                        "200": _answer("What is known now.", JobEvents),
                        **_problems(400, 404, 503),
                    },
                },
            },
            "/api/jobs/{id}/retry": {
                "parameters": [job_id],
                "post": {
                    "operationId": "retry",
                    "summary": "Run what is missing of a job that ended with gaps, failed or was cancelled.",
                    "requestBody": {
                        "required": False,
                        "content": {"application/json": {"schema": _ref(RetryRequest)}},
                    },
                    "responses": {
                        "202": _answer("Accepted.", JobAccepted, "Location", "Retry-After"),
                        **_problems(400, 403, 404, 409, 429, 503),
                    },
                },
            },
            "/api/jobs/{id}": {
                "parameters": [job_id],
                "get": {
                    "operationId": "status",
                    "responses": {
                        "200": _answer("The job has ended.", JobStatus),
                        "202": _answer("The job goes on.", JobStatus, "Retry-After"),
                        **_problems(404, 503),
                    },
                },
                "delete": {
                    "operationId": "cancel",
                    "responses": {
                        "200": _answer("The job had ended already.", JobStatus),
                        "202": _answer("Cancelled.", JobStatus),
                        **_problems(404, 503),
                    },
                },
            },
            "/api/jobs/{id}/files/{name}": {
                "parameters": [
                    job_id,
                    {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}},
                ],
                "get": {
                    "operationId": "file",
                    "responses": {
                        "200": {
                            "description": "A result file; result.json follows the schema Result.",
                            "content": {
                                "application/json": {"schema": _ref(Result)},
                                "text/plain": {"schema": {"type": "string"}},
                            },
                        },
                        **_problems(404, 503),
                    },
                },
            },
            "/api/health": {
                "get": {
                    "operationId": "health",
                    "security": [],
                    "responses": {
                        "200": _answer("Ready.", Health),
                        "503": _answer("Storage, the durable task hub or a model is missing.", Health),
                    },
                }
            },
            "/api/openapi.json": {
                "get": {
                    "operationId": "openapi",
                    "security": [],
                    "responses": {
                        "200": {
                            "description": "This document.",
                            "content": {"application/json": {"schema": {"type": "object"}}},
                        }
                    },
                }
            },
            "/api/schemas/result.json": {
                "get": {
                    "operationId": "result_schema",
                    "security": [],
                    "responses": {
                        "200": {
                            "description": "JSON Schema of result.json.",
                            "content": {"application/schema+json": {"schema": {"type": "object"}}},
                        }
                    },
                }
            },
        },
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"functionKey": {"type": "apiKey", "in": "header", "name": "x-functions-key"}},
        },
        "security": [{"functionKey": []}],
    }


def result_schema() -> dict[str, Any]:
    """The JSON Schema of result.json."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Result.model_json_schema(mode="serialization"),
    }


def _ref(model: type) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def _answer(description: str, model: type, *headers: str) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": description,
        "content": {"application/json": {"schema": _ref(model)}},
    }
    if headers:
        answer["headers"] = {header: {"schema": {"type": "string"}} for header in headers}
    return answer


def _problems(*statuses: int) -> dict[str, Any]:
    return {
        str(status): {
            "description": "A problem; `code` is stable.",
            "content": {"application/problem+json": {"schema": _ref(Problem)}},
        }
        for status in statuses
    }
