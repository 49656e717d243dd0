"""`make bench`: the cost of a match, as ratios to floors (lower bounds of cost) measured in the same run.

python -m bench [--only CASE ...] [--quick]

Cases run one after the other. Each writes its figures at once, into bench/results/bench.json and the marked
block of docs/performance.md. A case that fails is reported, and the others still run. Cases with ROUNDS are
interleaved with their floors, and report the median of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from statistics import median

from bench import recall
from bench.cpu import measure
from bench.figures import Figure, read, replace_block, table, write
from bench.floors import inference_floor, picture_floor, sound_floor
from bench.job import Run, Service
from bench.match import BROADCAST_MBIT_S, facts, of_length, truth
from samples.evaluate import score_anchors
from shared.settings import ROOT

PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
SHORT_S, LONG_S = 300, 2700
SPLIT_S = 20
ROUNDS = 3
SEEDS = (21, 22)
OTHERS = ROOT / ".venv-bench" / "bin" / "python"
GIB = 1024**3


class Bench:
    """The cases. Later cases use what earlier ones measured: the floors, the exhaustive job."""

    def __init__(self, quick: bool) -> None:
        self.short_s, self.long_s = (20, 60) if quick else (SHORT_S, LONG_S)
        self.seeds = SEEDS[:1] if quick else SEEDS
        self.rounds = 1 if quick else ROUNDS

    @cached_property
    def floor_s(self) -> float:
        """The floor D, in CPU seconds per second of video."""
        video = of_length(self.short_s)
        return median(picture_floor(video).cpu_s for _ in range(self.rounds)) / self.short_s

    @cached_property
    def naive_cpu_s(self) -> float:
        names = sorted(self.exhaustive.runs)
        command = [sys.executable, "-m", "bench.naive", str(of_length(self.short_s)), *names]
        return measure(command)[0].cpu_s

    @cached_property
    def exhaustive(self) -> Run:
        """The exhaustive job of the short match: one worker, many segments."""
        with Service(1) as service:
            return service.run(service.upload(of_length(self.short_s)), exhaustive=True)

    def match(self) -> list[Figure]:
        found, (low, high) = facts(of_length(self.short_s)), BROADCAST_MBIT_S
        return [
            Figure(
                "standard match: bit rate",
                round(found.mbit_s, 2),
                "Mb/s",
                f"{low:g} to {high:g}",
                low <= found.mbit_s <= high,
            ),
            Figure("standard match: longest distance of key frames", found.longest_gop_s, "s"),
        ]

    def short(self) -> list[Figure]:
        """The exhaustive job and the cascade of the short match against the floors."""
        video = of_length(self.short_s)
        decoding = [picture_floor(video).cpu_s]
        sound, inference, whole, cascade = [], [], [], []
        for _ in range(self.rounds):
            sound.append(sound_floor(video).cpu_s)
            with Service(1) as service:
                blob = service.upload(video)
                whole.append(service.run(blob, exhaustive=True))
                inference.append(inference_floor(whole[-1].runs))
                cascade.append(service.run(blob))
            decoding.append(picture_floor(video).cpu_s)
        self.floor_s = median(decoding) / self.short_s
        self.exhaustive = sorted(whole, key=lambda run: run.cpu_s)[len(whole) // 2]
        floors = [(before + after) / 2 for before, after in pairwise(decoding)]
        bare = [sum(models.values()) for models in inference]
        over = [run.cpu_s / sum(of) for run, *of in zip(whole, floors, sound, bare, strict=True)]
        minutes = f"{self.short_s / 60:g} min"
        figures = [
            Figure(f"D: decoding {minutes}, one thread", round(median(decoding), 2), "CPU s"),
            Figure("D, largest / smallest", round(max(decoding) / min(decoding), 3), "ratio"),
            Figure(f"A: decoding the sound of {minutes}", round(median(sound), 2), "CPU s"),
            Figure("I: bare inference of the exhaustive job", round(median(bare), 2), "CPU s"),
            _at_most(f"exhaustive, {minutes}: job CPU / (D + A + I)", median(over), 1.10),
            Figure("the same, smallest round", round(min(over), 3), "ratio"),
            Figure("the same, largest round", round(max(over), 3), "ratio"),
            _ratio(f"exhaustive, {minutes}: job CPU / D", [r.cpu_s for r in whole], floors),
            _ratio(f"cascade, {minutes}: job CPU / D", [r.cpu_s for r in cascade], floors),
            Figure(f"cascade, {minutes}: share looked at", round(cascade[0].looked_share or 0, 3), "share"),
            _at_most("exhaustive: bytes read / size", whole[0].bytes_read / whole[0].length_bytes, 1.15),
        ]
        figures += [
            Figure(f"I of {name}, share", round(cpu_s / sum(inference[0].values()), 3), "share")
            for name, cpu_s in sorted(inference[0].items())
        ]
        return figures

    def naive(self) -> list[Figure]:
        """The naive way: one process, cv2 over every frame, one window at a time, the same models."""
        return [_at_least("naive CPU / exhaustive CPU", self.naive_cpu_s / self.exhaustive.cpu_s, 1.0)]

    def long(self) -> list[Figure]:
        """The cascade of the long match."""
        with Service(2) as service:
            run = service.run(service.upload(of_length(self.long_s)))
        minutes = f"{self.long_s / 60:g} min"
        per_second = run.cpu_s / self.long_s
        return [
            _at_most(f"cascade, {minutes}: job CPU / D", per_second / self.floor_s, 0.70),
            Figure(f"cascade, {minutes}: share looked at", round(run.looked_share or 0, 3), "share"),
            Figure("cascade: bytes read / size", round(run.bytes_read / run.length_bytes, 3), "ratio"),
            _at_least(
                f"naive CPU / cascade CPU, {minutes}, by second of video",
                self.naive_cpu_s / self.short_s / per_second,
                6.0,
            ),
            Figure(f"cascade, {minutes}: wall with 2 workers", round(run.wall_s, 1), "s"),
            _at_most(f"peak memory of a worker, {minutes}", run.peak_bytes / GIB, 1.2, "GiB"),
        ]

    def workers(self) -> list[Figure]:
        """One worker and two, with segments of SPLIT_S seconds. Two workers cannot share five segments of a
        minute better than 5 : 3."""
        wall_s: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(self.rounds):
            for workers, taken in wall_s.items():
                with Service(workers) as service:
                    video = service.upload(of_length(self.short_s))
                    taken.append(service.run(video, exhaustive=True, segment_s=SPLIT_S).wall_s)
        ratio = median(one / two for one, two in zip(*wall_s.values(), strict=True))
        return [
            _at_least(f"exhaustive, segments of {SPLIT_S} s: wall, 1 worker / 2 workers", ratio, 1.8),
            _at_most("peak memory of a worker, exhaustive", self.exhaustive.peak_bytes / GIB, 1.2, "GiB"),
        ]

    def recall(self) -> list[Figure]:
        """Events of the cascade against those of the exhaustive job, on sample matches."""
        several = []
        for seed in self.seeds:
            exhaustive, cascade = recall.pair(recall.small(seed, self.short_s))
            several.append(recall.found(cascade.events, exhaustive.events, Fraction(exhaustive.rate)))
        counts = recall.total(several)
        right, true = counts.pop("")
        figures = [_at_least(f"cascade finds events of exhaustive ({true})", right / max(1, true), 0.98)]
        figures += [
            Figure(f"cascade finds {label} of exhaustive ({n})", round(k / n, 3), "share")
            for label, (k, n) in sorted(counts.items())
        ]
        return figures

    def growth(self) -> list[Figure]:
        """The cascade of two lengths, the second ten times the first."""
        runs = {}
        for seconds in (self.long_s // 5, self.long_s * 2):
            with Service(2) as service:
                runs[seconds] = service.run(service.upload(of_length(seconds)))
        (short, one), (long, ten) = sorted(runs.items())
        said = f"{long / 60:g} min / {short / 60:g} min"
        return [
            _at_most(f"cascade, {said}: CPU", ten.cpu_s / one.cpu_s, 10.5),
            Figure(f"cascade, {said}: peak memory", round(ten.peak_bytes / one.peak_bytes, 3), "ratio"),
            _at_most(f"peak memory of a worker, {long / 60:g} min", ten.peak_bytes / GIB, 1.2, "GiB"),
        ]

    def segments(self) -> list[Figure]:
        """Many segments and cheap models: the cost of the orchestration and the host beside the work."""
        with Service(2) as service:
            blob = service.upload(of_length(self.long_s * 2))
            run = service.run(blob, profile="excitement", segment_s=10)
        said = f"{run.units - 1} segments"
        host = run.host_cpu_s / run.cpu_s
        return [
            _at_most(f"orchestration and host, {said}: share of CPU", host, 0.03, "share"),
            Figure(f"all but the activities' own work, {said}", round(run.overhead_share, 4), "share"),
        ]

    def others(self) -> list[Figure]:
        """The alternatives that a data engineer would pick."""
        video, whole = of_length(self.short_s), self.exhaustive
        ray = [str(OTHERS), "-m", "bench.ray_data", str(video), "1", "60", *sorted(whole.runs)]
        cost = measure(ray)[0].cpu_s
        spent, said = measure([str(OTHERS), "-m", "bench.scenedetect", str(video), "adaptive"])
        last = self.short_s * 25
        cuts = [(t.start_frame, t.end_frame) for t in truth().transitions if t.end_frame < last]
        theirs = score_anchors(json.loads(said), cuts, 1)
        ours = score_anchors(whole.shot_changes, cuts, 1)
        return [
            Figure("Ray Data CPU / exhaustive CPU", round(cost / whole.cpu_s, 2), "ratio"),
            Figure("PySceneDetect CPU / D", round(spent.cpu_s / self.short_s / self.floor_s, 2), "ratio"),
            Figure("PySceneDetect: camera changes found", round(float(theirs.recall or 0), 3), "share"),
            Figure("shot-change: camera changes found", round(float(ours.recall or 0), 3), "share"),
        ]


CASES: tuple[str, ...] = (
    "match", "short", "naive", "long", "workers", "recall", "growth", "others", "segments",
)  # fmt: skip


def _at_most(figure: str, value: float, goal: float, unit: str = "ratio") -> Figure:
    return Figure(figure, round(value, 3), unit, f"<= {goal:g}", value <= goal)


def _at_least(figure: str, value: float, goal: float, unit: str = "ratio") -> Figure:
    return Figure(figure, round(value, 3), unit, f">= {goal:g}", value >= goal)


def _ratio(figure: str, values: Sequence[float], of: Sequence[float]) -> Figure:
    """The median of the rounds."""
    return Figure(figure, round(median(a / b for a, b in zip(values, of, strict=True)), 3), "ratio")


def _publish(figures: list[Figure]) -> None:
    cpu = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    machine = cpu.group(1) if cpu else platform.machine()
    head = (
        f"`make bench`, {datetime.now(UTC).date().isoformat()}, {machine}, "
        f"{os.cpu_count()} shared cores, Python {platform.python_version()}."
    )
    replace_block(PAGE, BEGIN, END, [head, "", *table(figures)])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes; nothing is written")
    chosen = parser.parse_args()
    bench, figures, began, failed = Bench(chosen.quick), [], time.monotonic(), []
    for name in CASES:
        if name not in chosen.only:
            continue
        case: Callable[[], list[Figure]] = getattr(bench, name)
        try:
            found = case()
        except Exception as failure:
            failed.append(name)
            print(f"{name} failed: {type(failure).__name__}: {failure}", file=sys.stderr, flush=True)
            continue
        figures += found
        print(f"{time.monotonic() - began:6.0f} s  {name}", flush=True)
        for figure in found:
            print(f"          {json.dumps(figure.__dict__)}", flush=True)
        if not chosen.quick:
            _publish(read(write("bench", figures, keep=True)))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
