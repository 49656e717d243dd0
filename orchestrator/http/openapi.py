"""The OpenAPI document, made from the table of routes and the contracts (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from azure.functions import AuthLevel
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from orchestrator.http.routes import ROUTES, Answer, Content, Parameter, Route
from shared.contracts import Problem, Result
from shared.settings import VERSION

_REF = "#/components/schemas/{model}"


def openapi() -> dict[str, Any]:
    """OpenAPI 3.1 of everything under /api."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "matchcut", "version": VERSION, "summary": "A blob URL of a match in, an EDL out."},
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
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


def _paths() -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for route in ROUTES:
        path = paths.setdefault(f"/api/{route.path.template}", _parameters(route.path.parameters))
        path[route.method.lower()] = _operation(route)
    return paths


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": route.operation_id or route.name}
    if route.auth is AuthLevel.ANONYMOUS:
        operation["security"] = []
    if route.summary:
        operation["summary"] = route.summary
    operation |= _parameters(route.parameters)
    if route.body:
        operation["requestBody"] = {"required": route.body.required, "content": _content(route.body.content)}
    operation["responses"] = _responses(route)
    return operation


def _parameters(parameters: tuple[Parameter, ...]) -> dict[str, Any]:
    return {"parameters": [_parameter(each) for each in parameters]} if parameters else {}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    description = {"description": parameter.description} if parameter.description else {}
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "schema": parameter.schema,
        **description,
    }


def _responses(route: Route) -> dict[str, Any]:
    problem = {
        "description": "A problem; `code` is stable.",
        "content": _content({"application/problem+json": Problem}),
    }
    responses = {str(answer.status): _response(answer) for answer in route.answers}
    responses |= {str(status): problem for status in route.problems}
    if route.auth is not AuthLevel.ANONYMOUS:
        responses["401"] = {"description": "No function key, or a wrong one."}
    return responses


def _response(answer: Answer) -> dict[str, Any]:
    response: dict[str, Any] = {"description": answer.description, "content": _content(answer.content)}
    if answer.headers:
        response["headers"] = {header: {"schema": {"type": "string"}} for header in answer.headers}
    return response


def _content(content: Content) -> dict[str, Any]:
    return {
        media_type: {"schema": _reference(body) if isinstance(body, type) else body}
        for media_type, body in content.items()
    }


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def _schemas() -> dict[str, Any]:
    """The schemas of all contracts that requests and answers hold."""
    taken = _contracts(route.body.content for route in ROUTES if route.body)
    given: list[type[BaseModel]] = [
        *_contracts(answer.content for route in ROUTES for answer in route.answers),
        Problem,
    ]
    modes: list[tuple[type[BaseModel], JsonSchemaMode]] = [(model, "validation") for model in taken]
    modes += [(model, "serialization") for model in given]
    _, schemas = models_json_schema(modes, ref_template=_REF)
    definitions: dict[str, Any] = schemas["$defs"]
    return definitions


def _contracts(contents: Iterable[Content]) -> list[type[BaseModel]]:
    """In the order of the table, each once."""
    bodies = [body for content in contents for body in content.values()]
    return list(dict.fromkeys(body for body in bodies if isinstance(body, type)))
