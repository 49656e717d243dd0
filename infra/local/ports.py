"""Listening sockets: on a named port, or on a default or free one where no port is named."""

from __future__ import annotations

import os
import socket


class PortTaken(Exception):
    """The port that the user named cannot be used; the message names the option that changes it."""


def listen(host: str, port: int | None, default: int, option: str) -> socket.socket:
    """A listening socket on `port`. Where `port` is None: on `default`, or on a free port if `default` is
    taken.

    `option`: what the message of PortTaken names. Raises PortTaken where a named port cannot be used.
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
    """The number of a port as listen() chooses it, for a server that binds by itself. Raises PortTaken."""
    with listen(host, port, default, option) as probe:
        return int(probe.getsockname()[1])


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.create_server((host, port), family=family)
    # Accepted connections inherit NODELAY. asyncio itself sets it only on sockets that name their protocol.
    # Without it, an answer whose head and body are sent apart waits 40 ms for a delayed acknowledgement.
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return server
