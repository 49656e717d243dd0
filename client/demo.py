"""The demo: starts storage and service, makes a match, runs its job, and shows the result."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from client import view
from client.api import Api
from client.errors import ClientError, Unreachable, UsageError
from client.jobs import (
    RESULT_FILE,
    default_folder,
    fetch_files,
    is_url,
    job_request,
    parse_result,
    wait_for,
    writable,
)
from client.upload import file_to_upload, upload_to_account
from infra.local.embedded import EmbeddedHost, HostFailed
from samples.evaluate import evaluate, summary
from samples.match import EncoderFailed, truth_path, write_match
from samples.truth import GENERATOR_VERSION, Truth
from shared.settings import ROOT
from shared.timelines import FORMATS

RUN = ROOT / ".run"
EDL_FILE = FORMATS["original-edl"].file_name
SAMPLE_SIZE = (640, 360)
SAMPLE_RATE = Fraction(25)
HOST_PATIENCE_S = 5.0


@dataclass(frozen=True)
class Demo:
    """The options of `demo`; None is the default."""

    video: str | None
    out: Path | None
    segment_s: int | None
    seconds: int
    seed: int
    workers: int | None
    keep: bool


def run(demo: Demo) -> None:
    """Run the demo. Raises ClientError with one sentence that says why there is no EDL."""
    with _ended_by_signals():
        _run(demo)


def _run(demo: Demo) -> None:
    if demo.video and is_url(demo.video):
        raise UsageError("demo takes a local file; for a URL use make host and client submit.")
    writable(demo.out or Path("out"))
    name = Path(demo.video).name[-200:] if demo.video else _sample_name(demo)
    request = job_request({"video": f"file://{name}", "name": name, "segment_s": demo.segment_s}, {})
    video = file_to_upload(Path(demo.video)) if demo.video else sample_match(demo)
    with (
        embedded_host(demo.workers, demo.keep) as host,
        Api(host.base_url, patience_s=HOST_PATIENCE_S) as api,
    ):
        with view.transfer(f"uploading {name}", video.stat().st_size) as on_bytes:
            url = upload_to_account(video, host.connection_string, on_bytes)
        view.say(f"video   {url}")
        accepted = api.submit(request.model_copy(update={"video": url}))
        view.say(f"job     {accepted.status_url}")
        status = wait_for(api, accepted.id)
        folder = demo.out or default_folder(name, accepted.id)
        files = fetch_files(api, status, folder)
    view.say()
    view.say((folder / EDL_FILE).read_text().rstrip())
    view.say()
    for path in files:
        view.say(f"file    {path}")
    if demo.keep:
        view.say(f"kept    {host.data}")
    if demo.video is None:
        _compare(folder, video)


def sample_match(demo: Demo) -> Path:
    """The sample match of these parameters, made once. Raises ClientError where it cannot be made."""
    folder = writable(RUN / "samples")
    path = folder / _sample_name(demo)
    if path.exists() and truth_path(path).exists():
        return path
    width, height = SAMPLE_SIZE
    view.say(f"Making a sample match of {demo.seconds} s; the next run finds it in {folder}.")
    try:
        with view.counting("drawing frames") as on_frames:
            write_match(
                path,
                seconds=demo.seconds,
                seed=demo.seed,
                width=width,
                height=height,
                rate=SAMPLE_RATE,
                progress=on_frames,
            )
    except (EncoderFailed, ValueError, OSError) as failed:
        raise ClientError(f"The sample match cannot be made: {failed}.") from None
    return path


def _sample_name(demo: Demo) -> str:
    return f"sample-{demo.seconds}s-seed{demo.seed}-v{GENERATOR_VERSION}.mp4"


@contextmanager
def embedded_host(workers: int | None, keep: bool) -> Iterator[EmbeddedHost]:
    """The host and its storage on free ports, stopped however the block ends.

    Its folder below .run/ is removed at the end, unless `keep` is set or the host itself failed. The
    ClientError of a failed host names the log.
    """
    folder = Path(tempfile.mkdtemp(prefix="demo-", dir=writable(RUN)))
    host = EmbeddedHost(data=folder, workers=workers)
    try:
        try:
            view.say("Starting the service ...")
            yield host.start()
        finally:
            # A second Ctrl-C must not interrupt this, or processes would stay behind.
            with _signals_ignored():
                host.__exit__(None, None, None)
    except HostFailed as failed:
        keep = True
        raise ClientError(f"The service did not start: {failed} Its log is {host.log}.") from None
    except Unreachable:
        keep = True
        raise ClientError(f"The service does not answer any more; its log is {host.log}.") from None
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as an exception does, so that it is cleaned up."""

    def end(number: int, frame: object) -> None:
        raise SystemExit(128 + number)

    with _handling({signal.SIGTERM: end, signal.SIGHUP: end}):
        yield


@contextmanager
def _signals_ignored() -> Iterator[None]:
    with _handling(dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), signal.SIG_IGN)):
        yield


@contextmanager
def _handling(handlers: Mapping[signal.Signals, Any]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _compare(folder: Path, video: Path) -> None:
    """Print the last line: how the result compares with the sample's truth."""
    result = parse_result((folder / RESULT_FILE).read_bytes())
    truth = Truth.model_validate_json(truth_path(video).read_bytes())
    view.say(summary(evaluate(result, truth)))
