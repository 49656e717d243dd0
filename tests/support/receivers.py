"""Servers that answer as a test tells them, over plain HTTP or TLS, and keep what they were asked."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import trustme

from shared.network import Patience

PATIENT = Patience(connect_s=60, read_s=60, whole_s=120)
"""Where the other side answers, on a machine however busy."""
HASTY = Patience(connect_s=60, read_s=1, whole_s=2)
"""Where it does not answer, or not to the end."""
Play = Callable[[socket.socket], None]
"""What a server does with a connection once it has read the request."""


BLOB = ('ETag: "0x1"', "Last-Modified: Wed, 25 Nov 2026 09:00:00 GMT", "x-ms-blob-type: BlockBlob")
"""Headers of an answer about a blob."""


def say(status: int, *headers: str, body: bytes = b"") -> Play:
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", "Connection: close", *headers]
    answer = "\r\n".join([*lines, "", ""]).encode() + body
    return lambda peer: peer.sendall(answer)


def reset(peer: socket.socket) -> None:
    """Close with RST instead of FIN."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def silence(peer: socket.socket) -> None:
    with suppress(OSError):
        peer.recv(1)  # until the other side has had enough


def drip(peer: socket.socket) -> None:
    """A header that never ends, one byte at a time."""
    with suppress(OSError):
        peer.sendall(b"HTTP/1.1 200 Said\r\nX-Slow: ")
        while True:
            peer.sendall(b"a")
            time.sleep(0.05)


def flood(peer: socket.socket) -> None:
    """64 MiB, unless the other side stops reading."""
    with suppress(OSError):
        peer.sendall(b"HTTP/1.1 200 Said\r\nContent-Length: 67108864\r\n\r\n")
        for _ in range(1024):
            peer.sendall(bytes(65536))


@dataclass(frozen=True)
class Asked:
    method: str
    target: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


class Receiver:
    """Plays the n-th of its plays to the n-th request, and the last one to all that follow."""

    def __init__(
        self, *plays: Play, address: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        self.plays: Sequence[Play] = plays or (say(204),)
        self.asked: list[Asked] = []
        self.connections = 0
        self.names: list[str | None] = []
        """What TLS was asked for, by connection (SNI)."""
        self._tls = tls
        if tls:
            tls.sni_callback = lambda _socket, name, _context: self.names.append(name)
        self._listener = socket.create_server((address, port))
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Receiver:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._answer, args=(peer,), daemon=True).start()

    def _answer(self, peer: socket.socket) -> None:
        with suppress(OSError):
            if self._tls:
                peer = self._tls.wrap_socket(peer, server_side=True)
            self.asked.append(self._read(peer))
            self.plays[min(len(self.asked), len(self.plays)) - 1](peer)
            peer.close()

    @staticmethod
    def _read(peer: socket.socket) -> Asked:
        data = b""
        while b"\r\n\r\n" not in data:
            if not (piece := peer.recv(65536)):
                raise OSError("the request ended early")
            data += piece
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        while len(body) < int(headers.get("content-length", 0)):
            body += peer.recv(65536)
        method, target, _ = first.split(" ")
        return Asked(method, target, headers, body)


@dataclass(frozen=True)
class Authority:
    """An authority of the test's own, and certificates of it."""

    bundle: Path
    _ca: trustme.CA

    @classmethod
    def make(cls, folder: Path) -> Authority:
        ca, bundle = trustme.CA(), folder / "ca.pem"
        ca.cert_pem.write_to_path(bundle)
        return cls(bundle, ca)

    def context(self, host: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(host).configure_cert(context)
        return context
