"""Load the function app by name, and sort its functions by trigger, as the Functions host does."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import threading
import traceback
import types
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import azure.functions as func
from azure.durable_functions.constants import ACTIVITY_TRIGGER, DURABLE_CLIENT, ORCHESTRATION_TRIGGER

HTTP_TRIGGER = "httpTrigger"
TIMER_TRIGGER = "timerTrigger"
_SERVED = {HTTP_TRIGGER, TIMER_TRIGGER, ACTIVITY_TRIGGER, ORCHESTRATION_TRIGGER}
_BINDINGS = {"http", DURABLE_CLIENT}


class AppError(Exception):
    """The app cannot be loaded, or needs something that this host lacks; the message is one sentence."""


@dataclass(frozen=True)
class Function:
    """One function of the app. `clients`: the parameters that take a durable client."""

    name: str
    call: Callable[..., Any]
    trigger: Any
    clients: tuple[str, ...]

    @property
    def parameter(self) -> str:
        """The parameter that the trigger fills."""
        return str(self.trigger.name)

    @cached_property
    def _asks_for_context(self) -> bool:
        return "context" in inspect.signature(self.call).parameters

    def arguments(self, value: Any, client_binding: str, invocation_id: str) -> dict[str, Any]:
        """The keyword arguments of one call. A parameter `context` that no binding fills gets an
        InvocationContext."""
        arguments = {self.parameter: value, **dict.fromkeys(self.clients, client_binding)}
        if "context" not in arguments and self._asks_for_context:
            arguments["context"] = InvocationContext(invocation_id, self.name)
        return arguments


@dataclass(frozen=True)
class App:
    """The app's functions by name, and their settings from host.json."""

    orchestrators: Mapping[str, Callable[[str], str]]
    activities: Mapping[str, Function]
    timers: Mapping[str, Function]
    http: tuple[Function, ...]
    route_prefix: str
    task_hub: str


@dataclass(frozen=True)
class InvocationContext:
    """The value of a parameter `context`: func.Context, with neither a trace nor a retry."""

    invocation_id: str
    function_name: str
    function_directory: str = ""
    thread_local_storage: Any = field(default_factory=threading.local)
    trace_context: Any = None
    retry_context: Any = None


def new_invocation_id() -> str:
    return str(uuid.uuid4())


@lru_cache
def load(module_name: str) -> App:
    """Import the module, and index its one FunctionRegister (FunctionApp, DFApp). A register can be indexed
    only once, so the result is remembered.

    Raises AppError.
    """
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
        apps = [value for value in vars(module).values() if isinstance(value, func.FunctionRegister)]
        if len({id(app) for app in apps}) != 1:
            raise AppError(f"The module {module_name} must have one function app; it has {len(apps)}.")
        functions = [_function(built) for built in apps[0].get_functions()]
    except AppError:
        raise
    except Exception as broken:
        where = traceback.extract_tb(broken.__traceback__)[-1]
        raise AppError(
            f"The function app {module_name} cannot be loaded: {type(broken).__name__}: {broken}"
            f" ({where.filename}, line {where.lineno})."
        ) from broken
    settings = _host_json(module)
    extensions = settings.get("extensions", {})
    activities = {f.name: f for f in functions if f.trigger.type == ACTIVITY_TRIGGER}
    timers = {f.name: f for f in functions if f.trigger.type == TIMER_TRIGGER}
    if twice := activities.keys() & timers.keys():
        raise AppError(f"An activity and a timer function have the same name: {', '.join(sorted(twice))}.")
    return App(
        orchestrators={f.name: f.call for f in functions if f.trigger.type == ORCHESTRATION_TRIGGER},
        activities=activities,
        timers=timers,
        http=tuple(f for f in functions if f.trigger.type == HTTP_TRIGGER),
        route_prefix=extensions.get("http", {}).get("routePrefix", "api"),
        task_hub=extensions.get("durableTask", {}).get("hubName", "TestHubName"),
    )


def _function(built: Any) -> Function:
    name, trigger = built.get_function_name(), built.get_trigger()
    if trigger.type not in _SERVED:
        raise AppError(f"Function {name}: the embedded host does not serve {trigger.type}.")
    others = [binding for binding in built.get_bindings() if binding is not trigger]
    if strange := sorted({binding.type for binding in others} - _BINDINGS):
        raise AppError(f"Function {name}: the embedded host has no binding {', '.join(strange)}.")
    clients = tuple(binding.name for binding in others if binding.type == DURABLE_CLIENT)
    # A durable trigger may give the function another name, by which the SDK calls it.
    renamed = getattr(trigger, "orchestration", None) or getattr(trigger, "activity", None)
    return Function(renamed or name, built.get_user_function(), trigger, clients)


def _host_json(module: types.ModuleType) -> dict[str, Any]:
    for folder in _folders(module):
        if (path := folder / "host.json").is_file():
            loaded: dict[str, Any] = json.loads(path.read_text("utf-8"))
            return loaded
    return {}


def _folders(module: types.ModuleType) -> Iterator[Path]:
    if module.__file__:
        yield Path(module.__file__).parent
    yield Path.cwd()
