"""The Durable Functions HTTP API: the extension's management routes, and the client binding that names them.

Routes, status codes and bodies follow Microsoft's "HTTP API reference" of Durable Functions.
Two things differ: terminating an instance terminates its sub-orchestrations too, and the rewind,
restart and entity routes are not there. There is no system key; who may call is the server's matter.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import grpc
from durabletask.internal import orchestrator_service_pb2 as pb
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from infra.local.engine import TERMINAL
from infra.local.replay import iso, to_json

PREFIX = "/runtime/webhooks/durabletask/"
_PLACEHOLDER = "INSTANCEID"
_RETRY_AFTER_S = "10"
_STATUS_NAMES = {
    number: "".join(part.title() for part in name.removeprefix("ORCHESTRATION_STATUS_").split("_"))
    for name, number in pb.OrchestrationStatus.items()
}
_STATUS_NUMBERS = {name.lower(): number for number, name in _STATUS_NAMES.items()}


class BadRequest(Exception):
    """400, with the sentence that says why."""


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
    """The routes below PREFIX, on a stub of the engine."""

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
        return JSONResponse(links, 202, _poll_headers(links["statusQueryGetUri"]))

    def _status(self, request: Request, body: bytes) -> Response:
        query = request.query_params
        state = self._state(request)
        if state is None:
            return Response(status_code=404)
        payload = _payload(state, show_input=_flag(query, "showInput", default=True))
        if _flag(query, "showHistory"):
            payload["historyEvents"] = self._history(state.instanceId, _flag(query, "showHistoryOutput"))
        if state.orchestrationStatus not in TERMINAL:
            return JSONResponse(payload, 202, _poll_headers(str(request.url)))
        failed = state.orchestrationStatus == pb.ORCHESTRATION_STATUS_FAILED
        return JSONResponse(
            payload, 500 if failed and _flag(query, "returnInternalServerErrorOnFailure") else 200
        )

    def _history(self, instance_id: str, with_output: bool) -> list[dict[str, Any]]:
        chunks = self._stub.StreamInstanceHistory(pb.StreamInstanceHistoryRequest(instanceId=instance_id))
        events = [event for chunk in chunks for event in chunk.events]
        shown = []
        for event, entry in zip(events, to_json(events, []), strict=False):
            kind = event.WhichOneof("eventType")
            del entry["IsPlayed"], entry["EventId"]
            entry["EventType"] = kind[0].upper() + kind[1:]
            entry.pop("Input", None)
            if not with_output:
                entry.pop("Result", None)
            shown.append({"FunctionName" if key == "Name" else key: value for key, value in entry.items()})
        return shown

    def _list(self, request: Request, body: bytes) -> Response:
        query = request.query_params
        wanted = pb.InstanceQuery(fetchInputsAndOutputs=True, runtimeStatus=_statuses(query))
        _times(wanted, query)
        wanted.instanceIdPrefix.value = query.get("instanceIdPrefix", "")
        try:
            wanted.maxInstanceCount = int(query.get("top", "0"))
        except ValueError:
            raise BadRequest("top is a number.") from None
        wanted.continuationToken.value = request.headers.get("x-ms-continuation-token", "")
        found = self._stub.QueryInstances(pb.QueryInstancesRequest(query=wanted))
        show_input = _flag(query, "showInput", default=True)
        return JSONResponse(
            [_payload(state, show_input) for state in found.orchestrationState],
            headers={"x-ms-continuation-token": found.continuationToken.value},
        )

    def _purge(self, request: Request, body: bytes) -> Response:
        if self._state(request) is None:
            return Response(status_code=404)
        purge = pb.PurgeInstancesRequest(instanceId=request.path_params["id"])
        return JSONResponse({"instancesDeleted": self._stub.PurgeInstances(purge).deletedInstanceCount})

    def _purge_many(self, request: Request, body: bytes) -> Response:
        if "createdTimeFrom" not in request.query_params:
            raise BadRequest("Please provide value for 'createdTimeFrom' parameter.")
        purge = pb.PurgeInstancesRequest()
        purge.purgeInstanceFilter.runtimeStatus.extend(_statuses(request.query_params))
        _times(purge.purgeInstanceFilter, request.query_params)
        deleted = self._stub.PurgeInstances(purge).deletedInstanceCount
        return JSONResponse({"instancesDeleted": deleted}, 200 if deleted else 404)

    def _raise_event(self, request: Request, body: bytes) -> Response:
        event = pb.RaiseEventRequest(instanceId=request.path_params["id"], name=request.path_params["event"])
        event.input.value = _json_text(body) or "null"
        return self._tell(request, lambda: self._stub.RaiseEvent(event))

    def _terminate(self, request: Request, body: bytes) -> Response:
        end = pb.TerminateRequest(instanceId=request.path_params["id"])
        end.output.value = json.dumps(request.query_params.get("reason", ""))
        return self._tell(request, lambda: self._stub.TerminateInstance(end))

    def _suspend(self, request: Request, body: bytes) -> Response:
        hold = pb.SuspendRequest(instanceId=request.path_params["id"])
        return self._tell(request, lambda: self._stub.SuspendInstance(hold))

    def _resume(self, request: Request, body: bytes) -> Response:
        go = pb.ResumeRequest(instanceId=request.path_params["id"])
        return self._tell(request, lambda: self._stub.ResumeInstance(go))

    def _tell(self, request: Request, send: Callable[[], object]) -> Response:
        state = self._state(request)
        if state is None:
            return Response(status_code=404)
        if state.orchestrationStatus in TERMINAL:
            return Response(status_code=410)
        send()
        return Response(status_code=202)

    def _state(self, request: Request) -> Any:
        """The instance's state, None where there is none."""
        ask = pb.GetInstanceRequest(instanceId=request.path_params["id"], getInputsAndOutputs=True)
        answer = self._stub.GetInstance(ask)
        return answer.orchestrationState if answer.exists else None


def _payload(state: Any, show_input: bool) -> dict[str, Any]:
    return {
        "name": state.name,
        "instanceId": state.instanceId,
        "runtimeStatus": _STATUS_NAMES[state.orchestrationStatus],
        "input": _decoded(state.input.value) if show_input else None,
        "customStatus": _decoded(state.customStatus.value),
        "output": _decoded(state.output.value),
        "createdTime": iso(state.createdTimestamp.ToDatetime(UTC)),
        "lastUpdatedTime": iso(state.lastUpdatedTimestamp.ToDatetime(UTC)),
    }


def _poll_headers(url: str) -> dict[str, str]:
    return {"Location": url, "Retry-After": _RETRY_AFTER_S}


def _root(request: Request) -> str:
    return str(request.base_url.replace(path=PREFIX))


def _decoded(text: str) -> Any:
    return json.loads(text) if text else None


def _json_text(body: bytes) -> str:
    """The body as it came, once it has been seen to be JSON; "" where there is none."""
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


def _times(target: Any, query: QueryParams) -> None:
    for name in ("createdTimeFrom", "createdTimeTo"):
        if text := query.get(name):
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                raise BadRequest(f"{name} is a time such as 2030-01-31T12:00:00Z.") from None
            getattr(target, name).FromDatetime(moment)
