"""python -m client submit | watch | fetch | cancel | retry | list | batch | demo | export | models"""

from __future__ import annotations

import signal


def main() -> None:
    # While modules load, Ctrl-C has nothing to clean up and needs no traceback.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from client.commands import app

    signal.signal(signal.SIGINT, before)
    app(prog_name="python -m client")


if __name__ == "__main__":
    main()
