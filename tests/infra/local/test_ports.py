"""A named port or a sentence, a default port or another."""

from __future__ import annotations

import socket

import pytest

from infra.local.ports import PortTaken, free_port, listen
from tests.support.ports import own_port


def test_a_named_port_that_is_taken_is_a_sentence_with_port_and_option() -> None:
    with listen("127.0.0.1", 0, 0, "--port") as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"^Port {port} on 127.0.0.1 .* choose another with --port\.$"):
            listen("127.0.0.1", port, 0, "--port")


def test_a_default_port_that_is_taken_gives_way_to_a_free_one() -> None:
    with listen("127.0.0.1", 0, 0, "--port") as taken:
        port = taken.getsockname()[1]
        assert free_port(None, port, "--port") not in (0, port)


def test_an_answer_does_not_wait_for_its_head_to_be_acknowledged() -> None:
    """Small writes leave at once on the connections that a listening socket takes."""
    with (
        listen("127.0.0.1", 0, 0, "--port") as server,
        socket.create_connection(server.getsockname()),
        server.accept()[0] as taken,
    ):
        assert 0 != taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_default_port_that_is_free_is_taken() -> None:
    with own_port() as port:
        assert port == free_port(None, port, "--port")
