"""A proxy before blob storage that breaks a share of the requests, as a network and a busy account do.

Small and our own: Toxiproxy works on connections, and so knows neither a 503 nor a write that was
done and whose answer was lost; mitmproxy brings forty packages.

One request per connection, plain HTTP. What is broken is drawn from a seed, request after request.
It also keeps a journal of what storage really did, which tells what the service did twice.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from types import TracebackType
from typing import Self
from urllib.parse import unquote

KINDS = ("500", "503", "lost", "timeout", "reset", "reset after", "cut", "slow")
"""The faults: 500 or 503 without asking storage; 500 although storage did it; silence, then an end; a reset
before or after storage did it; a body that ends in its middle; a body in small pieces."""
_SILENCE_S = 5.0
"""Longer than the API waits for storage, shorter than an activity waits."""
_SLOW_S = 3.0
_PIECES = 20
_HEAD_LIMIT = 1 << 16


@dataclass(frozen=True)
class Schedule:
    """Which requests are broken: a share of all until `until_s`, and all of them in an outage [from, to).

    Seconds count from FaultProxy.begin(); before it nothing is broken.
    """

    seed: int = 0
    share: float = 0.0
    until_s: float = 0.0
    outage: tuple[float, float] = (0.0, 0.0)
    kinds: tuple[str, ...] = KINDS


class Draws:
    """The faults of a schedule, in the order of the requests."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule, self._random = schedule, Random(schedule.seed)

    def next(self, at_s: float) -> str | None:
        """The next request's fault. Each request takes two draws, so the n-th gets the same ones in any
        run."""
        chance, kind = self._random.random(), self._random.choice(self._schedule.kinds)
        start, end = self._schedule.outage
        if start <= at_s < end:
            return "503"
        return kind if at_s < self._schedule.until_s and chance < self._schedule.share else None


@dataclass
class Journal:
    """What storage did, by path (container and blob). A write that the SDK repeats keeps its request id, and
    counts once; a repeated read gets a new id, so a read counts only where its answer was passed on."""

    missed: dict[str, set[str]] = field(default_factory=dict)
    """By request id, the GETs that were answered with 404."""
    written: dict[str, set[str]] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    open: set[object] = field(default_factory=set)
    """One token for each request that storage has not answered yet."""

    def settle(self, limit_s: float) -> None:
        """Wait until storage has answered the requests of this moment, and they are noted."""
        waited, deadline = set(self.open), time.monotonic() + limit_s
        while waited & self.open and time.monotonic() < deadline:
            time.sleep(0.01)

    def note(self, method: str, path: str, request_id: str, status: int, passed_on: bool) -> None:
        if method == "GET" and status == 404 and passed_on:
            self.missed.setdefault(path, set()).add(request_id)
        if method == "PUT" and 200 <= status < 300:
            self.written.setdefault(path, set()).add(request_id)


@dataclass(frozen=True)
class _Request:
    method: str
    target: str
    lines: tuple[str, ...]
    body: bytes

    def header(self, name: str) -> str:
        found = (line.partition(":") for line in self.lines)
        return next((value.strip() for key, _, value in found if key.lower() == name), "")

    @property
    def path(self) -> str:
        """Container and blob; the emulator has the account before it."""
        return unquote(self.target.partition("?")[0]).lstrip("/").partition("/")[2]

    def to_send(self) -> bytes:
        kept = [line for line in self.lines if not line.lower().startswith("connection:")]
        head = [f"{self.method} {self.target} HTTP/1.1", *kept, "Connection: close", "", ""]
        return "\r\n".join(head).encode("latin-1") + self.body


class FaultProxy:
    """`with FaultProxy(storage_port, Schedule(...)) as proxy: proxy.port`; begin() starts the faults."""

    def __init__(self, upstream: int, schedule: Schedule) -> None:
        self.journal = Journal()
        self._upstream, self._draws = upstream, Draws(schedule)
        self._began: float | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faults", daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        served = asyncio.start_server(self._serve, sock=self._listener, limit=_HEAD_LIMIT)
        self._server = asyncio.run_coroutine_threadsafe(served, self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def begin(self) -> None:
        self._began = time.monotonic()

    def connection_string(self, direct: str) -> str:
        """The connection string of the storage behind this proxy, by way of the proxy."""
        return direct.replace(f":{self._upstream}/", f":{self.port}/")

    async def _close(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # Cancelled: the proxy closes.
            with suppress(
                OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError
            ):
                request = await _read(reader)
                self.journal.requests += 1
                fault = None
                if self._began is not None:
                    fault = self._draws.next(time.monotonic() - self._began)
                await self._answer(request, writer, fault)
                await writer.drain()
        finally:
            writer.close()

    async def _answer(self, request: _Request, writer: asyncio.StreamWriter, fault: str | None) -> None:
        if fault:
            self.journal.faults[fault] += 1
        if fault in ("500", "503"):
            writer.write(_refusal(fault))
            return
        if fault == "reset":
            _reset(writer)
            return
        if fault == "timeout":
            await asyncio.sleep(_SILENCE_S)
            return
        try:
            answer = await self._ask(request, fault in (None, "slow"))
        except OSError:  # storage is away
            _reset(writer)
            return
        head, _, body = answer.partition(b"\r\n\r\n")
        if fault == "lost":
            writer.write(_refusal("500"))
        elif fault == "reset after" or not head:
            _reset(writer)
        elif fault == "cut":
            writer.write(head + b"\r\n\r\n" + body[: len(body) // 2])
        elif fault == "slow":
            writer.write(head + b"\r\n\r\n")
            step = max(1, -(-len(body) // _PIECES))
            for start in range(0, len(body), step):
                writer.write(body[start : start + step])
                await writer.drain()
                await asyncio.sleep(_SLOW_S / _PIECES)
        else:
            writer.write(answer)

    async def _ask(self, request: _Request, passed_on: bool) -> bytes:
        """Storage's whole answer; empty where storage died over it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        token = object()
        self.journal.open.add(token)
        try:
            writer.write(request.to_send())
            answer = await reader.read(-1)
            status = answer[9:12]
            if status.isdigit():
                request_id = request.header("x-ms-client-request-id")
                self.journal.note(request.method, request.path, request_id, int(status), passed_on)
        finally:
            self.journal.open.discard(token)
            writer.close()
        return answer


async def _read(reader: asyncio.StreamReader) -> _Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head[:-4].split("\r\n")
    method, target, _ = first.split(" ")
    request = _Request(method, target, tuple(lines), b"")
    body = await reader.readexactly(int(request.header("content-length") or 0))
    return _Request(method, target, tuple(lines), body)


_REFUSALS: Mapping[str, tuple[str, str]] = {
    "500": ("500 Internal Server Error", "InternalError"),
    "503": ("503 Service Unavailable", "ServerBusy"),
}


def _refusal(kind: str) -> bytes:
    status, code = _REFUSALS[kind]
    head = [
        f"HTTP/1.1 {status}",
        f"x-ms-error-code: {code}",
        "Content-Length: 0",
        "Connection: close",
        "",
        "",
    ]
    return "\r\n".join(head).encode()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection with RST instead of FIN."""
    peer: socket.socket = writer.get_extra_info("socket")
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
