"""The demo as a person runs it; what needs the service is marked e2e."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client.commands import app
from client.demo import RUN, Demo, sample_match
from client.errors import ClientError
from samples.match import truth_path
from shared.contracts import Result, State
from shared.settings import ROOT
from shared.timelines import write_timeline
from tests.support.clips import make_clip
from tests.support.processes import children, command, kill, of_session
from tests.support.waiting import LIMIT_S


class Started(AssertionError):
    """Something was started that should not have been."""


def refused(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, list[str]]:
    """(exit code, lines on stderr) of a demo that must not come to making or starting anything."""

    def start(*a: object, **k: object) -> None:
        raise Started

    monkeypatch.setattr("client.demo.EmbeddedHost", start)
    monkeypatch.setattr("client.demo.write_match", start)
    done = CliRunner().invoke(app, ["demo", *arguments])
    assert "" == done.stdout
    return done.exit_code, done.stderr.splitlines()


def test_a_video_that_is_not_there_is_told_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "match.mp4"
    expected = (1, [f"error: {path} is not there."])
    assert expected == refused(monkeypatch, "--video", str(path), "--out", str(tmp_path))


def test_a_folder_that_cannot_be_written_is_told_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    code, told = refused(monkeypatch, "--out", str(tmp_path / "file" / "below"))
    assert 1 == code
    assert [f"error: The folder {tmp_path / 'file' / 'below'} cannot be written: Not a directory."] == told


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--segment-s", "0"),
        ("--segment-s", "x"),
        ("--segment-s", "1"),
        ("--segment-s", "3601"),
        ("--workers", "0"),
        ("--workers", "-1"),
    ],
)
def test_a_number_that_cannot_be_is_told_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, option: str, value: str
) -> None:
    allowed = {"--segment-s": "2 to 3600", "--workers": "1 or more"}[option]
    expected = (2, [f"error: {option} takes a whole number, {allowed}."])
    assert expected == refused(monkeypatch, "--out", str(tmp_path), option, value)


def test_a_url_is_told_that_the_demo_takes_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    expected = (2, ["error: demo takes a local file; for a URL use make host and client submit."])
    video = "https://account.example/videos/match.mp4?sig=x"
    assert expected == refused(monkeypatch, "--out", str(tmp_path / "out"), "--video", video)
    assert [] == list(tmp_path.iterdir())


def test_a_file_in_the_folders_place_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    expected = (1, [f"error: {tmp_path / 'file'} is a file, not a folder."])
    assert expected == refused(monkeypatch, "--out", str(tmp_path / "file"))


SAMPLE = Demo(video=None, out=None, segment_s=None, seconds=30, seed=7, workers=None, keep=False)


def test_a_sample_is_made_once_for_its_length_and_seed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[tuple[int, int]] = []

    def write(path: Path, seconds: int, seed: int, **rest: object) -> None:
        made.append((seconds, seed))
        path.touch()
        truth_path(path).touch()

    monkeypatch.setattr("client.demo.RUN", tmp_path)
    monkeypatch.setattr("client.demo.write_match", write)
    first = sample_match(SAMPLE)
    assert first == sample_match(SAMPLE)
    assert first != sample_match(replace(SAMPLE, seconds=60)) != sample_match(replace(SAMPLE, seed=8))
    assert [(30, 7), (60, 7), (30, 8)] == made
    truth_path(first).unlink()
    sample_match(SAMPLE)
    assert (30, 7) == made[-1]


def test_a_sample_that_cannot_be_made_is_told_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("client.demo.RUN", tmp_path)
    with pytest.raises(ClientError, match=r"^The sample match cannot be made: .*1.*\.$"):
        sample_match(replace(SAMPLE, seconds=1))


@contextmanager
def demo(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A demo in a session of its own, of which nothing may be left at the end."""
    with subprocess.Popen(
        [sys.executable, "-m", "client", "demo", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
            assert process.poll() is not None
            assert [] == [command(pid) for pid in of_session(process.pid)]
        finally:
            if process.poll() is None:
                process.terminate()


def until(process: subprocess.Popen[str], beginning: str) -> str:
    """The first line that begins so."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(beginning):
            return line
    raise AssertionError(f"no line begins with {beginning!r}")


def kept_folders() -> set[Path]:
    return set(RUN.glob("demo-*"))


@pytest.mark.e2e
def test_the_demo_leaves_an_edl_and_tells_how_good_it_is(tmp_path: Path) -> None:
    out, before = tmp_path / "new" / "folder", kept_folders()
    with demo(
        "--seconds", "30", "--segment-s", "10", "--video", "", "--workers", "", "--out", str(out)
    ) as made:
        shown, told = made.communicate(timeout=240)
    assert (0, "") == (made.returncode, told)
    result = Result.model_validate_json((out / "result.json").read_bytes())
    assert State.COMPLETED == result.state
    edl = (out / "cut.edl").read_bytes()
    assert write_timeline(result, "original-edl") == edl
    assert edl.decode().strip() in shown
    assert all(str(out / name) in shown for name in ("cut.edl", "result.json"))
    assert re.search(r"^Completed, \d+/\d+ units, \d+\.\dx real time$", shown, re.MULTILINE)
    assert re.search(r"precision (\d\.\d\d|n/a).*recall (\d\.\d\d|n/a)", shown.splitlines()[-1])
    assert "sig=" not in shown
    assert before == kept_folders()


@pytest.mark.e2e
def test_the_demo_of_what_is_no_video_ends_with_the_jobs_own_sentence(tmp_path: Path) -> None:
    path = tmp_path / "match.mp4"
    path.write_bytes(b"What is a match?" * 4000)
    with demo("--video", str(path), "--out", str(tmp_path / "out")) as made:
        _, told = made.communicate(timeout=240)
    assert 1 == made.returncode
    assert 1 == len(told.splitlines())
    assert "container formats" in told
    assert [] == list((tmp_path / "out").iterdir())


@pytest.mark.e2e
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path, number: signal.Signals, code: int) -> None:
    before = kept_folders()
    path = tmp_path / "match.mp4"
    path.write_bytes(make_clip(1500, Fraction(25)))
    with demo("--video", str(path), "--segment-s", "2", "--out", str(tmp_path / "out")) as made:
        until(made, "job ")
        assert any("infra.local" in command(pid) for pid in of_session(made.pid))
        made.send_signal(number)
        time.sleep(0.2)
        made.send_signal(number)  # an impatient person
        _, told = made.communicate(timeout=LIMIT_S)
    assert (code, "") == (made.returncode, told)
    assert before == kept_folders()


@pytest.mark.e2e
def test_a_service_that_cannot_start_is_told_with_its_log(tmp_path: Path) -> None:
    (tmp_path / "match.mp4").write_bytes(make_clip(50))
    (tmp_path / "tools").touch()
    before = kept_folders()
    tools = str(tmp_path / "tools" / "below")
    with demo("--video", str(tmp_path / "match.mp4"), "--out", str(tmp_path), MATCHCUT_TOOLS=tools) as made:
        _, told = made.communicate(timeout=LIMIT_S)
    assert 1 == made.returncode
    assert told.startswith("error: The service did not start: ")
    assert 1 == len(told.splitlines())
    (kept,) = kept_folders() - before
    assert told.endswith(f" Its log is {kept / 'host.log'}.\n")
    assert (kept / "host.log").is_file()
    shutil.rmtree(kept)


@pytest.mark.e2e
def test_a_service_that_dies_is_told_with_its_log(tmp_path: Path) -> None:
    path = tmp_path / "match.mp4"
    path.write_bytes(make_clip(1500, Fraction(25)))
    with demo("--video", str(path), "--segment-s", "2", "--out", str(tmp_path / "out")) as made:
        until(made, "job ")
        kill(*children(made.pid))
        _, told = made.communicate(timeout=LIMIT_S)
    assert 1 == made.returncode
    last = told.splitlines()[-1]
    found = re.fullmatch(r"error: The service does not answer any more; its log is (.*/host\.log)\.", last)
    assert found, told
    assert Path(found[1]).is_file()
    shutil.rmtree(Path(found[1]).parent)
