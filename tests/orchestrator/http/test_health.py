"""Health goes the way of a POST: through storage, and through the durable client to the hub."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import azure.functions as func
import pytest
from azure.durable_functions import DurableOrchestrationClient
from azure.durable_functions.models.utils import http_utils

from infra.local.app import load
from infra.local.azurite import Azurite
from infra.local.http import PREFIX, client_binding
from orchestrator.http import service as handlers
from orchestrator.starting import find_instance
from shared.errors import StorageUnavailable
from tests.support.in_process import InProcessService

pytestmark = pytest.mark.azurite
ERROR = json.dumps({"Message": "Something went wrong while processing your request"})


@pytest.fixture(autouse=True)
def service(azurite: Azurite, serve_from: Callable[[InProcessService], InProcessService]) -> InProcessService:
    return serve_from(InProcessService(azurite.connection_string))


@contextmanager
def hub(status: int, body: str, go: Event | None = None) -> Iterator[str]:
    """A host whose hub answers everything so, once `go` is set; its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if go is not None:
                go.wait(60)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            if go is not None:
                go.set()
            server.shutdown()
            serving.join()


def health(address: str) -> tuple[int, dict[str, Any]]:
    """What the function answers whose client is bound to a host at `address`."""
    (function,) = (function for function in load("function_app").http if function.name == "health")
    request = func.HttpRequest("GET", "/api/health", body=b"")

    async def ask() -> func.HttpResponse:
        binding = client_binding(address + PREFIX, "matchcut")
        try:
            answer: func.HttpResponse = await function.call(**function.arguments(request, binding, "1"))
            return answer
        finally:
            await http_utils._close_session()

    answer = asyncio.run(ask())
    return answer.status_code, json.loads(answer.get_body())


def test_health_is_ok_where_the_hub_knows_no_run_of_that_name() -> None:
    with hub(404, "") as address:
        status, body = health(address)
    assert (200, "ok", "ok", "ok") == (status, body["status"], body["storage"], body["hub"])


@pytest.mark.parametrize(
    ("status", "body"), [(500, ERROR), (500, "Internal Server Error"), (400, ERROR), (503, "")]
)
def test_health_is_503_where_the_hub_answers_with_an_error(status: int, body: str) -> None:
    with hub(status, body) as address:
        found, told = health(address)
    assert (503, "degraded", "ok", "unavailable") == (found, told["status"], told["storage"], told["hub"])


def test_health_is_503_where_the_hub_cannot_be_reached() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    status, body = health(f"http://127.0.0.1:{port}")
    assert (503, "ok", "unavailable") == (status, body["storage"], body["hub"])


def test_health_does_not_wait_for_a_hub_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handlers, "HUB_TIMEOUT_S", 0.2)
    answered = Event()
    with hub(404, "", answered) as address:
        status, body = health(address)
        assert not answered.is_set()
    assert (503, "ok", "unavailable") == (status, body["storage"], body["hub"])


def test_an_error_of_the_hub_is_not_taken_for_a_run_that_is_not_there() -> None:
    with hub(500, ERROR) as address:

        async def look() -> None:
            try:
                await find_instance(
                    DurableOrchestrationClient(client_binding(address + PREFIX, "matchcut")), "m-1"
                )
            finally:
                await http_utils._close_session()

        with pytest.raises(StorageUnavailable, match="answered with an error"):
            asyncio.run(look())
