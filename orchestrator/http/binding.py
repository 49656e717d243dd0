"""What handlers share: their registration, answers, problems, and what they read from a request."""

from __future__ import annotations

import inspect
import json
import logging
import traceback
from collections.abc import Awaitable, Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

import azure.durable_functions as df
import azure.functions as func
from pydantic import BaseModel

from orchestrator.http.routes import ROUTES
from shared.contracts import Problem
from shared.errors import InvalidRequest, MatchcutError
from shared.jobs import InvalidFields, quotas
from shared.redact import redact
from shared.settings import get_settings

RETRY_AFTER_S = 2
"""Callers of work that still runs are asked to come again after this many seconds."""

Handler = Callable[..., Awaitable[func.HttpResponse]]
log = logging.getLogger("matchcut")
_ROUTES = {route.name: route for route in ROUTES}


def serve(blueprint: df.Blueprint) -> Callable[[Handler], Any]:
    """Registers a handler under the entry of ROUTES that has its name. Raises KeyError where there is none.

    A handler with a parameter `client` gets a durable client.
    """

    def register(handler: Handler) -> Any:
        route = _ROUTES[handler.__name__]
        function: Any = handler
        if "client" in inspect.signature(handler).parameters:
            function = blueprint.durable_client_input(client_name="client")(function)
        bind = blueprint.route(route=route.path.template, methods=[route.method], auth_level=route.auth)
        return bind(function)

    return register


def answer(
    body: BaseModel | dict[str, Any], status: int = 200, media_type: str = "application/json", **headers: str
) -> func.HttpResponse:
    """An answer in JSON. headers: by name, with _ for -."""
    text = body.model_dump_json() if isinstance(body, BaseModel) else json.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return func.HttpResponse(text, status_code=status, mimetype=media_type, headers=named)


def problems_as_json(handler: Handler) -> Handler:
    """Answers a MatchcutError of the handler as its problem, any other error as one without its text."""

    @wraps(handler)
    async def guarded(*args: Any, **kwargs: Any) -> func.HttpResponse:
        try:
            return await handler(*args, **kwargs)
        except MatchcutError as failure:
            return _problem(failure)
        except Exception:
            log.error("unexpected failure in %s\n%s", handler.__name__, redact(traceback.format_exc()))
            return _problem(MatchcutError("The service failed to answer this request."))

    return guarded


def _problem(failure: MatchcutError) -> func.HttpResponse:
    problem = Problem(
        type=f"urn:matchcut:problem:{failure.code}",
        title=HTTPStatus(failure.status).phrase,
        status=failure.status,
        detail=redact(failure.message),
        code=failure.code,
        action=failure.action,
        errors=failure.fields if isinstance(failure, InvalidFields) else (),
    )
    retry = {"Retry_After": "60"} if failure.retryable else {}
    return answer(problem, failure.status, "application/problem+json", **retry)


def caller_of(req: func.HttpRequest) -> str | None:
    """The id under which quotas count this caller; None for a caller without a key."""
    headers = {name.lower(): value for name, value in req.headers.items()}
    return quotas.caller_id(get_settings(), headers, req.params)


def idempotency_key(req: func.HttpRequest) -> str | None:
    """The Idempotency-Key of the request, if any. Raises InvalidRequest where it is empty or too long."""
    key: str | None = req.headers.get("Idempotency-Key")
    if key is not None and not 1 <= len(key) <= 200:
        raise InvalidRequest("Idempotency-Key has 1 to 200 characters.")
    return key
