"""The Durable Functions HTTP API: the extension's management routes, and the client binding that names them.

Routes, status codes and bodies follow Microsoft's "HTTP API reference" of Durable Functions, and where
that is silent, the extension's source (HttpApiHandler.cs). docs/conformance.md lists them all, state by
state. Differences:

- terminating an instance also terminates its sub-orchestrations;
- there are no rewind, restart and entity routes, so no restartPostUri and rewindPostUri among the links;
- a start answers at once: `timeout` and `pollingInterval` are ignored;
- a malformed filter (runtimeStatus, createdTimeFrom, createdTimeTo, top) is 400; the extension ignores it,
  so a purge with a typing error would purge everything;
- createdTimeTo is exclusive, as in the engine; the reference says "at or before";
- a continuation token is a position in the list, so a page may miss instances if others are purged in
  between;
- paths are case-sensitive;
- links carry no taskHub, connection and code: there is one hub and no system key. The server decides who may
  call.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import grpc
from durabletask.internal import orchestrator_service_pb2 as pb
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.local.durable import TERMINAL
from infra.local.http import _payloads

PREFIX = "/runtime/webhooks/durabletask/"
_PLACEHOLDER = "INSTANCEID"
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_RETRY_START_S, _RETRY_STATUS_S = 10, 5
_STATUS_NUMBERS = {name.lower(): number for number, name in _payloads.STATUS_NAMES.items()}


class BadRequest(Exception):
    """Answered with 400 and this exception's sentence."""


def client_binding(root: str, task_hub: str) -> str:
    """The JSON that a durable client binding gets. `root` is the URL of PREFIX on this host."""
    return json.dumps(
        {
            "taskHubName": task_hub,
            "creationUrls": {
                "createNewInstancePostUri": root + "orchestrators/{functionName}[/{instanceId}]",
                "createAndWaitOnNewInstancePostUri": root + "orchestrators/{functionName}[/{instanceId}]",
            },
            "managementUrls": management_urls(root, _PLACEHOLDER),
            "baseUrl": root.rstrip("/"),
            "requiredQueryStringParameters": "",
            "rpcBaseUrl": root,
        }
    )


def management_urls(root: str, instance_id: str) -> dict[str, str]:
    instance = f"{root}instances/{instance_id}"
    return {
        "id": instance_id,
        "statusQueryGetUri": instance,
        "sendEventPostUri": instance + "/raiseEvent/{eventName}",
        "terminatePostUri": instance + "/terminate?reason={text}",
        "purgeHistoryDeleteUri": instance,
        "suspendPostUri": instance + "/suspend?reason={text}",
        "resumePostUri": instance + "/resume?reason={text}",
    }


class Management:
    """The routes below PREFIX, served from a gRPC stub of the engine."""

    def __init__(self, stub: Any, orchestrators: Mapping[str, object]) -> None:
        self._stub, self._orchestrators = stub, orchestrators

    def routes(self) -> list[Route]:
        def route(method: str, path: str, call: Callable[[Request, bytes], Response]) -> Route:
            async def endpoint(request: Request) -> Response:
                body = await request.body()
                try:
                    return await run_in_threadpool(call, request, body)
                except BadRequest as bad:
                    # The SDK shows ExceptionMessage to whoever called start_new.
                    return JSONResponse({"Message": str(bad), "ExceptionMessage": str(bad)}, 400)

            return Route(path, endpoint, methods=[method])

        return [
            route("POST", "/orchestrators/{name}", self._start),
            route("POST", "/orchestrators/{name}/{id}", self._start),
            route("GET", "/instances", self._list),
            route("GET", "/instances/", self._list),
            route("DELETE", "/instances", self._purge_many),
            route("DELETE", "/instances/", self._purge_many),
            route("GET", "/instances/{id}", self._status),
            route("DELETE", "/instances/{id}", self._purge),
            route("POST", "/instances/{id}/raiseEvent/{event}", self._raise_event),
            route("POST", "/instances/{id}/terminate", self._terminate),
            route("POST", "/instances/{id}/suspend", self._suspend),
            route("POST", "/instances/{id}/resume", self._resume),
            Route("/{rest:path}", _not_found, methods=_METHODS),
        ]

    def _start(self, request: Request, body: bytes) -> Response:
        name, instance_id = request.path_params["name"], request.path_params.get("id") or uuid.uuid4().hex
        if name not in self._orchestrators:
            known = ", ".join(sorted(self._orchestrators))
            raise BadRequest(
                f"The function '{name}' doesn't exist, is disabled, or is not an orchestrator function."
                f" The following are the known orchestrator functions: {known}."
            )
        if len(instance_id) > 100 or instance_id.startswith("@") or not instance_id.isprintable():
            raise BadRequest("An instance id has 1 to 100 printable characters and does not begin with @.")
        start = pb.CreateInstanceRequest(instanceId=instance_id, name=name)
        start.orchestrationIdReusePolicy.replaceableStatus.extend(TERMINAL)
        start.input.value = _json_text(body)
        if version := request.query_params.get("version"):
            start.version.value = version
        try:
            self._stub.StartInstance(start)
        except grpc.RpcError as refused:
            if refused.code() != grpc.StatusCode.ALREADY_EXISTS:
                raise
            message = f"An Orchestration instance with the status Running already exists: {instance_id}."
            return JSONResponse({"Message": message, "ExceptionMessage": message}, 409)
        links = management_urls(_root(request), instance_id)
        return JSONResponse(links, 202, _poll_headers(links["statusQueryGetUri"], _RETRY_START_S))

    def _status(self, request: Request, body: bytes) -> Response:
        query = request.query_params
        state = self._state(request)
        if state is None:
            return Response(status_code=404)
        show_input = _flag(query, "showInput", default=True)
        payload = _payloads.status(state, show_input)
        if _flag(query, "showHistory"):
            stream = self._stub.StreamInstanceHistory(
                pb.StreamInstanceHistoryRequest(instanceId=state.instanceId)
            )
            events = [event for chunk in stream for event in chunk.events]
            payload["historyEvents"] = _payloads.history(
                events, show_input, _flag(query, "showHistoryOutput")
            )
        if state.orchestrationStatus not in TERMINAL:
            return JSONResponse(payload, 202, _poll_headers(str(request.url), _RETRY_STATUS_S))
        failed = state.orchestrationStatus == pb.ORCHESTRATION_STATUS_FAILED
        return JSONResponse(
            payload, 500 if failed and _flag(query, "returnInternalServerErrorOnFailure") else 200
        )

    def _list(self, request: Request, body: bytes) -> Response:
        query = request.query_params
        filters = pb.InstanceQuery(fetchInputsAndOutputs=True, runtimeStatus=_statuses(query))
        _set_times(filters, query)
        filters.instanceIdPrefix.value = query.get("instanceIdPrefix", "")
        try:
            filters.maxInstanceCount = int(query.get("top", "0"))
        except ValueError:
            raise BadRequest("top is a number.") from None
        filters.continuationToken.value = request.headers.get("x-ms-continuation-token", "")
        found = self._stub.QueryInstances(pb.QueryInstancesRequest(query=filters))
        show_input = _flag(query, "showInput", default=True)
        return JSONResponse(
            [_payloads.status(state, show_input) for state in found.orchestrationState],
            headers={"x-ms-continuation-token": found.continuationToken.value},
        )

    def _purge(self, request: Request, body: bytes) -> Response:
        state = self._state(request)
        if state is None:
            return Response(status_code=404)
        if state.orchestrationStatus not in TERMINAL:
            status = _payloads.STATUS_NAMES[state.orchestrationStatus]
            sentence = f"Only an instance that is over can be purged; {state.instanceId} is {status}."
            return JSONResponse({"Message": sentence}, 412)
        purge = pb.PurgeInstancesRequest(instanceId=request.path_params["id"])
        return JSONResponse({"instancesDeleted": self._stub.PurgeInstances(purge).deletedInstanceCount})

    def _purge_many(self, request: Request, body: bytes) -> Response:
        if "createdTimeFrom" not in request.query_params:
            raise BadRequest("Please provide value for 'createdTimeFrom' parameter.")
        purge = pb.PurgeInstancesRequest()
        purge.purgeInstanceFilter.runtimeStatus.extend(_statuses(request.query_params))
        _set_times(purge.purgeInstanceFilter, request.query_params)
        deleted = self._stub.PurgeInstances(purge).deletedInstanceCount
        return JSONResponse({"instancesDeleted": deleted}) if deleted else Response(status_code=404)

    def _raise_event(self, request: Request, body: bytes) -> Response:
        def send() -> None:
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                raise BadRequest("Only application/json request content is supported.")
            event = pb.RaiseEventRequest(
                instanceId=request.path_params["id"], name=request.path_params["event"]
            )
            event.input.value = _json_text(body)
            if not body:
                raise BadRequest("The body is empty; an event without a value carries null.")
            self._stub.RaiseEvent(event)

        return self._send(request, send)

    def _terminate(self, request: Request, body: bytes) -> Response:
        end = pb.TerminateRequest(instanceId=request.path_params["id"])
        end.output.value = json.dumps(request.query_params.get("reason", ""))
        return self._send(request, lambda: self._stub.TerminateInstance(end))

    def _suspend(self, request: Request, body: bytes) -> Response:
        hold = pb.SuspendRequest(instanceId=request.path_params["id"])
        hold.reason.value = request.query_params.get("reason", "")
        return self._send(request, lambda: self._stub.SuspendInstance(hold))

    def _resume(self, request: Request, body: bytes) -> Response:
        go = pb.ResumeRequest(instanceId=request.path_params["id"])
        go.reason.value = request.query_params.get("reason", "")
        return self._send(request, lambda: self._stub.ResumeInstance(go))

    def _send(self, request: Request, send: Callable[[], object]) -> Response:
        """Call `send` where the instance can receive something: 202; 404 where it is missing, 410 where
        over."""
        state = self._state(request)
        if state is None:
            return Response(status_code=404)
        if state.orchestrationStatus in TERMINAL:
            return Response(status_code=410)
        send()
        return Response(status_code=202)

    def _state(self, request: Request) -> Any:
        """The instance's state; None where there is no such instance."""
        ask = pb.GetInstanceRequest(instanceId=request.path_params["id"], getInputsAndOutputs=True)
        answer = self._stub.GetInstance(ask)
        return answer.orchestrationState if answer.exists else None


async def _not_found(request: Request) -> Response:
    """Answer every other path and method: the extension has no 405."""
    return Response(status_code=404)


def _poll_headers(url: str, retry_after_s: int) -> dict[str, str]:
    return {"Location": url, "Retry-After": str(retry_after_s)}


def _root(request: Request) -> str:
    return str(request.base_url.replace(path=PREFIX))


def _json_text(body: bytes) -> str:
    """The body as text, unchanged; "" where there is none. Raises BadRequest where it is not JSON."""
    try:
        text = body.decode()
        if text:
            json.loads(text)
    except ValueError as bad:
        raise BadRequest(f"The body is not JSON: {bad}.") from bad
    return text


def _flag(query: QueryParams, name: str, default: bool = False) -> bool:
    return query.get(name, str(default)).lower() == "true"


def _statuses(query: QueryParams) -> list[Any]:
    names = [name for text in query.getlist("runtimeStatus") for name in text.split(",") if name]
    try:
        return [_STATUS_NUMBERS[name.strip().lower()] for name in names]
    except KeyError as unknown:
        raise BadRequest(f"There is no runtimeStatus {unknown}.") from None


def _set_times(target: Any, query: QueryParams) -> None:
    """Set the query's createdTimeFrom and createdTimeTo on a filter. Raises BadRequest."""
    for name in ("createdTimeFrom", "createdTimeTo"):
        if text := query.get(name):
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                raise BadRequest(f"{name} is a time such as 2030-01-31T12:00:00Z.") from None
            getattr(target, name).FromDatetime(moment)
