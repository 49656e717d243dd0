"""Sources that trickle: they hold up whoever asked for them, for a while, and nobody else."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from infra.local.embedded import EmbeddedHost
from orchestrator.threads import SOURCE_THREADS
from tests.support.clips import make_clip
from tests.support.receivers import BLOB, Play, Receiver, drip
from tests.support.service import Service, problem
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.azurite]
MANY = 70
"""More than the API has threads of any kind."""


def drip_until(over: threading.Event) -> Play:
    def play(peer: socket.socket) -> None:
        with suppress(OSError):
            peer.sendall(b"HTTP/1.1 200 Said\r\nX-Slow: ")
            while not over.wait(0.5):
                peer.sendall(b"a")

    return play


class Trickle(BaseHTTPRequestHandler):
    """Any blob of 10 MB: looked up at once, read a byte at a time for as long as anybody reads."""

    reading: ClassVar[set[str]] = set()

    def do_HEAD(self) -> None:
        self._head(200, 10_000_000)

    def do_GET(self) -> None:
        first, last = map(int, self.headers["x-ms-range"].removeprefix("bytes=").split("-"))
        self._head(206, last - first + 1, f"bytes {first}-{last}/10000000")
        self.reading.add(self.path)
        with suppress(OSError):
            for _ in range(first, last):
                self.wfile.write(b"a")
                time.sleep(0.1)

    def _head(self, status: int, length: int, content_range: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        if content_range:
            self.send_header("Content-Range", content_range)
        for line in BLOB:
            self.send_header(*line.split(": ", 1))
        self.end_headers()

    def log_message(self, *about: object) -> None:
        pass


def host_for(receiver: Receiver, **env: str) -> EmbeddedHost:
    return EmbeddedHost(workers=1, env={"MATCHCUT_SOURCE_HOSTS": f"127.0.0.1:{receiver.port}", **env})


def test_more_trickling_sources_than_threads_keep_nobody_from_a_status_a_list_or_health() -> None:
    over = threading.Event()
    with (
        Receiver(drip_until(over)) as receiver,
        host_for(receiver, MATCHCUT_SOURCE_LOOK_UP_S="3600") as host,
        ThreadPoolExecutor(MANY) as callers,
    ):
        service, patient = Service(host), Service(host)
        patient.http.timeout = None
        url = f"http://127.0.0.1:{receiver.port}/videos/match.mp4"
        answers = [callers.submit(patient.post, url, segment_s=10 + n) for n in range(MANY)]
        try:
            until(lambda: receiver.connections >= SOURCE_THREADS)
            assert 404 == service.http.get("/api/jobs/m-0123456789abcdef01234567").status_code
            assert 200 == service.http.get("/api/jobs").status_code
            assert 200 == service.http.get("/api/health").status_code
            assert not any(answer.done() for answer in answers)
        finally:
            over.set()


def test_a_post_of_a_trickling_source_is_told_so_after_the_deadline() -> None:
    with Receiver(drip) as receiver, host_for(receiver, MATCHCUT_SOURCE_LOOK_UP_S="0.5") as host:
        refused = Service(host).post(f"http://127.0.0.1:{receiver.port}/videos/match.mp4")
        assert "source_too_slow" == problem(refused, 503)["code"]
        assert int(refused.headers["Retry-After"]) > 0


def test_jobs_that_are_cancelled_free_the_workers_that_wait_for_their_source() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Trickle)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    try:
        with EmbeddedHost(workers=2, env={"MATCHCUT_SOURCE_HOSTS": f"127.0.0.1:{port}"}) as host:
            service = Service(host)
            urls = [f"http://127.0.0.1:{port}/videos/{name}.mp4" for name in ("a", "b")]
            slow = [service.post(url).json()["id"] for url in urls]
            until(lambda: len(Trickle.reading) == 2)
            good = service.post(service.upload(make_clip(5))).json()["id"]
            for job in slow:
                assert 202 == service.http.delete(f"/api/jobs/{job}").status_code
            assert "Completed" == service.wait(good)["state"]
            assert ["Cancelled"] * 2 == [service.wait(job)["state"] for job in slow]
    finally:
        server.shutdown()
        server.server_close()
