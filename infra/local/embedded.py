"""The embedded host as a child process, for tests and for the client's demo."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]


class HostFailed(Exception):
    """The host did not start, or not in time; the message is the last line of its log."""


class EmbeddedHost:
    """`with EmbeddedHost() as host: httpx.get(host.base_url + "/api/health")`.

    Everything is on free ports of 127.0.0.1. Without `data` the blobs lie in a temporary folder, which is
    removed with the host. `storage`: a connection string; with it there is no Azurite. `log`, the host's
    structured stderr, lies in `data`, else in the temporary folder. Raises HostFailed.
    """

    def __init__(
        self,
        *,
        app: str = "function_app",
        data: Path | None = None,
        workers: int | None = None,
        storage: str | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        azurite_port: int = 0,
        env: Mapping[str, str] | None = None,
        start_limit_s: float = 180,
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="matchcut-host-", ignore_cleanup_errors=True)
        own = Path(self._temporary.name)
        self.data = data or own / "azurite"
        self.log = (data or own) / "host.log"
        self._ready = own / "ready.json"
        self._environment = {**os.environ, **(env or {})}
        self._start_limit_s = start_limit_s
        self._process: subprocess.Popen[bytes] | None = None
        self._arguments = ["--app", app, "--data", str(self.data), "--ready-file", str(self._ready)]
        self._arguments += ["--host", host, "--port", str(port), "--azurite-port", str(azurite_port)]
        if workers is not None:
            self._arguments += ["--workers", str(workers)]
        if storage is not None:
            self._arguments += ["--storage", storage]
        else:
            self._environment.pop("MATCHCUT_STORAGE", None)
        self._environment.pop("PUBLIC_BASE_URL", None)
        self._environment.update(env or {})

    def start(self) -> Self:
        """Start the host, and wait until it serves requests. Raises HostFailed."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "infra.local", "host", *self._arguments],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + self._start_limit_s
        while not self._ready.exists():
            if self._process.poll() is not None:
                raise HostFailed(self._last_words(self._process.returncode))
            if time.monotonic() > deadline:
                self.stop()
                raise HostFailed(
                    f"The host did not start within {self._start_limit_s:.0f} s; see {self.log}."
                )
            time.sleep(0.02)
        ready = json.loads(self._ready.read_text())
        self.base_url: str = ready["base_url"]
        self.connection_string: str = ready["connection_string"]
        self.azurite_pid: int | None = ready["azurite_pid"]
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stop(self, limit_s: float = 30) -> int:
        """Send SIGTERM, and SIGKILL after limit_s seconds; returns the exit code. Safe before start()."""
        if self._process is None:
            return 0
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            return self.wait(limit_s)
        except subprocess.TimeoutExpired:
            return self.kill()

    def wait(self, limit_s: float) -> int:
        """Wait until the host has ended; returns its exit code. Raises subprocess.TimeoutExpired."""
        assert self._process is not None
        return self._process.wait(limit_s)

    def kill(self) -> int:
        """Send SIGKILL, as the kernel's out-of-memory killer does; returns the exit code."""
        assert self._process is not None
        self._process.kill()
        return self._process.wait()

    def _last_words(self, code: int) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"The host ended with code {code}."

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            self._temporary.cleanup()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._temporary.cleanup()
