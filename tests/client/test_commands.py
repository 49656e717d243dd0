from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from client.commands import app
from shared.contracts import ErrorBody, State
from shared.timelines import write_timeline
from tests.support.small_result import a_result
from tests.support.stub_service import JOB, Service
from tests.support.waiting import LIMIT_S

VIDEO = "https://account.example/videos/match.mp4"
SAS = "?sv=2025-01-05&sp=r&sig=Zm9yYmlkZGVuIGZydWl0"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def finished(service: Service, gaps: bool = False) -> dict[str, bytes]:
    result = a_result(gaps)
    service.end = result.state
    service.files = {name: write_timeline(result, form) for name, form in FILES.items()}
    return service.files


FILES = {"cut.edl": "original-edl", "result.json": "json"}


def test_submit_prints_the_id_and_where_its_status_is(service: Service) -> None:
    done = run("submit", VIDEO + SAS)
    assert 0 == done.exit_code
    assert f"job     {JOB}\nstatus  {service.base_url}/api/jobs/{JOB}\n" == done.stdout
    assert {"video": VIDEO + SAS} == json.loads(service.seen[0].body)


def test_every_option_of_submit_reaches_the_service(service: Service) -> None:
    options = (
        "--name a.mp4 --profile soccer --model grass --model motion --segment-s 20 --title T --pre-roll-s 0 "
        "--post-roll-s 2.5 --merge-gap-s 1 --threshold shot=0.6 --threshold goal=0.7 --format original-edl "
        "--format json --idempotency-key once"
    )
    assert 0 == run("submit", VIDEO, *options.split()).exit_code
    expected = {
        "video": VIDEO,
        "name": "a.mp4",
        "models": ["grass", "motion"],
        "segment_s": 20,
        "cut": {
            "title": "T",
            "pre_roll_s": 0,
            "post_roll_s": 2.5,
            "merge_gap_s": 1,
            "thresholds": {"shot": 0.6, "goal": 0.7},
            "formats": ["original-edl", "json"],
        },
    }
    assert expected == json.loads(service.seen[0].body)
    assert "once" == service.seen[0].headers["idempotency-key"]


def test_submit_with_out_waits_and_fetches(service: Service, tmp_path: Path) -> None:
    files = finished(service)
    done = run("submit", VIDEO, "--out", str(tmp_path / "new" / "folder"))
    assert 0 == done.exit_code
    assert files == {path.name: path.read_bytes() for path in (tmp_path / "new" / "folder").iterdir()}


def test_the_key_comes_from_the_environment_and_is_not_shown(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MATCHCUT_KEY", "open-sesame")
    done = run("submit", VIDEO)
    assert "open-sesame" == service.seen[0].headers["x-functions-key"]
    assert "open-sesame" not in done.output
    assert "open-sesame" not in run("submit", "--help").output


def test_watch_ends_well_with_a_completed_job(service: Service) -> None:
    done = run("watch", JOB)
    assert 0 == done.exit_code
    expected = ["Queued", "Scoring, 1/3 units, 8.2x real time, ETA 0:02:40"]
    assert expected == done.stdout.splitlines()[:2]
    assert "Completed" == done.stdout.splitlines()[-1]


def test_watch_prints_the_gaps_and_ends_well(service: Service) -> None:
    finished(service, gaps=True)
    done = run("watch", JOB)
    assert 0 == done.exit_code
    assert "gap     01:01:00:00 to 01:02:00:00 (60.0 s): no grass, motion (segment_failed)" in done.stdout
    assert "CompletedWithGaps" == done.stdout.splitlines()[-1]


def test_a_job_without_an_edit_says_so_and_what_to_try(service: Service) -> None:
    finished(service)
    assert "No edit" not in run("submit", VIDEO, "--watch").stdout
    nothing = a_result().model_copy(update={"edits": ()})
    service.files = {"result.json": write_timeline(nothing, "json")}
    told = run("submit", VIDEO, "--watch").stdout.splitlines()[-1]
    assert told.startswith(f"No edit: nothing stood out in {float(nothing.video.duration_s):.0f} s of video.")
    assert "(submit --threshold highlight=0.2)" in told


@pytest.mark.parametrize("end", [State.FAILED, State.CANCELLED])
def test_watch_of_a_job_that_failed_tells_why_and_what_to_do(service: Service, end: State) -> None:
    service.end = end
    service.error = ErrorBody(code="x", message="It is no video.", action="Send mp4.", retryable=False)
    done = run("watch", JOB)
    assert 1 == done.exit_code
    assert "error: It is no video. Send mp4.\n" == done.stderr


def test_a_job_that_failed_without_a_reason_still_ends_with_1(service: Service) -> None:
    service.end = State.CANCELLED
    done = run("watch", JOB)
    assert (1, f"error: Job {JOB} ended as Cancelled.\n") == (done.exit_code, done.stderr)


def test_watch_goes_on_after_a_short_loss_of_connection(service: Service) -> None:
    service.drop = 1
    done = run("watch", JOB)
    assert 0 == done.exit_code
    assert "trying again" in done.stderr


def test_interrupting_watch_says_that_the_job_goes_on(service: Service) -> None:
    service.retry_after = "30"
    command = [sys.executable, "-m", "client", "watch", JOB, "--api", service.base_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watcher:
        assert watcher.stdout is not None
        assert "Queued\n" == watcher.stdout.readline()
        watcher.send_signal(signal.SIGINT)
        _, told = watcher.communicate(timeout=LIMIT_S)
    assert 130 == watcher.returncode
    assert f"The job goes on without its watcher: python -m client watch {JOB}\n" == told
    assert not service.cancelled


def test_on_a_terminal_watch_draws_a_bar(service: Service) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    command = [sys.executable, "-m", "client", "watch", JOB]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as watcher:
        os.close(theirs)
        shown = b""
        try:
            while block := os.read(ours, 4096):
                shown += block
        except OSError:
            pass  # Linux says EIO when the other side has closed.
        finally:
            os.close(ours)
    assert 0 == watcher.returncode
    assert "━" in shown.decode()
    assert "3/3 units" in shown.decode()


def test_fetch_downloads_every_file(service: Service, tmp_path: Path) -> None:
    files = finished(service)
    service.polls = service.steps
    done = run("fetch", JOB, "--out", str(tmp_path))
    assert 0 == done.exit_code
    assert [str(tmp_path / name) for name in sorted(files)] == done.stdout.splitlines()
    assert files == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_fetch_makes_a_folder_of_the_job_by_itself(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    finished(service)
    service.polls = service.steps
    assert 0 == run("fetch", JOB).exit_code
    assert (tmp_path / "out" / f"match-{JOB}" / "cut.edl").is_file()


def test_fetch_of_a_job_that_runs_says_so(service: Service, tmp_path: Path) -> None:
    done = run("fetch", JOB, "--out", str(tmp_path / "none"))
    assert (1, f"error: Job {JOB} has not ended yet (Queued); watch it first.\n") == (
        done.exit_code,
        done.stderr,
    )
    assert not (tmp_path / "none").exists()


def test_cancel_ends_the_job_and_prints_its_state(service: Service) -> None:
    done = run("cancel", JOB)
    assert (0, "Cancelled\n") == (done.exit_code, done.stdout)
    assert service.cancelled


def test_an_unknown_job_is_told_with_what_to_do(service: Service) -> None:
    done = run("watch", "m-other")
    expected = "error: There is no such job. Check the id; POST /api/jobs starts a job.\n"
    assert (1, expected) == (done.exit_code, done.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ("watch", "Not-An-Id"),
        ("watch",),
        ("submit", VIDEO, "--threshold", "shot"),
        ("submit", VIDEO, "--threshold", "shot=2"),
        ("submit", VIDEO, "--segment-s", "1"),
        ("submit", VIDEO, "--segment-s", "x"),
        ("submit", VIDEO, "--segment-s", "0"),
        ("submit", VIDEO, "--format", "vhs"),
        ("submit", VIDEO, "--pre-roll-s", "-1"),
        ("submit", VIDEO, "--api", "localhost"),
        ("export", "result.json", "--format", "vhs"),
        ("dance",),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_ends_with_2_and_asks_for_nothing(
    service: Service, arguments: tuple[str]
) -> None:
    done = run(*arguments)
    assert 2 == done.exit_code
    assert "rror: " in done.stderr
    assert [] == service.seen


@pytest.mark.parametrize(
    "arguments",
    [
        ("submit", "https://account.example/videos/missing.mp4" + SAS),
        ("submit", VIDEO + SAS, "surplus" + VIDEO + SAS),
        ("submit", VIDEO + SAS, "--api", VIDEO + SAS),
        ("submit", VIDEO + SAS, "--threshold", VIDEO + SAS),
        ("submit", VIDEO + SAS, "--segment-s", VIDEO + SAS),
        ("submit", VIDEO + SAS, "--profile", VIDEO + SAS),
        ("submit", VIDEO + SAS + "x" * 5000),
        ("submit", VIDEO + SAS, "--out", "/dev/null/" + VIDEO + SAS),
        ("submit", "no-such-file.mp4", "--upload-to", VIDEO + SAS),
        (VIDEO + SAS,),
    ],
)
def test_no_failure_shows_the_signature(service: Service, arguments: tuple[str]) -> None:
    done = run(*arguments)
    assert 0 != done.exit_code
    assert "Zm9yYmlkZGVu" not in done.output
    assert "rror: " in done.output


def test_a_defect_of_the_client_shows_its_place_but_not_the_signature(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError(f"cannot do {VIDEO}{SAS}")

    monkeypatch.setattr("client.commands.video_url", broken)
    done = run("submit", VIDEO + SAS)
    assert 1 == done.exit_code
    assert "Zm9yYmlkZGVu" not in done.output
    assert "in broken" in done.stderr
    assert (
        f"error: this is a defect in the client: RuntimeError: cannot do {VIDEO}"
        == done.stderr.splitlines()[-1]
    )


def test_a_local_file_needs_to_be_told_where_to_go(service: Service, tmp_path: Path) -> None:
    (tmp_path / "match.mp4").write_bytes(b"x")
    done = run("submit", str(tmp_path / "match.mp4"))
    assert 2 == done.exit_code
    assert "--upload-to" in done.stderr
    assert [] == service.seen


@pytest.mark.parametrize(
    ("make", "sentence"), [("mkdir", "is a folder"), ("touch", "is empty"), ("resolve", "is not there")]
)
def test_what_is_no_file_is_told_in_one_sentence(
    service: Service, tmp_path: Path, make: str, sentence: str
) -> None:
    path = tmp_path / "match.mp4"
    getattr(path, make)()
    done = run("submit", str(path))
    assert 1 == done.exit_code
    assert sentence in done.stderr
    assert 1 == len(done.stderr.splitlines())


def test_submit_tries_the_folder_before_it_starts_anything(service: Service, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = run("submit", VIDEO, "--out", str(tmp_path / "file"))
    assert 1 == done.exit_code
    assert "is a file, not a folder" in done.stderr
    assert [] == service.seen


@pytest.mark.parametrize("form", FILES.values())
def test_export_writes_a_timeline_offline(tmp_path: Path, form: str) -> None:
    (tmp_path / "result.json").write_bytes(write_timeline(a_result(), "json"))
    to_file = run("export", str(tmp_path / "result.json"), "--format", form, "--out", str(tmp_path / "x"))
    to_stdout = run("export", str(tmp_path / "result.json"), "--format", form)
    assert (0, 0) == (to_file.exit_code, to_stdout.exit_code)
    assert write_timeline(a_result(), form) == (tmp_path / "x").read_bytes() == to_stdout.stdout_bytes


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff\xfe", b"[1]", b'{"schema_version": 9}'])
def test_export_of_something_else_says_so(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "result.json").write_bytes(data)
    done = run("export", str(tmp_path / "result.json"), "--format", "json")
    assert 1 == done.exit_code
    assert "This is no result.json of matchcut" in done.stderr
    assert b"" == done.stdout_bytes


def test_export_of_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    done = run("export", str(tmp_path / "none.json"), "--format", "json")
    assert (1, True) == (done.exit_code, "cannot be read" in done.stderr)


def test_help_names_every_command() -> None:
    command = [sys.executable, "-m", "client", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(f"\n  {name} " in shown for name in ("submit", "watch", "fetch", "cancel", "demo", "export"))
