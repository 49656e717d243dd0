"""Measure the service itself: the embedded host, its workers and Azurite, each separately.

python -m bench.job VIDEO [--workers 1] [--segment-s 60] [--profile soccer] [--exhaustive] [--model NAME]

Every job is cold: before each, the blob's metadata are written anew, which gives it another ETag, so no
score of another run is found. Job CPU is the host's and the workers'; Azurite stands in for a storage
account that somebody else runs, and is told apart, as is the process that posts and waits.
"""

from __future__ import annotations

import argparse
import json
import time
import uuid
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
import httpx
import numpy as np
from azure.storage.blob import BlobClient, BlobServiceClient

from bench.cpu import Process, tree
from infra.local.embedded import EmbeddedHost
from shared.contracts import ModelManifest
from shared.models import Track, find_models, from_npz
from shared.settings import ROOT
from shared.storage import paths

_CALM_S = 0.5
_VIDEOS = "bench"
WORKER = "infra.local.workers.worker"


class JobFailed(Exception):
    """A measured job did not complete."""


@dataclass(frozen=True)
class Run:
    """One job's cost: CPU in seconds; wall_s from the request to its end record; peak of the largest
    worker."""

    host_cpu_s: float
    worker_cpu_s: float
    azurite_cpu_s: float
    load_cpu_s: float
    wall_s: float
    peak_bytes: int
    bytes_read: int
    length_bytes: int
    units: int
    stage_cpu_s: float
    """CPU seconds that the activities report; the rest of the workers' CPU is the cost of running them."""
    runs: dict[str, int] = field(default_factory=dict)
    """Model -> batches that its graph was run on."""
    windows: dict[str, int] = field(default_factory=dict)
    """Model -> windows scored."""
    looked_share: float | None = None
    """Share of the video that a cascade's proposed models saw."""
    events: tuple[tuple[str, int], ...] = ()
    """(label, anchor frame)."""
    shot_changes: tuple[int, ...] = ()
    rate: str = "25/1"
    frames: int = 0

    @property
    def cpu_s(self) -> float:
        return self.host_cpu_s + self.worker_cpu_s

    @property
    def overhead_share(self) -> float:
        """Share of the job's CPU that is neither decoding nor scoring: the host, replay, calling
        activities."""
        return 1 - self.stage_cpu_s / self.cpu_s


class Service:
    """`with Service(workers=1) as service: service.upload(path); service.run(...)`.

    A host of its own, so that the peaks of its workers are of these jobs alone.
    """

    def __init__(self, workers: int, env: Mapping[str, str] | None = None) -> None:
        self._host = EmbeddedHost(workers=workers, env=env)
        self._workers = workers
        self._keys: dict[str, list[int]] = {}

    def __enter__(self) -> Self:
        self._host.__enter__()
        self._http = httpx.Client(base_url=self._host.base_url, timeout=60, trust_env=False)
        self._blobs = BlobServiceClient.from_connection_string(self._host.connection_string)
        self._videos = self._blobs.get_container_client(_VIDEOS)
        self._videos.create_container()
        self._calm()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()
        self._blobs.close()
        self._host.__exit__(kind, error, trace)

    def upload(self, path: Path) -> BlobClient:
        self._keys[path.name] = key_frames(path)
        with path.open("rb") as file:
            return self._videos.upload_blob(path.name, file, overwrite=True, max_concurrency=2)

    def run(self, blob: BlobClient, limit_s: float = 1800, **options: Any) -> Run:
        """Run one job and measure it. Raises JobFailed where it ends in another state than Completed."""
        blob.set_blob_metadata({"run": uuid.uuid4().hex})  # another ETag: nothing is cached
        self._calm()
        load, before = time.process_time(), tree(self._host.pid)
        answer = self._http.post("/api/jobs", json={"video": blob.url, **options})
        if answer.status_code != 202:
            raise JobFailed(f"the job was not accepted: {answer.text}")
        job = answer.json()["id"]
        status = self._wait(job, limit_s)
        after, load_cpu_s = tree(self._host.pid), time.process_time() - load
        if status["state"] != "Completed":
            raise JobFailed(f"the job ended {status['state']}: {status.get('error') or status.get('gaps')}")
        azurite, host = self._host.azurite_pid, self._host.pid
        workers = {pid: process for pid, process in after.items() if WORKER in process.command}
        if missing := [p for p, process in before.items() if WORKER in process.command and p not in workers]:
            raise JobFailed(f"{len(missing)} workers died")
        store = self._blobs.get_container_client("matchcut")

        def blob_of(name: str) -> bytes:
            return store.download_blob(name).readall()

        result = json.loads(blob_of(paths.file_path(job, "result.json")))
        length = result["video"]["length_bytes"]
        cascade = result.get("cascade")
        frames = int(result["video"]["duration_frames"])
        stages = result["timing"]["stages"].values()
        summaries = [
            json.loads(blob_of(b)) for b in store.list_blob_names(name_starts_with=paths.summaries_path(job))
        ]
        tracks: dict[str, list[Track]] = {}
        for summary in summaries:
            for model, key in summary["scores"].items():
                tracks.setdefault(model, []).append(from_npz(blob_of(paths.score_path(key))))
        manifests, rate = find_models(ROOT / "models").manifests, Fraction(result["video"]["rate"])
        keys = self._keys[blob.blob_name]
        return Run(
            host_cpu_s=_grown(before, after, [host]),
            worker_cpu_s=_grown(before, after, workers),
            azurite_cpu_s=_grown(before, after, [azurite] if azurite else []),
            load_cpu_s=load_cpu_s,
            wall_s=float(json.loads(blob_of(paths.end_path(job)))["wall_s"]),
            peak_bytes=max(process.peak_bytes for process in workers.values()),
            bytes_read=sum(stage["bytes_read"] for stage in stages),
            length_bytes=length,
            units=len(summaries),
            stage_cpu_s=sum(stage["cpu_s"] for stage in stages),
            runs={m: sum(batches(manifests[m], t, rate, keys) for t in ts) for m, ts in tracks.items()},
            windows={m: sum(len(_known(t)) for t in ts) for m, ts in tracks.items()},
            looked_share=cascade["looked_frames"] / frames if cascade else None,
            events=tuple((event["label"], event["anchor_frame"]) for event in result["events"]),
            shot_changes=tuple(result["shot_changes"]),
            rate=result["video"]["rate"],
            frames=frames,
        )

    def _wait(self, job: str, limit_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            answer = self._http.get(f"/api/jobs/{job}")
            if answer.status_code == 200:
                status: dict[str, Any] = answer.json()
                return status
            time.sleep(float(answer.headers["Retry-After"]))  # as often as a caller is asked to
        raise JobFailed(f"{job} did not end within {limit_s:.0f} s")

    def _calm(self) -> None:
        """Wait until the workers have started, and nothing but Azurite's housekeeping runs."""
        deadline = time.monotonic() + 60
        spent = -1.0
        while time.monotonic() < deadline:
            found = tree(self._host.pid)
            workers = [pid for pid, process in found.items() if WORKER in process.command]
            now = sum(found[pid].cpu_s for pid in [*workers, self._host.pid])
            if len(workers) == self._workers and now - spent <= 0.03:
                return
            spent = now
            time.sleep(_CALM_S)


def _grown(before: Mapping[int, Process], after: Mapping[int, Process], pids: Iterable[int]) -> float:
    """CPU seconds that these processes, with the children that they have reaped, spent between two looks."""
    return sum(
        after[pid].cpu_s
        + after[pid].reaped_s
        - (before[pid].cpu_s + before[pid].reaped_s if pid in before else 0)
        for pid in pids
    )


def _known(track: Track) -> list[int]:
    """Numbers of the windows that were scored: the rows without NaN."""
    return [int(row) + track.first for row in np.flatnonzero(np.isfinite(track.scores).all(axis=1))]


def batches(manifest: ModelManifest, track: Track, rate: Fraction, keys: Sequence[int]) -> int:
    """How often the graph was run for one unit's track.

    Batches lie at multiples of the batch size on the global grid. A model of key frames runs once for
    each that a sample shows; `keys` are their timeline frames, ascending.
    """
    known = _known(track)
    if manifest.pictures == "key":
        return len({bisect_right(keys, int(window * rate / track.grid.rate)) for window in known})
    return len({window // manifest.batch for window in known})


def key_frames(path: Path) -> list[int]:
    """Timeline frames of the key frames, as the index of an mp4 has them; the first one is frame 0."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        base, rate = Fraction(stream.time_base or 1), Fraction(stream.average_rate or 25)
        times = [entry.timestamp for entry in stream.index_entries if entry.is_keyframe]
    return [round((time - times[0]) * base * rate) for time in times]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", type=Path)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--segment-s", type=int, default=60)
    parser.add_argument("--profile", default="soccer")
    parser.add_argument("--model", action="append")
    parser.add_argument("--exhaustive", action="store_true")
    chosen = parser.parse_args()
    options: dict[str, Any] = {"profile": chosen.profile, "segment_s": chosen.segment_s}
    if chosen.model:
        options["models"] = chosen.model
    if chosen.exhaustive:
        options["exhaustive"] = True
    with Service(chosen.workers) as service:
        print(json.dumps(asdict(service.run(service.upload(chosen.video), **options)), indent=1))


if __name__ == "__main__":
    main()
