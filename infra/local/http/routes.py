"""The app's HTTP functions below their route prefix, and the management routes.

Where the host has keys (infra.local.http.keys), a function's authLevel decides whether a call needs one; the
levels function and admin are the same. Without keys every caller is admitted: the host is meant for one
machine, and binds to loopback by default. The management routes answer loopback callers only, whatever
address the host is bound to.
"""

from __future__ import annotations

import inspect
import ipaddress
import logging
import os
import re
from collections.abc import Sequence
from typing import Any

import azure.functions as func
from azure.functions.http import HttpRequest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from infra.local.app import App, AppError, Function, new_invocation_id
from infra.local.http.keys import Keys
from infra.local.http.management import PREFIX, Management

logger = logging.getLogger(__name__)
_METHODS = ("GET", "POST", "DELETE", "HEAD", "PATCH", "PUT", "OPTIONS")
_PARAMETER = re.compile(r"^\{(\*?)(\w+)(:int)?\}$")


def application(app: App, management: Management, client_binding: str, keys: str = "") -> Starlette:
    """The ASGI application. `keys`: the text that Keys reads.

    Raises AppError for malformed keys, and for a route template that this host does not know.
    """
    known = Keys(keys)
    by_path: dict[str, list[Function]] = {}
    for function in app.http:
        by_path.setdefault(_path(function, app.route_prefix), []).append(function)
    functions = [_route(path, sharing, client_binding, known) for path, sharing in by_path.items()]
    # As in the Functions host, a literal segment goes before a parameter, and a parameter before a rest.
    functions.sort(key=lambda route: [(":path" in part, "{" in part) for part in route.path.split("/")])
    return Starlette(
        routes=[
            Mount(PREFIX.rstrip("/"), app=LoopbackOnly(Starlette(routes=management.routes()))),
            *functions,
        ]
    )


class LoopbackOnly:
    """403 for any caller that is not on this machine."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_loopback(scope.get("client")):
            await PlainTextResponse("Only this machine may call this.", 403)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _is_loopback(client: tuple[str, int] | None) -> bool:
    try:
        address = ipaddress.ip_address(client[0] if client else "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _route(path: str, functions: Sequence[Function], client_binding: str, keys: Keys) -> Route:
    """One route for all functions of a path, so that a 405 lists all methods. Of two functions with the same
    method the first gets it."""
    taken: dict[str, Function] = {}
    for function in functions:
        for method in function.trigger.methods or _METHODS:
            taken.setdefault(str(getattr(method, "value", method)), function)

    async def endpoint(request: Request) -> Response:
        function = taken[request.method] if request.method in taken else taken["GET"]  # HEAD comes with GET
        if not keys.admit(function, request.headers, request.query_params):
            return Response(status_code=401)
        body = await _body(request)
        if body is None:
            return Response(status_code=413, headers={"connection": "close"})
        invocation_id = new_invocation_id()
        trigger_value = HttpRequest(
            method=request.method,
            url=str(request.url),
            headers=dict(request.headers),
            params=dict(request.query_params),
            route_params={name: str(value) for name, value in request.path_params.items()},
            body_type="bytes",
            body=body,
        )
        arguments = function.arguments(trigger_value, client_binding, invocation_id)
        try:
            if inspect.iscoroutinefunction(function.call):
                result = await function.call(**arguments)
            else:
                result = await run_in_threadpool(function.call, **arguments)
            return _response(result)
        except Exception:
            logger.exception(
                "an HTTP function failed", extra={"function": function.name, "invocation": invocation_id}
            )
            return Response(status_code=500)

    return Route(path, endpoint, methods=list(taken))


async def _body(request: Request) -> bytes | None:
    """The body; None where it exceeds the Functions host's own setting for its length."""
    most = int(os.environ.get("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", 100 * 1024**2))
    parts, length = [], 0
    async for part in request.stream():
        length += len(part)
        if length > most:
            return None
        parts.append(part)
    return b"".join(parts)


def _path(function: Function, prefix: str) -> str:
    """A Functions route template in Starlette's notation. Known are {x}, {x:int} and {*rest}; another raises
    AppError."""
    parts = []
    for part in function.trigger.route.strip("/").split("/"):
        if "{" in part:
            known = _PARAMETER.match(part)
            if known is None:
                raise AppError(f"Function {function.name}: the embedded host cannot route {part}.")
            rest, name, is_int = known.groups()
            part = f"{{{name}:path}}" if rest else f"{{{name}{is_int or ''}}}"
        parts.append(part)
    return "/" + "/".join(filter(None, [prefix.strip("/"), *parts]))


def _response(result: Any) -> Response:
    if result is None:
        return Response(status_code=204)
    if isinstance(result, str):
        return PlainTextResponse(result)
    if not isinstance(result, func.HttpResponse):
        raise TypeError(f"an HTTP function returns HttpResponse or str, not {type(result).__name__}")
    response = Response(result.get_body(), result.status_code)
    if "content-type" not in result.headers:
        text = result.mimetype.startswith("text/")
        response.headers["content-type"] = (
            f"{result.mimetype}; charset={result.charset}" if text else result.mimetype
        )
    for name, value in result.headers.items():
        response.headers.append(name, value)
    return response
