"""A port that stays free until the test binds it."""

from __future__ import annotations

import fcntl
import random
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from infra.local.ports import PortTaken, listen

_LOWEST, _GIVEN_OUT = 20_000, Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOCKS = Path(tempfile.gettempdir()) / "matchcut-test-ports"


@contextmanager
def own_port() -> Iterator[int]:
    """Of 127.0.0.1, below those that the system gives to whoever names none, and locked against other
    tests of this machine."""
    _LOCKS.mkdir(exist_ok=True)
    end = int(_GIVEN_OUT.read_text().split()[0]) if _GIVEN_OUT.exists() else 32_768
    for port in random.sample(range(_LOWEST, end), k=end - _LOWEST):
        with ExitStack() as held:
            lock = held.enter_context((_LOCKS / str(port)).open("w"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                listen("127.0.0.1", port, 0, "").close()
            except (BlockingIOError, PortTaken):
                continue
            yield port
            return
    raise AssertionError("no port is free")
