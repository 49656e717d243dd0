"""`make bench-sweep`: the cost of session options, batch sizes, threads and segment lengths.

python -m bench.sweep [--only sessions|threads|segments] [--seconds 120] [--rounds 3]

Each setting is measured in a process of its own, the settings of a group in turn, some rounds; the
medians go to bench/results/bench-sweep.json. Nothing is tuned here: settings are chosen by hand,
from this table.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime as ort

from bench.cpu import measure
from bench.figures import Figure, write
from bench.floors import axes, prepared
from bench.job import Service, key_frames
from bench.match import of_length
from shared.contracts import Timeline
from shared.models import OnnxModel, PictureScorer, find_models, load_model, load_profile
from shared.settings import ROOT
from shared.steps import segments

MODELS = ROOT / "models"
SEGMENTS_S = (10, 30, 60, 120)
_LEAST_S = 1.0


@dataclass(frozen=True)
class Session:
    """How a model is run; the service's own way is the default, with the manifest's batch."""

    model: str
    batch: int
    threads: int = 1
    arena: bool = True

    @property
    def name(self) -> str:
        arena = "" if self.arena else ", no arena"
        return f"{self.model}: batch {self.batch}, threads {self.threads}{arena}"


def sessions() -> list[Session]:
    """Every model at its own batch, at a quarter and four times of it, with two threads, without arena."""
    found = []
    for name, manifest in find_models(MODELS).manifests.items():
        model = load_model(MODELS / name) if manifest.engine == "onnxruntime" else None
        if not isinstance(model, OnnxModel):
            continue  # another engine has sessions of its own
        shape = model._session.get_inputs()[0].shape
        sizes = {manifest.batch}
        if not isinstance(shape[0], int) and manifest.pictures == "all":
            sizes |= {max(1, manifest.batch // 4), min(64, manifest.batch * 4)}
        found += [Session(name, size) for size in sorted(sizes)]
        found += [Session(name, manifest.batch, threads=2), Session(name, manifest.batch, arena=False)]
    return found


def run_session(told: Mapping[str, Any]) -> dict[str, float]:
    """{cpu_ms, wall_ms} per window, over at least a second."""
    session = Session(**told)
    model = load_model(MODELS / session.model)
    assert isinstance(model, OnnxModel)  # see sessions
    manifest = model.manifest
    source = load_model(MODELS / manifest.source).manifest if manifest.source else None
    feed = {manifest.input.name: prepared(model, {**axes(manifest, source), "N": session.batch})}
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = session.threads, 1
    options.use_deterministic_compute = True
    options.enable_cpu_mem_arena = session.arena
    options.log_severity_level = 4
    own = ort.InferenceSession(str(MODELS / session.model / "model.onnx"), options)
    own.run(None, feed)
    cpu, wall, runs = time.process_time(), time.monotonic(), 0
    while time.monotonic() - wall < _LEAST_S:
        own.run(None, feed)
        runs += 1
    windows = runs * session.batch
    return {
        "cpu_ms": (time.process_time() - cpu) * 1000 / windows,
        "wall_ms": (time.monotonic() - wall) * 1000 / windows,
    }


def _in_process(session: Session) -> dict[str, float]:
    told = json.dumps(session.__dict__)
    _, out = measure([sys.executable, "-m", "bench.sweep", "--session", told])
    found: dict[str, float] = json.loads(out.splitlines()[-1])
    return found


def sweep_sessions(seconds: int, rounds: int) -> list[Figure]:
    del seconds
    found = sessions()
    measured = _interleaved([(session.name, partial(_in_process, session)) for session in found], rounds)
    return [
        Figure(f"{name}: {what.removesuffix('_ms')} per window", round(value, 3), "ms")
        for name, values in measured.items()
        for what, value in values.items()
    ]


def sweep_threads(seconds: int, rounds: int) -> list[Figure]:
    """Two workers of one thread against one of two."""

    def job(workers: int, threads: int) -> dict[str, float]:
        with Service(workers, {"MATCHCUT_ORT_THREADS": str(threads)}) as service:
            run = service.run(service.upload(video), segment_s=max(2, seconds // 4), exhaustive=True)
        return {"CPU": run.cpu_s, "wall": run.wall_s}

    video = of_length(seconds)
    settings = [(2, 1), (1, 2), (1, 1)]
    return _figures(
        _interleaved(
            [
                (f"{workers} workers, {threads} threads each", partial(job, workers, threads))
                for workers, threads in settings
            ],
            rounds,
        )
    )


def sweep_segments(seconds: int, rounds: int) -> list[Figure]:
    """One worker at several segment lengths, with the halo's cost: pictures decoded beside a segment's
    own."""

    def job(segment_s: int) -> dict[str, float]:
        with Service(1) as service:
            run = service.run(service.upload(video), segment_s=segment_s, exhaustive=True)
        return {"CPU": run.cpu_s, "wall": run.wall_s}

    video = of_length(seconds)
    figures = _figures(
        _interleaved([(f"segments of {length} s", partial(job, length)) for length in SEGMENTS_S], rounds)
    )
    for length in SEGMENTS_S:
        share = halo_share(video, length, "soccer")
        figures.append(Figure(f"segments of {length} s: halo", round(share, 4), "share"))
    return figures


def halo_share(video: Path, segment_s: int, profile: str) -> float:
    """Pictures decoded more than once, as a share of all: from the key frame before what a segment
    needs first, to what it needs last."""
    keys, rate = key_frames(video), Fraction(25)
    frames = round(len(keys) and _seconds(video) * rate)
    there = find_models(MODELS).manifests
    asked = [name for name in load_profile(MODELS, profile).models if there[name].run != "request"]
    models = [load_model(MODELS / name) for name in asked]
    pictures = [model for model in models if model.manifest.kind not in ("audio", "head")]
    decoded = 0
    for start, end in segments(Timeline(rate, frames), segment_s, keys):
        scorers = [PictureScorer(model, rate, start, end) for model in pictures]
        first = min([start, *(scorer.first_needed for scorer in scorers)])
        ends = [scorer.end_needed for scorer in scorers]
        last = frames if end is None else max([end, *(needed for needed in ends if needed is not None)])
        landed = keys[max(0, int(np.searchsorted(keys, first, "right")) - 1)]
        decoded += min(last, frames) - landed
    return decoded / frames - 1


def _seconds(video: Path) -> Fraction:
    import av

    with av.open(str(video)) as container:
        return Fraction(container.duration or 0, av.time_base)


def _interleaved(
    settings: list[tuple[str, Callable[[], dict[str, float]]]], rounds: int
) -> dict[str, dict[str, float]]:
    """Medians by setting, each setting measured once a round."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name, _ in settings}
    for turn in range(rounds):
        for name, run in settings:
            found[name].append(run())
            print(f"round {turn + 1} of {rounds}  {name}  {found[name][-1]}", flush=True)
    return {
        name: {what: median(one[what] for one in several) for what in several[0]}
        for name, several in found.items()
    }


def _figures(measured: Mapping[str, Mapping[str, float]]) -> list[Figure]:
    return [
        Figure(f"{name}: {what}", round(value, 2), "s")
        for name, values in measured.items()
        for what, value in values.items()
    ]


GROUPS = {"sessions": sweep_sessions, "threads": sweep_threads, "segments": sweep_segments}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=GROUPS, action="append")
    parser.add_argument("--seconds", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--session", type=json.loads, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.session:
        print(json.dumps(run_session(chosen.session)))
        return
    figures: list[Figure] = []
    for name in chosen.only or GROUPS:
        figures += GROUPS[name](chosen.seconds, chosen.rounds)
        write("bench-sweep", figures, keep=True)


if __name__ == "__main__":
    main()
