"""The blob emulator as a child process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient

from infra.local.azurite import Azurite, AzuriteError, emulator, setup
from infra.local.azurite.emulator import ROOT
from infra.local.ports import listen
from tests.support.processes import still_running

pytestmark = pytest.mark.azurite

_CRASH = """
import sys, time
from pathlib import Path
from azure.storage.blob import BlobServiceClient
from infra.local.azurite import Azurite
azurite = Azurite(Path(sys.argv[1])).__enter__()
service = BlobServiceClient.from_connection_string(azurite.connection_string)
service.create_container("kept").upload_blob("a", b"still here")
print(azurite.pid, flush=True)
time.sleep(60)
"""


def test_what_was_written_is_read_back_in_part() -> None:
    with Azurite() as azurite:
        service = BlobServiceClient.from_connection_string(azurite.connection_string)
        container = service.create_container("one")
        container.upload_blob("a", bytes(range(256)) * 40)
        assert bytes(range(5, 15)) == container.download_blob("a", offset=5, length=10).readall()
        pid, location = azurite.pid, azurite.location
    assert [] == still_running([pid])
    assert not location.exists()


def test_it_ends_with_a_killed_parent_and_keeps_what_was_written(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _CRASH, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    assert [] == still_running([pid])
    with Azurite(tmp_path) as azurite:
        service = BlobServiceClient.from_connection_string(azurite.connection_string)
        assert b"still here" == service.get_blob_client("kept", "a").download_blob().readall()


def test_setup_installs_nothing_when_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    first = setup()
    monkeypatch.setattr(emulator, "_install", None)
    assert first == setup()


def test_a_port_that_is_taken_after_all_is_a_sentence_with_what_azurite_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with listen("127.0.0.1", 0, 0, "--port") as taken:
        monkeypatch.setattr(emulator, "free_port", lambda *_: taken.getsockname()[1])
        with pytest.raises(AzuriteError, match=r"^Azurite ended with code 1; it said: .*EADDRINUSE"):
            Azurite().__enter__()


def test_an_installation_that_fails_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATCHCUT_TOOLS", str(tmp_path))
    monkeypatch.setenv("npm_config_offline", "true")
    monkeypatch.setenv("npm_config_cache", str(tmp_path / "empty"))
    with pytest.raises(AzuriteError, match=r"^Azurite cannot be installed: .+\.$") as failure:
        setup()
    assert "\n" not in str(failure.value)


def test_two_never_share_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both would write the same index, and the last one to end would win."""
    monkeypatch.setattr(emulator, "_STOP_LIMIT_S", 0.3)
    with Azurite(tmp_path), pytest.raises(AzuriteError, match="in use by another host"):
        Azurite(tmp_path).start()
    with Azurite(tmp_path) as after:
        assert after.port


def test_it_says_whether_it_had_to_leave_the_usual_port(monkeypatch: pytest.MonkeyPatch) -> None:
    with listen("127.0.0.1", 0, 0, "--port") as taken:
        monkeypatch.setattr(emulator, "DEFAULT_PORT", taken.getsockname()[1])
        with Azurite(port=None) as moved, Azurite() as anywhere:
            assert (True, False) == (moved.moved, anywhere.moved)
            assert (None, None) == (moved.ended(), anywhere.ended())
