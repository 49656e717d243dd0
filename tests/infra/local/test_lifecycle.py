"""Starting, stopping, crashing: what a user sees, and that nothing stays behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.azurite import Azurite
from infra.local.azurite.emulator import ROOT
from infra.local.embedded import EmbeddedHost, HostFailed
from shared import names
from shared.settings import Settings
from shared.storage import BlobStore, paths
from tests.support.processes import descendants, kill, still_running
from tests.support.tiny import TINY, api_of
from tests.support.waiting import LIMIT_S, read_if_there, until

RESUMABLE = "tests.infra.local.apps.resumable.function_app"
ELSEWHERE = "UseDevelopmentStorage=true"

pytestmark = pytest.mark.e2e


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MATCHCUT_")}
    return subprocess.run(
        [sys.executable, "-m", "infra.local", "host", "--storage", ELSEWHERE, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


@pytest.mark.azurite
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_host_with_all_its_processes(number: signal.Signals) -> None:
    with EmbeddedHost(app=TINY, workers=2) as host:
        family = descendants(host.pid)
        assert 3 == len(family), "two workers and Azurite"
        with api_of(host) as api:
            api.start("one", "busy", {"activity": "child", "input": str(host.data / "pid")})
            child = int(until(lambda: read_if_there(host.data / "pid")))
        os.kill(host.pid, number)
        assert 0 == host.wait(LIMIT_S)
        assert [] == still_running([*family, child])


@pytest.mark.azurite
def test_a_killed_host_leaves_no_worker_and_no_azurite() -> None:
    with EmbeddedHost(app=TINY, workers=2) as host:
        family = descendants(host.pid)
        host.kill()
        assert [] == still_running(family)


@pytest.mark.azurite
def test_a_host_whose_azurite_ends_says_so_and_ends() -> None:
    with EmbeddedHost(app=TINY, workers=1) as host:
        family = descendants(host.pid)
        kill(azurite_of(host))
        assert 1 == host.wait(LIMIT_S)
        assert [] == still_running(family)
        last = host.log.read_text().splitlines()[-1]
        assert f"Azurite ended with code -9; see {host.data.resolve() / 'azurite.log'}." == last


@pytest.mark.azurite
def test_the_host_prints_what_the_client_needs() -> None:
    with EmbeddedHost(app=TINY, workers=1) as host:
        told = host.log.read_text()
        assert f"\nexport MATCHCUT_API={host.base_url}\n" in told
        assert f"\nexport MATCHCUT_STORAGE='{host.connection_string}'\n" in told


@pytest.mark.azurite
def test_unfinished_jobs_go_on_after_a_kill_and_do_not_repeat_what_was_done(tmp_path: Path) -> None:
    job = "m-1"
    with EmbeddedHost(app=RESUMABLE, workers=1, data=tmp_path) as host:
        store = _store(host.connection_string)
        store.put(paths.request_path(job), b"{}")
        with api_of(host) as api:
            api.start(names.JOB, job, job)
        until(lambda: len(list(store.list("done/"))) >= 2)
        host.kill()
        assert [] == still_running([azurite_of(host)])
    with Azurite(tmp_path) as azurite:
        before = set(_store(azurite.connection_string).list("done/"))
    with EmbeddedHost(app=RESUMABLE, workers=1, data=tmp_path) as host:
        store = _store(host.connection_string)
        store.put("go", b"{}")
        until(lambda: store.exists(paths.end_path(job)))
        runs = [path.split("/")[2] for path in store.list("ran/")]
    assert 2 <= len(before) < 6
    assert {str(n) for n in range(6)} == set(runs)
    assert len(runs) <= 7, "only the step in flight may have run twice"


def test_a_named_port_that_is_taken_ends_with_code_2_and_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = command("--app", TINY, "--port", str(port))
    assert 2 == done.returncode
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Port {port} on 127.0.0.1 cannot be used")
    assert line.endswith("choose another with --port, or PORT= with make.")


def test_an_app_that_cannot_be_imported_ends_with_code_1_and_one_sentence() -> None:
    done = command("--app", "tests.infra.local.apps.broken.function_app", "--port", "0")
    assert 1 == done.returncode
    (line,) = done.stderr.splitlines()
    assert "cannot be loaded: ModuleNotFoundError: No module named 'a_package_that_nobody_has'" in line


def test_an_embedded_host_that_does_not_start_says_why() -> None:
    with (
        pytest.raises(HostFailed, match="cannot be loaded"),
        EmbeddedHost(app="no_such_app", storage=ELSEWHERE),
    ):
        pass


@pytest.mark.parametrize("option", ["--port", "--azurite-port"])
@pytest.mark.parametrize("value", ["99999", "-1", "abc", ""])
def test_a_port_that_is_none_is_wrong_usage(option: str, value: str) -> None:
    done = command(f"{option}={value}")
    assert 2 == done.returncode
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"argument {option}: {value!r} is no whole number from 0 to 65535; with make it is "
    )


def test_no_workers_is_wrong_usage() -> None:
    assert 2 == command("--workers", "0").returncode


def _store(connection_string: str) -> BlobStore:
    return BlobStore.from_settings(Settings(storage=connection_string))


def azurite_of(host: EmbeddedHost) -> int:
    assert host.azurite_pid
    return host.azurite_pid


def test_the_host_keeps_as_many_instances_that_are_over_as_it_is_told() -> None:
    settings = {"MATCHCUT_HISTORY_COUNT": "2"}
    with (
        EmbeddedHost(app=TINY, workers=1, storage=ELSEWHERE, env=settings) as running,
        api_of(running) as api,
    ):
        for n in range(4):
            api.run("fan_out", f"kept-{n}", 1)
        listed = api.manage("GET", "instances").json()
    assert ["kept-2", "kept-3"] == [found["instanceId"] for found in listed]


@pytest.mark.parametrize("option", ["--history-s=-1", "--history-count=-1", "--history-count=many"])
def test_a_history_that_cannot_be_kept_is_refused(option: str) -> None:
    done = command(option)
    assert 2 == done.returncode
    assert "--history" in done.stderr.splitlines()[-1]
