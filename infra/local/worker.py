"""One worker process: loads the app, runs one activity at a time, dies with its host.

    python -m infra.local.worker FD MODULE

FD is an inherited socket. In: (function, input JSON, invocation id). Out: first ("ready", pid)
or ("error", sentence), then one ("result", JSON) or ("failed", type, message, stack) each.
When the host goes, however it goes, the socket ends, and the worker ends its process group,
so that what an activity has started ends too.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import queue
import signal
import sys
import threading
import traceback
from multiprocessing.connection import Connection
from typing import Any

Request = tuple[str, str, str]


def _read(connection: Connection, requests: queue.SimpleQueue[Request]) -> None:
    while True:
        try:
            requests.put(connection.recv())
        except (EOFError, OSError):
            os.killpg(0, signal.SIGKILL) if os.getpgrp() == os.getpid() else os._exit(1)


def run(app: Any, request: Request) -> tuple[str, ...]:
    """Call the activity as the Python worker does: the converters of azure.functions at both ends."""
    from azure.functions.durable_functions import ActivityTriggerConverter
    from azure.functions.meta import Datum

    name, payload, invocation_id = request
    try:
        function = app.activities[name]
        value = ActivityTriggerConverter.decode(Datum(payload, "json"), trigger_metadata=None)
        result = function.call(**function.arguments(value, None, invocation_id))
        if inspect.iscoroutine(result):
            result = asyncio.run(result)
        return ("result", ActivityTriggerConverter.encode(result, expected_type=None).value)
    except BaseException as failure:  # an activity that calls sys.exit has failed, no more
        return ("failed", type(failure).__name__, str(failure), traceback.format_exc())


def main(fd: int, module: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.set_inheritable(fd, False)
    connection = Connection(fd)
    requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(connection, requests), daemon=True).start()

    from infra.local import log
    from infra.local.app import AppError, load

    log.configure()
    try:
        app = load(module)
    except AppError as broken:
        connection.send(("error", str(broken)))
        return
    connection.send(("ready", os.getpid()))
    while True:
        connection.send(run(app, requests.get()))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
