"""`make chaos`: seeded runs in which processes are killed and storage fails, and a count of the jobs lost.

python -m bench.chaos [--runs 50] [--seed N ...] [--again]

A run starts a host over Azurite, with a proxy between them that breaks a share of the requests; submits jobs,
alone and in a batch; kills the host, a worker or Azurite at its moments; and waits for every job that was
accepted (a 202 that the client saw). Runs that the same code has made already are not made again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from random import Random

from bench.faults import KINDS, Schedule
from bench.figures import Figure, publish, write
from bench.trial import Kill, Outcome, Plan, make_template, run
from shared.settings import ROOT

FOLDER = ROOT / ".run" / "chaos"
PAGE = ROOT / "docs" / "reliability.md"
RUNS = 50
KILLED = ("host", "worker", "storage")
_CODE = ("*.py", "*.js", "*.json", "*.onnx", "requirements*.txt", ":!tests", ":!bench/results", ":!docs")


def plan_of(seed: int) -> Plan:
    """The plan of a run. Three seeds in a row each kill another kind of process first. Of ten seeds, two
    have a full disk, one has a storage outage longer than its client's patience, and one a cascade with the
    large networks."""
    random = Random(seed)
    share, until_s = random.uniform(0.02, 0.15), random.uniform(10, 40)
    kinds = tuple(random.sample(KINDS, random.randint(2, len(KINDS))))
    start_s = random.uniform(1, 8)
    lasts_s = random.uniform(70, 90) if seed % 10 == 3 else random.choice((0.0, random.uniform(1, 8)))
    killed = [KILLED[seed % 3], *random.choices(KILLED, k=random.randint(0, 2))]
    kills = [Kill(random.uniform(0, 14), what, random.uniform(0.1, 2)) for what in killed]
    return Plan(
        seed,
        Schedule(seed, share, until_s, (start_s, start_s + lasts_s), kinds),
        tuple(sorted(kills, key=lambda kill: kill.at_s)),
        scratch_full_s=random.uniform(4, 12) if seed % 5 == 2 else None,
        cascade=seed % 10 == 6,
        refusals=random.choice((0, 0, 1)),
    )


def undisturbed_edls(template: Path, cascade: bool) -> dict[int, bytes]:
    """The EDLs of a run without any fault."""
    outcome, edls = run(Plan(0, cascade=cascade), FOLDER / "undisturbed", template, {})
    if outcome.wrong or outcome.twice or any(b"FROM CLIP NAME" not in edl for edl in edls.values()):
        raise SystemExit(f"The undisturbed run is not what it should be: {outcome}")
    return edls


def figures(outcomes: Sequence[Outcome]) -> list[Figure]:
    def total(name: str) -> int:
        return sum(getattr(outcome, name) for outcome in outcomes)

    def told(names: Iterable[str], name: str, what: str) -> list[Figure]:
        counts = sum((Counter(getattr(outcome, name)) for outcome in outcomes), Counter[str]())
        return [Figure(f"{what}: {key}", counts[key], what.split()[0]) for key in names]

    def never(figure: str, name: str, unit: str) -> Figure:
        return Figure(figure, total(name), unit, "0", total(name) == 0)

    completed = sum(outcome.states.get("Completed", 0) for outcome in outcomes)
    kept = sum(not outcome.wrong for outcome in outcomes)
    twice, in_flight = total("twice") - total("gave_up"), total("in_flight")
    return [
        Figure("runs", len(outcomes), "runs", f">= {RUNS}", len(outcomes) >= RUNS),
        Figure("runs that kept every promise", kept, "runs", "all", kept == len(outcomes)),
        Figure("jobs accepted", total("accepted"), "jobs"),
        Figure("jobs Completed", completed, "jobs", "all", completed == total("accepted")),
        never("lost jobs", "lost", "jobs"),
        never("EDLs with other bytes than undisturbed", "other_bytes", "files"),
        Figure("segments scored", total("units"), "segments"),
        Figure("segments in flight at the kills", in_flight, "segments"),
        Figure("segments given up for storage, and run again", total("gave_up"), "segments"),
        Figure("segments scored twice", total("twice"), "segments", "<= in flight", twice <= in_flight),
        never("segments scored twice without a reason", "strays", "segments"),
        Figure("callbacks", total("callbacks"), "callbacks"),
        Figure("callback deliveries", total("deliveries"), "requests"),
        never("callbacks missing", "callbacks_missing", "callbacks"),
        never("callbacks with two ids or bodies, or unsigned", "callbacks_doubled", "callbacks"),
        never("secrets in the log", "secrets", "secrets"),
        never("internal errors", "internal", "errors"),
        never("processes left over", "leftovers", "processes"),
        never("hosts that died by themselves", "host_deaths", "hosts"),
        *told(KILLED, "kills", "kills -9"),
        Figure("requests to storage", total("requests"), "requests"),
        *told(KINDS, "faults", "faults"),
        Figure("longest run", max(outcome.wall_s for outcome in outcomes), "s"),
    ]


def code_digest() -> str:
    """Digest of the files that a run depends on, so that a commit to the documentation repeats no run."""
    digest = hashlib.sha256()
    for command in (["ls-files", "-s"], ["diff", "HEAD"]):
        command = ["git", *command, "--", *_CODE]
        digest.update(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)
    return digest.hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=RUNS, help="the seeds from 0; results are written")
    parser.add_argument("--seed", type=int, nargs="+", help="these instead; nothing is written")
    parser.add_argument("--again", action="store_true", help="also what the same code has run already")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # so that what was started ends too
    template = make_template(FOLDER / "template")
    code, outcomes = code_digest(), []
    undisturbed: dict[int, bytes] = {}
    for seed in chosen.seed or range(chosen.runs):
        plan, kept = plan_of(seed), FOLDER / "runs" / f"{seed}.json"
        if kept.exists() and not chosen.again:
            told = json.loads(kept.read_text())
            if told.pop("code", None) == code and not told["wrong"]:
                outcomes.append(Outcome(**told))
                continue
        if not undisturbed.keys() >= ({4} if plan.cascade else {0}):
            undisturbed |= undisturbed_edls(template, plan.cascade)
        outcome, _ = run(plan, FOLDER / f"seed-{seed}", template, undisturbed)
        outcomes.append(outcome)
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps({**asdict(outcome), "code": code}, indent=1))
        print(f"seed {seed:3}  {outcome.wall_s:5.0f} s  {outcome.wrong or 'ok'}", flush=True)
        if not outcome.wrong and not chosen.seed:
            shutil.rmtree(FOLDER / f"seed-{seed}", ignore_errors=True)
    if not chosen.seed:
        publish(write("chaos", figures(outcomes)), PAGE)
    sys.exit(any(outcome.wrong for outcome in outcomes))


if __name__ == "__main__":
    main()
