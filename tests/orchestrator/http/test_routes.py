"""The table of routes, what the app serves, and what the document says."""

from __future__ import annotations

import re
from collections import Counter

import azure.functions as func
import pytest
from azure.durable_functions import Blueprint

from infra.local.app import load
from orchestrator.http.binding import problems_as_json, serve
from orchestrator.http.routes import ROUTES


def test_every_route_has_a_handler_and_every_handler_a_route() -> None:
    served = {
        function.name: (function.trigger.route, [method.value for method in function.trigger.methods])
        for function in load("function_app").http
    }
    assert {route.name: (route.path.template, [route.method]) for route in ROUTES} == served


def test_a_handler_is_served_to_those_whom_its_route_lets_in() -> None:
    served = {function.name: function.trigger.auth_level for function in load("function_app").http}
    assert {route.name: route.auth for route in ROUTES} == served


def test_a_handler_without_a_route_is_refused_when_the_app_is_loaded() -> None:
    @problems_as_json
    async def no_such_route(req: func.HttpRequest) -> func.HttpResponse:
        return func.HttpResponse()

    with pytest.raises(KeyError, match="no_such_route"):
        serve(Blueprint())(no_such_route)


def test_a_path_says_what_each_of_its_placeholders_is() -> None:
    for route in ROUTES:
        described = {each.name for each in route.path.parameters if each.place == "path"}
        assert set(re.findall(r"{(\w+)}", route.path.template)) == described


def test_routes_of_one_template_share_its_path() -> None:
    assert len({route.path.template for route in ROUTES}) == len({id(route.path) for route in ROUTES})


def test_each_name_and_each_method_of_a_path_stands_once() -> None:
    for keys in ([route.name for route in ROUTES], [(r.method, r.path.template) for r in ROUTES]):
        assert {1} == set(Counter(keys).values())
