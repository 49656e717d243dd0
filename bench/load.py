"""`make load`: a Friday night, with many short videos in one batch and many pollers of their status.

python -m bench.load [--videos 750] [--polls 200] [--workers 2]

The embedded host with its workers over Azurite, on this machine together with the pollers. In the middle
of the batch one interactive job arrives, which is compared with the same job on the idle host.
With 750 videos and 200 polls a second or more, the results go to bench/results/load.json and
docs/reliability.md.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from azure.storage.blob import BlobServiceClient

from bench.clips import clip
from bench.cpu import ROOT, tree
from bench.figures import Figure, publish, write
from bench.job import WORKER
from bench.polls import Polled
from infra.local.embedded import EmbeddedHost

PAGE = ROOT / "docs" / "reliability.md"
VIDEOS, POLLS = 750, 200
LIGHT: dict[str, Any] = {
    "models": ["crowd-excitement", "motion", "pitch-share", "shot-change"],
    "exhaustive": True,
}
PARTS = ("host", "workers", "azurite")
_INTERACTIVE = {**LIGHT, "segment_s": 10}
_INTERACTIVE_S = 40
_ENDED = ("Completed", "CompletedWithGaps", "Failed", "Cancelled", "Refused")
_SAMPLE_S = 2.0
_LOOK_S = 0.05
_MIB = 1024**2
_FLAT_MIB = 5.0
"""Growth of the host and the workers, in MiB per 100 jobs, that still counts as flat. An ended job's
history, which is kept for an hour, is about a tenth of it."""


@dataclass(frozen=True)
class Wait:
    """An interactive job, in seconds from its POST. first_s: until its status shows a scored unit."""

    accepted_s: float
    first_s: float
    end_s: float


@dataclass(frozen=True)
class Sample:
    """One look at the processes: MiB resident and CPU seconds, the workers' together."""

    ended: int
    mib: dict[str, float]
    cpu_s: dict[str, float]


@dataclass(frozen=True)
class Night:
    """The batch's outcome. states: of its jobs, as each job reports it. refused: videos that became no
    job."""

    videos: int
    states: dict[str, int]
    refused: int
    wall_s: float
    samples: tuple[Sample, ...]
    idle: Wait
    meanwhile: Wait
    polled: Polled

    @property
    def lost(self) -> int:
        """Videos that are neither a job in an end state nor refused."""
        return self.videos - self.refused - sum(self.states.get(state, 0) for state in _ENDED)


def run(videos: int, polls: float, workers: int) -> Night:
    with (
        EmbeddedHost(workers=workers) as host,
        httpx.Client(base_url=host.base_url, timeout=120, trust_env=False) as http,
    ):
        blobs = BlobServiceClient.from_connection_string(host.connection_string)
        container = blobs.get_container_client("load")
        container.create_container()

        def upload(name: str, data: bytes) -> str:
            return str(container.upload_blob(name, data).url)

        urls = [upload(f"{number:04d}.mp4", clip(number)) for number in range(videos)]
        first, idle, late = (clip(videos + n, _INTERACTIVE_S) for n in range(3))
        # The first one loads the models; it is not told.
        interactive(http, upload("first.mp4", first))
        idle_wait = interactive(http, upload("idle.mp4", idle))
        late_url = upload("late.mp4", late)

        began = time.monotonic()
        body = {"name": "Friday", "videos": urls, "options": LIGHT}
        answer = http.post("/api/batches", json=body).raise_for_status().json()
        late_wait: list[Wait] = []
        arrival = threading.Thread(target=lambda: late_wait.append(interactive(http, late_url)))
        samples: list[Sample] = []
        with polling(host.base_url, answer["id"], polls) as polled:
            while True:
                status = http.get(f"/api/batches/{answer['id']}").raise_for_status().json()
                ended = sum(status["counts"].get(state, 0) for state in _ENDED)
                samples.append(look(host, ended))
                print(f"{time.monotonic() - began:6.0f} s {ended:5d} ended", file=sys.stderr, flush=True)
                if not arrival.ident and ended >= videos // 2:
                    arrival.start()
                if status["state"] == "Ended":
                    break
                time.sleep(_SAMPLE_S)
            wall_s = time.monotonic() - began
            arrival.join()
        print(json.dumps(polled[0].statuses), file=sys.stderr)
        rows = list(csv.DictReader(io.StringIO(http.get(status["links"]["csv"]).raise_for_status().text)))
        jobs = {row["job"] for row in rows if row["job"]}
        own = Counter(http.get(f"/api/jobs/{job}").raise_for_status().json()["state"] for job in jobs)
        refused = sum(row["state"] == "Refused" for row in rows)
        return Night(
            videos, dict(own), refused, wall_s, tuple(samples), idle_wait, late_wait[0], polled[0]
        )  # fmt: skip


def interactive(http: httpx.Client, url: str) -> Wait:
    """POST one interactive job, and follow it to its end."""
    began = time.monotonic()
    job = http.post("/api/jobs", json={"video": url, **_INTERACTIVE}).raise_for_status().json()["id"]
    accepted_s, first_s = time.monotonic() - began, 0.0
    while True:
        answer = http.get(f"/api/jobs/{job}").raise_for_status()
        if not first_s and answer.json()["progress"]["done"]:
            first_s = time.monotonic() - began
        if answer.status_code == 200:
            return Wait(accepted_s, first_s, time.monotonic() - began)
        time.sleep(_LOOK_S)


@contextmanager
def polling(api: str, batch: str, rate: float) -> Iterator[list[Polled]]:
    """Poll while the block runs; after it the list holds the outcome."""
    polled: list[Polled] = []
    command = [sys.executable, "-m", "bench.polls", api, batch, str(rate)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield polled
        said, _ = process.communicate("over\n", timeout=120)
        polled.append(Polled(**json.loads(said)))
    finally:
        process.kill()
        process.wait()


def look(host: EmbeddedHost, ended: int) -> Sample:
    mib, cpu_s = defaultdict[str, float](float), defaultdict[str, float](float)
    for pid, process in tree(host.pid).items():
        part = "host" if pid == host.pid else "azurite" if pid == host.azurite_pid else "others"
        if WORKER in process.command:
            part = "workers"
        mib[part] += _resident_bytes(pid) / _MIB
        cpu_s[part] += process.cpu_s
    return Sample(ended, dict(mib), dict(cpu_s))


def _resident_bytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"^VmRSS:\s+(\d+)", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def growth(samples: Sequence[Sample], part: str) -> float:
    """MiB per 100 jobs: the slope of the least-squares line through the samples after the first fifth, in
    which caches fill."""
    most = max(sample.ended for sample in samples)
    later = [sample for sample in samples if sample.ended >= most / 5]
    ended = np.array([sample.ended for sample in later], float)
    mib = np.array([sample.mib.get(part, 0.0) for sample in later])
    if np.ptp(ended) == 0:
        return 0.0
    return float(np.polyfit(ended, mib, 1)[0]) * 100


def figures(night: Night, polls: float, workers: int) -> list[Figure]:
    samples, polled, jobs = night.samples, night.polled, sum(night.states.values())
    said = f"{night.videos} videos, {workers} workers"
    found = [
        Figure(f"jobs that ended {state}", count, "jobs") for state, count in sorted(night.states.items())
    ]
    found += [
        _none(f"lost, {said}", night.lost, "videos"),
        _none("refused", night.refused, "videos"),
        Figure("from POST to the last end", round(night.wall_s, 1), "s"),
        Figure("jobs a minute, with the polls", round(jobs / night.wall_s * 60, 1), "jobs/min"),
        Figure(
            "status polls answered a second",
            round(sum(map(len, polled.times_ms.values())) / polled.wall_s, 1),
            "1/s",
            f">= {polls * 0.99:g}",
            sum(map(len, polled.times_ms.values())) / polled.wall_s >= polls * 0.99,
        ),
        _none("status polls with an error or none in 30 s", polled.errors, "polls"),
        Figure("status polls that waited at once, at most", polled.most_waiting, "polls"),
    ]
    for name, kinds in _KINDS.items():
        for share in (0.5, 0.99):
            found.append(
                Figure(f"{name}: p{share * 100:g}", round(polled.quantile_ms(share, *kinds), 1), "ms")
            )
    middle = min(samples, key=lambda sample: abs(sample.ended - night.videos / 2))
    for part in PARTS:
        for when, sample in (("start", samples[0]), ("middle", middle), ("end", samples[-1])):
            found.append(Figure(f"memory of {part}, {when}", round(sample.mib.get(part, 0)), "MiB"))
        grown = growth(samples, part)
        # Azurite keeps the names and properties of all blobs in memory; it stands in for a storage account.
        goal, met = (None, None) if part == "azurite" else (f"<= {_FLAT_MIB:g}", grown <= _FLAT_MIB)
        found.append(Figure(f"memory of {part}, growth per 100 jobs", round(grown, 2), "MiB", goal, met))
    for part in PARTS:
        spent = samples[-1].cpu_s.get(part, 0) - samples[0].cpu_s.get(part, 0)
        found.append(Figure(f"CPU of {part}, per job", round(spent / jobs, 3), "CPU s"))
    for when, wait in (("idle host", night.idle), ("in the middle of the batch", night.meanwhile)):
        found += [
            Figure(f"interactive job, {when}: accepted", round(wait.accepted_s, 2), "s"),
            Figure(f"interactive job, {when}: first unit scored", round(wait.first_s, 2), "s"),
            Figure(f"interactive job, {when}: end", round(wait.end_s, 2), "s"),
        ]
    return found


_KINDS: dict[str, tuple[str, ...]] = {
    "status of a job": ("running", "ended"),
    "status of a job that runs or waits": ("running",),
    "status of a job that has ended": ("ended",),
    "status of the batch": ("batch",),
    "page of the list": ("list",),
}


def _none(figure: str, count: int, unit: str) -> Figure:
    return Figure(figure, count, unit, "0", count == 0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=int, default=VIDEOS)
    parser.add_argument("--polls", type=float, default=POLLS, help="a second (%(default)s)")
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and the host with it
    found = figures(run(chosen.videos, chosen.polls, chosen.workers), chosen.polls, chosen.workers)
    if chosen.videos >= VIDEOS and chosen.polls >= POLLS:
        publish(write("load", found), PAGE)
    else:
        for figure in found:
            print(f"{figure.figure:60} {figure.value:>12g} {figure.unit}")
    sys.exit(any(figure.met is False for figure in found))


if __name__ == "__main__":
    main()
