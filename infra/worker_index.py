"""What functions an app directory has, in the eyes of one reader: the worker library or the SDK.

Runs as a program of its own (`python -m infra.worker_index READER APP_DIR OUT`), because each
reader needs its interpreter, and because importing an app leaves its modules behind. Only the
standard library is imported before a reader is chosen.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

LIBRARY = "azure-functions-runtime"
Functions = dict[str, list[dict[str, Any]]]
"""Function name -> its bindings as function.json would hold them, sorted by direction and name."""


class _Message(SimpleNamespace):
    """Stands in for a message of the host's gRPC contract: the library only fills and reads fields."""


class _BindingInfo(_Message):
    """The contract's BindingInfo, with the values of its enums Direction and DataType."""

    out, inout, undefined = 1, 2, 0


class _StatusResult(_Message):
    Failure, Success = 0, 1


_MESSAGES = (
    "FunctionMetadataResponse",
    "RpcException",
    "RpcFunctionMetadata",
    "RpcRetryOptions",
    "WorkerInitResponse",
    "WorkerMetadata",
)
_PROTOS = SimpleNamespace(
    BindingInfo=_BindingInfo,
    StatusResult=_StatusResult,
    **dict.fromkeys(_MESSAGES, _Message),
)


def _sorted(raw_bindings: list[str]) -> list[dict[str, Any]]:
    bindings = [json.loads(raw) for raw in raw_bindings]
    return sorted(bindings, key=lambda binding: (binding["direction"], binding["name"]))


def by_worker(app_dir: Path) -> Functions:
    """Index as the real host makes it happen: the library's own answer to WorkerInitRequest.

    Raises RuntimeError with the library's words where it refuses the app.
    """
    library: Any = importlib.import_module("azure_functions_runtime")
    init = SimpleNamespace(capabilities={}, function_app_directory=str(app_dir))
    request = SimpleNamespace(
        request=SimpleNamespace(worker_init_request=init),
        properties={"host": "127.0.0.1", "protos": _PROTOS},
    )

    async def index() -> Any:
        answer = await library.worker_init_request(request)
        if answer.result.status != _StatusResult.Success:
            raise RuntimeError(answer.result.exception.message)
        return (await library.functions_metadata_request(request)).function_metadata_results

    found = asyncio.run(index())
    if not found:
        raise RuntimeError(f"no functions in {app_dir / 'function_app.py'}")
    return {function.name: _sorted(function.raw_bindings) for function in found}


def by_sdk(app_dir: Path) -> Functions:
    """Index as the embedded host does: the decorators' own answer."""
    app: Any = importlib.import_module("function_app").app
    return {
        function.get_function_name(): _sorted(function.get_raw_bindings()) for function in app.get_functions()
    }


READERS = {"worker": (by_worker, (LIBRARY, "azure-functions")), "sdk": (by_sdk, ("azure-functions",))}


def main(reader: str, app_dir: str, out: str) -> None:
    """Write {"reader", "functions"} or {"reader", "error"} to `out`: stdout belongs to the app."""
    where = Path(app_dir).resolve()
    sys.path.insert(0, str(where))
    index, packages = READERS[reader]
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    report: dict[str, Any] = {"reader": f"{versions} on Python {platform.python_version()}"}
    try:
        report["functions"] = index(where)
    except Exception as refused:  # whatever the app or the library raises is the finding
        report["error"] = f"{type(refused).__name__}: {refused}"
    Path(out).write_text(json.dumps(report, indent=2, sort_keys=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
