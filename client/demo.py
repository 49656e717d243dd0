"""Everything by itself: storage, service, a match, its job, and what came of it."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from client import view
from client.api import Api
from client.errors import ClientError, Unreachable
from client.jobs import RESULT_FILE, default_folder, fetch_files, job_request, parse_result, wait_for, writable
from client.upload import file_to_upload, upload_to_account
from infra.local.embedded import EmbeddedHost, HostFailed
from samples.evaluate import evaluate
from samples.match import EncoderFailed, truth_path, write_match
from samples.truth import GENERATOR_VERSION, Truth
from shared.settings import ROOT
from shared.timelines import FORMATS

RUN = ROOT / ".run"
EDL_FILE = FORMATS["original-edl"].file_name
SAMPLE_SIZE = (640, 360)
SAMPLE_RATE = Fraction(25)
HOST_PATIENCE_S = 15.0


@dataclass(frozen=True)
class Demo:
    """What `demo` was asked for; None is the default."""

    video: Path | None
    out: Path | None
    segment_s: int | None
    seconds: int
    seed: int
    workers: int | None
    keep: bool


def run(demo: Demo) -> None:
    """Raises ClientError with the one sentence that says why there is no EDL."""
    writable(demo.out or Path("out"))
    name = demo.video.name if demo.video else _sample_name(demo)
    request = job_request({"video": f"file://{name}", "name": name, "segment_s": demo.segment_s}, {})
    video = file_to_upload(demo.video) if demo.video else sample_match(demo)
    with embedded_host(demo.workers, demo.keep) as host, Api(host.base_url, patience_s=HOST_PATIENCE_S) as api:
        with view.transfer(f"uploading {name}", video.stat().st_size) as on_bytes:
            url = upload_to_account(video, host.connection_string, on_bytes)
        view.say(f"video   {url}")
        accepted = api.submit(request.model_copy(update={"video": url}))
        view.say(f"job     {accepted.status_url}")
        status = wait_for(api, accepted.id)
        folder = demo.out or default_folder(name, accepted.id)
        files = fetch_files(api, status, folder)
    view.say()
    view.say((folder / EDL_FILE).read_text())
    for path in files:
        view.say(f"file    {path}")
    if demo.keep:
        view.say(f"kept    {host.data}")
    if demo.video is None:
        _compare(folder, video)
