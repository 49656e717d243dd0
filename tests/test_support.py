"""The tests' own helpers: one home, and they hold where processes end and ports are taken at any moment."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.ports import own_port
from tests.support.waiting import until

TESTS = Path(__file__).parent
FROM_A_TEST = re.compile(r"^(?:from|import) tests\.(?:\w+\.)*(?:test_\w+|conftest)\b.*", re.MULTILINE)
SHORT_LIVES = "import subprocess\nfor _ in range(200): subprocess.run(['true'])"


def test_what_tests_share_lies_in_support() -> None:
    assert {} == {
        str(path.relative_to(TESTS)): found
        for path in TESTS.rglob("*.py")
        if (found := FROM_A_TEST.findall(path.read_text()))
    }


def test_processes_that_end_between_two_looks_are_passed_over() -> None:
    with subprocess.Popen([sys.executable, "-c", SHORT_LIVES]) as parent:
        while parent.poll() is None:
            assert parent.pid in processes.children(os.getpid()) or parent.poll() is not None
            for pid in processes.descendants(os.getpid()):
                assert processes.command(pid) is not None
    assert processes.look(parent.pid) is None
    assert "" == processes.command(parent.pid)


def test_a_process_that_is_killed_is_over_when_it_is_told_so_and_may_be_killed_again() -> None:
    with subprocess.Popen(["sleep", "600"]) as child:
        assert [child.pid] == processes.still_running([child.pid], limit_s=0)
        processes.kill(child.pid)
        assert [] == processes.still_running([child.pid], limit_s=0)
        assert child.pid not in processes.children(os.getpid())
    processes.kill(child.pid)


def test_ports_of_ones_own_differ_and_are_given_to_nobody_who_names_none() -> None:
    with ExitStack() as held:
        own = [held.enter_context(own_port()) for _ in range(20)]
        anybodys = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(50)]
        assert 20 == len(set(own))
        assert set() == set(own) & {one.getsockname()[1] for one in anybodys}
        assert own[0] == held.enter_context(socket.create_server(("127.0.0.1", own[0]))).getsockname()[1]


def test_what_does_not_come_is_told_with_what_was_seen() -> None:
    answers = iter(["", "", "there"])
    assert "there" == until(lambda: next(answers))
    with pytest.raises(AssertionError, match="seen so far"):
        until(lambda: False, lambda: "seen so far", limit_s=0)
