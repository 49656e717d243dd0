"""python -m infra.local host | setup"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

_WITH_MAKE = "with make it is PORT= or AZURITE_PORT="


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One sentence, without the usage."""
        self.exit(2, f"{message}\n")


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 to 65535; {_WITH_MAKE}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    env = os.environ.get
    parser = _Parser(prog="python -m infra.local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("setup", help="install Azurite (and Node.js where there is none)")
    host = commands.add_parser("host", help="run Azurite and the embedded host in the foreground")
    add = host.add_argument
    add("--host", default=env("MATCHCUT_HOST", "127.0.0.1"), help="address to bind (%(default)s)")
    add("--port", type=_port, default=env("MATCHCUT_PORT") or None, help="of the API (7071, or a free one)")
    blobs = env("MATCHCUT_AZURITE_PORT") or None
    add("--azurite-port", type=_port, default=blobs, help="(10000, or a free one)")
    add("--data", type=Path, default=env("MATCHCUT_DATA", ".run/azurite"), help="of Azurite (%(default)s)")
    workers = env("MATCHCUT_WORKERS", str(os.cpu_count() or 1))
    add("--workers", type=int, default=workers, help="activities that run at once (%(default)s)")
    age = env("MATCHCUT_HISTORY_S", "3600")
    add(
        "--history-s",
        type=float,
        default=age,
        help="an orchestration that is over is kept for (%(default)s s)",
    )
    count = env("MATCHCUT_HISTORY_COUNT", "2000")
    add("--history-count", type=int, default=count, help="and so many of them at most (%(default)s)")
    add("--app", default="function_app", help="module of the function app (%(default)s)")
    add("--storage", default=env("MATCHCUT_STORAGE"), help="connection string to use instead of Azurite")
    add("--ready-file", type=Path, help="write a JSON file there once requests are served")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns its exit code: 0 ended as asked, 1 could not start or go on, 2 wrong usage or a
    port that is taken, 130 interrupted."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    from infra.local import azurite, log
    from infra.local.ports import PortTaken

    log.configure()
    try:
        if chosen.command == "setup":
            node, script = azurite.setup()
            print(f"Node.js  {node.node}\nAzurite  {script}")
            return 0
        if chosen.workers < 1:
            parser.error("--workers is at least 1")
        if chosen.history_s < 0 or chosen.history_count < 0:
            parser.error("--history-s and --history-count are at least 0")
        from infra.local import host

        options = {name: value for name, value in vars(chosen).items() if name != "command"}
        return host.run(host.Options(**options))
    except PortTaken as taken:
        return _refuse(taken, 2)
    except KeyboardInterrupt:
        return 130
    except Exception as broken:
        from infra.local.app import AppError

        if not isinstance(broken, AppError | azurite.AzuriteError):
            raise
        return _refuse(broken, 1)


def _refuse(why: Exception, code: int) -> int:
    print(why, file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
