"""The parts of a run of `make chaos`: storage, a proxy before it, a supervised host, a receiver.

Each can be killed, and starts again as a supervisor would start it: storage on the same port and folder, the
host on the same port.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Self

from bench.cpu import tree
from bench.faults import FaultProxy, Schedule
from infra.local.azurite import Azurite
from infra.local.embedded import EmbeddedHost
from infra.local.ports import free_port
from shared.callbacks import ID, verify
from shared.settings import ROOT

WORKERS = 2
SECRET = "whsec_" + base64.b64encode(b"the-secret-of-the-chaos-receiver").decode()
TOKEN = "token-of-the-receiver"
MODELS = "models"
"""The container with the model that is fetched to scratch."""
FETCHED = "motion"
_MARK = "MATCHCUT_CHAOS_RUN"
_DURABLE = Path(__file__).with_name("durable.js")
_WORKER = "infra.local.workers.worker"
_SCRATCH = "16m"
_SETTLE_S = 0.3
_END_S = 15.0


@contextmanager
def storage(folder: Path, port: int = 0) -> Iterator[Azurite]:
    """Azurite over this folder; whatever it has acknowledged is on disk."""
    with _durable(), Azurite(folder, port) as azurite:
        yield azurite


@contextmanager
def _durable() -> Iterator[None]:
    before = os.environ.get("NODE_OPTIONS")
    os.environ["NODE_OPTIONS"] = f"--require={_DURABLE}"
    try:
        yield
    finally:
        os.environ.pop("NODE_OPTIONS")
        if before is not None:
            os.environ["NODE_OPTIONS"] = before


class Receiver:
    """Takes callbacks; refuses the first `refusals` of each id with 503."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.taken: dict[str, list[str]] = {}
        """By the callback's path: the ids that came, in order."""
        self.forged = 0
        self.bodies: dict[str, set[bytes]] = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                path, _, query = self.path.partition("?")
                receiver.forged += (
                    not verify([SECRET], headers, body, datetime.now(UTC)) or TOKEN not in query
                )
                came = receiver.taken.setdefault(path, [])
                came.append(headers[ID])
                receiver.bodies.setdefault(headers[ID], set()).add(body)
                self.send_response(204 if len(came) > refusals else 503)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Toll:
    """The units in flight when a process was killed, which may be scored twice."""

    units: list[str] = field(default_factory=list)
    kills: list[str] = field(default_factory=list)
    """What was killed."""


class Rig:
    """`with Rig(folder, template, schedule, ...) as rig:` then rig.kill("host"), "worker" or "storage".

    folder: of this run; template: a folder of Azurite's that it begins with. With scratch_full, scratch
    is a small disk that is full until free_scratch().
    """

    def __init__(
        self, folder: Path, template: Path, schedule: Schedule, refusals: int = 0, scratch_full: bool = False
    ) -> None:
        self.folder, self.toll = folder, Toll()
        self._stack = ExitStack()
        self._mark = uuid.uuid4().hex
        self._template, self._schedule, self._scratch_full = template, schedule, scratch_full
        self.receiver = Receiver(refusals)
        self._port = free_port(0, 0, "")
        self._lock = threading.Lock()
        self._host: EmbeddedHost | None = None

    def __enter__(self) -> Self:
        try:
            return self._start()
        except BaseException:
            self._stack.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start(self) -> Self:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        os.environ[_MARK] = self._mark
        self._stack.callback(os.environ.pop, _MARK, None)
        shutil.copytree(self._template, self.folder / "storage")
        self._storage_port = free_port(0, 0, "")
        self._azurite = self._new_storage()
        self._stack.callback(lambda: self._azurite.stop())
        self.direct = self._azurite.connection_string
        self.proxy = self._stack.enter_context(FaultProxy(self._storage_port, self._schedule))
        self.storage = self.proxy.connection_string(self.direct)
        self._stack.enter_context(self.receiver)
        self._environment = {
            "MATCHCUT_CALLBACK_HOSTS": f"127.0.0.1:{self.receiver.port}",
            "MATCHCUT_ALLOWED_NETWORKS": "127.0.0.0/8",
            "MATCHCUT_CALLBACK_SECRETS": SECRET,
        }
        if self._scratch_full:
            self._environment |= self._small_scratch()
        self._stack.callback(self.stop_host)
        self._new_host()
        return self

    def _new_storage(self) -> Azurite:
        with _durable():
            azurite = Azurite(self.folder / "storage", self._storage_port).start()
        azurite.wait_ready()
        return azurite

    def _new_host(self) -> None:
        host = EmbeddedHost(
            data=self.folder,
            workers=WORKERS,
            storage=self.storage,
            port=self._port,
            env=self._environment,
        )
        self._host = host
        self.base_url = host.start().base_url

    def stop_host(self) -> int | None:
        """Stop the host; returns its exit code if it had ended by itself, else None. May be called twice."""
        with self._lock:
            host, self._host = self._host, None
        if host is None:
            return None
        with suppress(subprocess.TimeoutExpired):
            return host.wait(0)
        host.stop()
        return None

    @property
    def log(self) -> Path:
        return self.folder / "host.log"

    # ------------------------------------------------------------ scratch

    def _small_scratch(self) -> Mapping[str, str]:
        """A small full disk for temporary files, and one model that must be stored there."""
        scratch, models = self.folder / "scratch", self.folder / "models"
        scratch.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={_SCRATCH}", "tmpfs", str(scratch)]
        subprocess.run(mount, check=True, capture_output=True)
        self._stack.callback(subprocess.run, ["umount", "--lazy", str(scratch)], check=False)
        self._filler = scratch / "filler"
        with suppress(OSError), self._filler.open("wb") as filler:
            while True:
                filler.write(bytes(1 << 16))
        models.mkdir()
        for entry in (ROOT / "models").iterdir():
            if entry.name != FETCHED:
                (models / entry.name).symlink_to(entry)
        return {
            "TMPDIR": str(scratch),
            "MATCHCUT_MODELS_CACHE": str(scratch / "models"),
            "MATCHCUT_MODELS_DIR": str(models),
            "MATCHCUT_MODELS_CONTAINER": MODELS,
        }

    def free_scratch(self) -> None:
        self._filler.unlink(missing_ok=True)

    # ------------------------------------------------------------ kills

    def in_flight(self) -> set[str]:
        """Units begun and not done. A unit reads the facts of its span first, and writes them last."""
        journal = self.proxy.journal
        return {path for path in list(journal.missed) if is_facts(path) and path not in journal.written}

    def scored_twice(self) -> dict[str, int]:
        """Units that were begun more than once -> how often beyond the first."""
        missed = dict(self.proxy.journal.missed)
        return {path: len(ids) - 1 for path, ids in missed.items() if is_facts(path) and len(ids) > 1}

    def kill(self, what: str, random: Random, down_s: float) -> None:
        """Send SIGKILL, and start it again after down_s seconds; a worker is started again by the host."""
        begun = self.in_flight()
        with self._lock:
            assert self._host is not None
            if what == "worker":
                found = tree(self._host.pid).values()
                workers = sorted(process.pid for process in found if _WORKER in process.command)
                with suppress(ProcessLookupError):
                    os.kill(random.choice(workers or [self._host.pid]), signal.SIGKILL)
            elif what == "host":
                self._host.kill()
            else:
                os.kill(self._azurite.pid, signal.SIGKILL)
                self._azurite.stop()
            time.sleep(_SETTLE_S if what == "worker" else max(_SETTLE_S, down_s))
            self.proxy.journal.settle(_END_S)
            # A unit may have begun between the first look and the kill, and its request be on its way still.
            self.toll.units += sorted(begun | self.in_flight())
            self.toll.kills.append(what)
            if what == "host":
                self._new_host()
            elif what == "storage":
                self._azurite = self._new_storage()

    # ------------------------------------------------------------ afterwards

    def leftovers(self) -> list[str]:
        """Command lines of this run's processes that still live after stop()."""
        deadline = time.monotonic() + _END_S
        while found := _marked(self._mark):
            if time.monotonic() > deadline:
                return found
            time.sleep(0.1)
        return []


def is_facts(path: str) -> bool:
    return path.startswith("matchcut/scores/") and path.endswith(".json")


def _marked(mark: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if f"{_MARK}={mark}".encode() in (entry / "environ").read_bytes():
                    found.append(
                        (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    )
    return found
