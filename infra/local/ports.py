"""Listening sockets: the port that was asked for, or a free one where nobody asked."""

from __future__ import annotations

import os
import socket


class PortTaken(Exception):
    """The port that the user named cannot be had; the message names the option that changes it."""


def listen(host: str, port: int | None, default: int, option: str) -> socket.socket:
    """A bound, listening socket on `port`; where that is None on `default`, or any free port instead of it.

    Raises PortTaken.
    """
    try:
        return _bind(host, default if port is None else port)
    except OSError as taken:
        if port is None:
            return _bind(host, 0)
        why = os.strerror(taken.errno) if taken.errno else str(taken)
        raise PortTaken(
            f"Port {port} on {host} cannot be used ({why}); choose another with {option}."
        ) from taken


def free_port(port: int | None, default: int, option: str, host: str = "127.0.0.1") -> int:
    """As listen(), for a server that binds by itself."""
    with listen(host, port, default, option) as probe:
        return int(probe.getsockname()[1])


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.create_server((host, port), family=family)
    # Accepted connections inherit it; asyncio sets it on those sockets only that name their protocol. Without
    # it an answer whose head and body are sent apart waits 40 ms for the caller's delayed acknowledgement.
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return server
