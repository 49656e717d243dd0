"""The host in the foreground: starts Azurite, engine, workers and HTTP in order, and ends them together."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from azure.durable_functions.models.utils import http_utils

from infra.local import ports
from infra.local.app import App, AppError, load
from infra.local.azurite import DEFAULT_PORT as AZURITE_PORT
from infra.local.azurite import Azurite
from infra.local.durable import Bridge, EngineServer, Retention
from infra.local.http import PREFIX, Management, application, client_binding
from infra.local.http import SETTING as KEYS
from infra.local.timers import Timers
from infra.local.workers import Worker, WorkerPool

logger = logging.getLogger(__name__)
DEFAULT_PORT = 7071
_PORT_OPTION = "--port, or PORT= with make"
_GRACE_S = 3
_STOP_LIMIT_S = 20
_POLL_S = 0.5
_WILDCARDS = ("0.0.0.0", "::")  # nosec B104


@dataclass(frozen=True)
class Options:
    """The host's command line. A port of None means the default or a free one; a named port must be free."""

    app: str
    host: str
    port: int | None
    azurite_port: int | None
    data: Path
    workers: int
    history_s: float
    history_count: int
    storage: str | None
    ready_file: Path | None


class _Server(uvicorn.Server):
    """Calls on_ready once it accepts connections, and leaves signals to _serve()."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], Awaitable[None]]) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._task = asyncio.create_task(_logged(self._on_ready()))


async def _logged(work: Awaitable[None]) -> None:
    try:
        await work
    except Exception:
        logger.exception("something failed after the start")


def run(options: Options) -> int:
    """Serve until SIGINT or SIGTERM, then end all that was started. Returns the exit code: 1 where Azurite
    ended by itself, else 0.

    Raises AppError, AzuriteError, PortTaken.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    with ExitStack() as stack:
        api = stack.enter_context(ports.listen(options.host, options.port, DEFAULT_PORT, _PORT_OPTION))
        sockets = [api]
        if options.host not in (*_WILDCARDS, "127.0.0.1", "localhost", "::1"):
            # The host is bound to one outside address, and the durable client needs loopback as well.
            sockets.append(stack.enter_context(ports.listen("127.0.0.1", 0, 0, _PORT_OPTION)))
        base_url, rpc_root = _url(options.host, api), _url("127.0.0.1", sockets[-1]) + PREFIX
        azurite = None
        if options.storage is None:
            azurite = Azurite(options.data, options.azurite_port)
            stack.callback(azurite.stop)
            azurite.start()
        storage = options.storage or (azurite.connection_string if azurite else "")
        _set_environment(storage, base_url)
        keys = os.environ.pop(KEYS, "")  # so that no worker inherits them
        app = load(options.app)
        server = EngineServer(Retention(options.history_s, options.history_count))
        stack.callback(server.stop)
        binding = client_binding(rpc_root, app.task_hub)
        pool = WorkerPool(options.app, options.workers, binding)
        stack.callback(pool.stop)
        stack.callback(Bridge(app, server, pool).stop)
        timers = Timers(app.timers.values(), lambda: Worker(options.app, binding))
        stack.callback(timers.stop)
        management = Management(server.stub, app.orchestrators)
        asgi = application(app, management, binding, keys)
        if azurite:
            azurite.wait_ready()

        async def on_ready() -> None:
            _announce(options, base_url, app, azurite, storage)
            timers.start()

        config = uvicorn.Config(
            asgi,
            log_config=None,
            access_log=False,
            lifespan="off",
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
        asyncio.run(_serve(_Server(config, on_ready), sockets, azurite))
        return 1 if azurite and azurite.ended() else 0


async def _serve(server: _Server, sockets: list[socket.socket], azurite: Azurite | None) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.handle_exit, number, None)
    watch = asyncio.create_task(_end_with(azurite, server)) if azurite else None
    await server.serve(sockets)
    if watch:
        watch.cancel()
    # A function or orchestrator that never returns must not keep the host alive: children end with the host.
    too_long = threading.Timer(_STOP_LIMIT_S, os._exit, (1,))
    too_long.daemon = True
    too_long.start()
    await http_utils._close_session()


async def _end_with(azurite: Azurite, server: _Server) -> None:
    """Stop the server if Azurite ends: without storage the service can only answer errors."""
    while not (sentence := azurite.ended()):
        await asyncio.sleep(_POLL_S)
    print(sentence, file=sys.stderr, flush=True)
    server.should_exit = True


def _set_environment(storage: str, base_url: str) -> None:
    """Set what the app and the workers read. A PUBLIC_BASE_URL from outside stays."""
    os.environ["AzureWebJobsStorage"] = os.environ["MATCHCUT_STORAGE"] = storage  # noqa: SIM112
    os.environ.setdefault("PUBLIC_BASE_URL", base_url)
    # No proxy may stand between the app and the emulator.
    local = [os.environ.get("NO_PROXY") or os.environ.get("no_proxy", ""), "127.0.0.1", "localhost"]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(filter(None, local))


def _announce(options: Options, base_url: str, app: App, azurite: Azurite | None, storage: str) -> None:
    api = f"{base_url}/{app.route_prefix}".rstrip("/")
    note = (
        f" (port {DEFAULT_PORT} is taken)"
        if options.port is None and f":{DEFAULT_PORT}" not in base_url
        else ""
    )
    print(f"API      {api}{note}")
    if azurite:
        note = f" (port {AZURITE_PORT} is taken)" if azurite.moved else ""
        print(f"Blobs    {azurite.blob_endpoint}{note}\nData     {azurite.location}")
    print(f"Workers  {options.workers}\nCtrl-C stops everything. For the client in another terminal:")
    print(f"export MATCHCUT_API={base_url}")
    if azurite:
        # The emulator's key is published, so this connection string is no secret.
        print(f"export MATCHCUT_STORAGE='{storage}'")
    sys.stdout.flush()
    if options.ready_file:
        ready: dict[str, Any] = {
            "base_url": base_url,
            "connection_string": storage,
            "azurite_pid": azurite.pid if azurite else None,
        }
        half = options.ready_file.with_suffix(".part")
        half.write_text(json.dumps(ready))
        half.replace(options.ready_file)


def _url(host: str, listening: socket.socket) -> str:
    shown = "127.0.0.1" if host in _WILDCARDS else host
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{listening.getsockname()[1]}"


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


__all__ = ["AppError", "Options", "run"]
