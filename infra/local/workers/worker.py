"""One worker process: loads the app, runs one activity or timer function at a time, dies with its host.

    python -m infra.local.workers.worker FD MODULE BINDING

FD is an inherited socket, BINDING the JSON that durable clients get. The worker first sends ("ready", pid) or
("error", sentence). It then receives requests (function, input JSON, invocation id), and answers each with
("result", JSON) or ("failed", type, message, stack).

However the host ends, the socket ends with it. The worker then ends its process group, and with it all that
an activity has started.
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
from collections.abc import Awaitable
from multiprocessing.connection import Connection
from typing import Any

Request = tuple[str, str, str]


def _read(connection: Connection, work: queue.SimpleQueue[Request]) -> None:
    while True:
        try:
            work.put(connection.recv())
        except (EOFError, OSError):
            os.killpg(0, signal.SIGKILL) if os.getpgrp() == os.getpid() else os._exit(1)


async def _alone(work: Awaitable[Any]) -> Any:
    """Await the work, then close the SDK's HTTP session.

    Between two activities the loop stands still, and does not notice that the host closes an idle connection.
    The next start_new would be written into that connection, and a POST is not tried again.
    """
    from azure.durable_functions.models.utils import http_utils

    try:
        return await work
    finally:
        await http_utils._close_session()


def run(app: Any, request: Request, client_binding: str, loop: asyncio.Runner) -> tuple[str, ...]:
    """Call the function as Microsoft's Python worker does, with azure.functions' converters at both ends.

    `loop` runs every async function of the process, as there: the SDK's session lock belongs to the loop that
    first contends for it. Returns ("result", JSON) or ("failed", type, message, stack).
    """
    from azure.functions.durable_functions import ActivityTriggerConverter
    from azure.functions.meta import Datum
    from azure.functions.timer import TimerRequestConverter

    name, payload, invocation_id = request
    try:
        timer = app.timers.get(name)
        function = timer or app.activities[name]
        converter = TimerRequestConverter if timer else ActivityTriggerConverter
        value = converter.decode(Datum(payload, "json"), trigger_metadata=None)
        result = function.call(**function.arguments(value, client_binding, invocation_id))
        if inspect.iscoroutine(result):
            result = loop.run(_alone(result))
        if timer:
            return ("result", "null")
        return ("result", ActivityTriggerConverter.encode(result, expected_type=None).value)
    except BaseException as failure:  # sys.exit in a function fails that function only
        return ("failed", type(failure).__name__, str(failure), traceback.format_exc())


def main(fd: int, module: str, client_binding: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.set_inheritable(fd, False)
    connection = Connection(fd)
    work: queue.SimpleQueue[Request] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(connection, work), daemon=True).start()

    from infra.local import log
    from infra.local.app import AppError, load

    log.configure()
    try:
        app = load(module)
    except AppError as broken:
        connection.send(("error", str(broken)))
        return
    connection.send(("ready", os.getpid()))
    with asyncio.Runner() as loop:
        while True:
            connection.send(run(app, work.get(), client_binding, loop))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
