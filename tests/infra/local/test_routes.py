"""Who may call the management routes and the app's, and which route templates are known."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import azure.functions as func
import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from infra.local.app import App, AppError, Function
from infra.local.http import Management, application
from infra.local.http.keys import Keys
from infra.local.http.routes import LoopbackOnly


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("127.0.0.1", 200),
        ("127.8.9.1", 200),
        ("::1", 200),
        ("::ffff:127.0.0.1", 200),
        ("10.0.0.7", 403),
        ("::ffff:10.0.0.7", 403),
        ("somebody", 403),
    ],
)
def test_only_loopback_callers_reach_the_management_routes(address: str, status: int) -> None:
    inner = Starlette(routes=[Route("/", lambda request: PlainTextResponse("in"))])

    async def call() -> int:
        transport = httpx.ASGITransport(LoopbackOnly(inner), client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://host") as http:
            return (await http.get("/")).status_code

    assert status == asyncio.run(call())


@pytest.mark.parametrize("template", ["a/{id?}", "a/{id:guid}", "a/x{id}"])
def test_a_route_template_that_is_not_known_is_refused_by_name(tiny: App, template: str) -> None:
    trigger = SimpleNamespace(name="req", route=template, methods=None)
    odd = Function("odd", lambda req: None, trigger, ())
    with pytest.raises(AppError, match="Function odd: the embedded host cannot route"):
        application(dataclasses.replace(tiny, http=(odd,)), Management(None, {}), "{}")


def calls(tiny: App, keys: str, requests: Sequence[dict[str, Any]]) -> list[int]:
    """The status of each request to a host with these keys."""

    async def call() -> list[int]:
        transport = httpx.ASGITransport(application(tiny, Management(None, {}), "{}", keys))
        async with httpx.AsyncClient(transport=transport, base_url="http://host") as http:
            return [(await http.request(**{"method": "GET", **request})).status_code for request in requests]

    return asyncio.run(call())


KEYS = "ci=first-key-0123456789, night=second-key-0123456789"
ECHO = {"url": "/api/echo/me"}


def test_a_host_with_keys_lets_in_who_has_one(tiny: App) -> None:
    good = [
        {**ECHO, "headers": {"x-functions-key": "first-key-0123456789"}},
        {**ECHO, "headers": {"x-functions-key": "second-key-0123456789"}},
        {**ECHO, "params": {"code": "second-key-0123456789"}},
    ]
    assert [200] * 3 == calls(tiny, KEYS, good)


def test_a_host_with_keys_lets_in_nobody_else(tiny: App) -> None:
    wrong: list[dict[str, Any]] = [
        ECHO,
        *(
            {**ECHO, "headers": {"x-functions-key": key}}
            for key in ("", "ci", "first-key-012345678", "first-key-01234567890", KEYS, b"k\xe9y")
        ),
        {**ECHO, "params": {"code": "x"}},
        {**ECHO, "headers": {"x-functions-key": "x"}, "params": {"code": "first-key-0123456789"}},
        {**ECHO, "headers": {"authorization": "Bearer first-key-0123456789"}},
    ]
    assert [401] * len(wrong) == calls(tiny, KEYS, wrong)


def test_what_is_anonymous_stays_open_and_without_keys_all_is(tiny: App) -> None:
    (echo,) = (function for function in tiny.http if function.name == "echo")
    trigger = SimpleNamespace(**{**vars(echo.trigger), "auth_level": func.AuthLevel.ANONYMOUS})
    opened = dataclasses.replace(tiny, http=(dataclasses.replace(echo, trigger=trigger),))
    assert [200] == calls(opened, KEYS, [ECHO])
    assert [200] == calls(tiny, "", [ECHO])


@pytest.mark.parametrize(
    "text",
    [
        "first-key-0123456789",
        "ci=short",
        "=first-key-0123456789",
        "ci=first key 0123456789",
        "a b=0123456789abcdef",
    ],
)
def test_keys_of_another_form_are_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(AppError, match="entry 2 is not name=key") as refused:
        Keys(f"ok=0123456789abcdef,{text}")
    assert text not in str(refused.value)


def test_a_body_above_the_limit_of_functions_is_refused(tiny: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUNCTIONS_REQUEST_BODY_SIZE_LIMIT", "1000")
    bodies = [{**ECHO, "method": "POST", "content": b"x" * length} for length in (1000, 1001)]
    assert [200, 413] == calls(tiny, "", bodies)


def test_a_method_that_a_path_does_not_take_is_405_with_all_that_it_takes(tiny: App) -> None:
    def function(method: str) -> Function:
        level = func.AuthLevel.FUNCTION
        trigger = SimpleNamespace(name="req", route="things/{id}", methods=[method], auth_level=level)
        return Function(method, lambda req: f"{method} {req.route_params['id']}", trigger, ())

    app = dataclasses.replace(tiny, http=(function("GET"), function("DELETE")))

    async def call(method: str) -> httpx.Response:
        transport = httpx.ASGITransport(application(app, Management(None, {}), "{}"))
        async with httpx.AsyncClient(transport=transport, base_url="http://host") as http:
            return await http.request(method, f"/{app.route_prefix}/things/5")

    assert ["GET 5", "DELETE 5"] == [asyncio.run(call(method)).text for method in ("GET", "DELETE")]
    assert 200 == asyncio.run(call("HEAD")).status_code
    refused = asyncio.run(call("POST"))
    assert (405, {"GET", "HEAD", "DELETE"}) == (
        refused.status_code,
        set(refused.headers["allow"].split(", ")),
    )
