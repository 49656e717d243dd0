"""A host of one blob, which says of its ETag and length what it likes, over plain HTTP."""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType


class Host:
    """Serves `data` under every path on 127.0.0.1, in the ranges that it is asked for."""

    def __init__(self, data: bytes, etag: str) -> None:
        self.data, self.etag = data, etag
        self.bytes_served = 0
        self.closed = False
        """Refuses everything."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.name = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.name}/videos/match.mp4"

    def __enter__(self) -> Host:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self._begin(200, 0 if host.closed else len(host.data))

            def do_GET(self) -> None:
                wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["x-ms-range"])
                assert wanted
                first, last = map(int, wanted.groups())
                body = b"" if host.closed else host.data[first : last + 1]
                host.bytes_served += len(body)
                self._begin(206, len(body), f"bytes {first}-{first + len(body) - 1}/{len(host.data)}")
                self.wfile.write(body)

            def _begin(self, status: int, length: int, span: str | None = None) -> None:
                self.send_response(403 if host.closed else status)
                self.send_header("Content-Length", str(length))
                self.send_header("ETag", f'"{host.etag}"')
                self.send_header("Last-Modified", "Wed, 25 Nov 2026 09:00:00 GMT")
                self.send_header("x-ms-blob-type", "BlockBlob")
                if span:
                    self.send_header("Content-Range", span)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler
