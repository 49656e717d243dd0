"""Who may call the management routes, and which route templates are known."""

from __future__ import annotations

import asyncio
import dataclasses
from types import SimpleNamespace

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from infra.local.app import App, AppError, Function
from infra.local.management import Management
from infra.local.routes import LoopbackOnly, application


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
