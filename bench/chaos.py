"""`make chaos`: seeded runs in which processes are killed and storage fails, and what becomes of the jobs.

python -m bench.chaos [--runs 50] [--seed N ...] [--again]

A run starts a host over Azurite, with a proxy between them that breaks a share of the requests; submits jobs,
alone and in a batch; kills the host, a worker or Azurite at its moments; and waits for every job that was
accepted (a 202 that the client saw). Runs that the same code has made already are not made again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import unquote

import httpx
from azure.storage.blob import BlobSasPermissions, BlobServiceClient, generate_blob_sas

from bench.faults import KINDS, Schedule
from bench.figures import Figure, write
from bench.rig import FETCHED, MODELS, SECRET, TOKEN, Rig, is_facts, storage
from samples.match import write_match
from shared.settings import ROOT

FOLDER = ROOT / ".run" / "chaos"
RUNS = 50
LIMIT_S, CASCADE_LIMIT_S = 240.0, 600.0
VIDEOS = "videos"
COPIES = 5
"""Of one match: each has an ETag of its own, so no job finds another's scores."""
LIGHT = ("crowd-excitement", "motion", "pitch-share", "shot-change")
CUT = {"thresholds": {"highlight": 0.1}}
KILLED = ("host", "worker", "storage")
NO_FAULTS = Schedule()
_CODE = ("*.py", "*.js", "*.json", "*.onnx", "requirements*.txt", ":!tests", ":!bench/results", ":!docs")
_POLL_S = 0.3


@dataclass(frozen=True)
class Kill:
    at_s: float
    what: str
    down_s: float


@dataclass(frozen=True)
class Plan:
    """What happens in one run; seconds from the first submission."""

    seed: int
    faults: Schedule = NO_FAULTS
    kills: tuple[Kill, ...] = ()
    scratch_full_s: float | None = None
    cascade: bool = False
    refusals: int = 0

    @classmethod
    def of(cls, seed: int) -> Plan:
        """Of three runs in a row each kills something else first. Of ten, two have a full disk, one storage
        that is away for longer than its client is patient, one a cascade with the large networks."""
        random = Random(seed)
        share, until_s = random.uniform(0.02, 0.15), random.uniform(10, 40)
        kinds = tuple(random.sample(KINDS, random.randint(2, len(KINDS))))
        start_s = random.uniform(1, 8)
        lasts_s = random.uniform(70, 90) if seed % 10 == 3 else random.choice((0.0, random.uniform(1, 8)))
        whats = [KILLED[seed % 3], *random.choices(KILLED, k=random.randint(0, 2))]
        kills = [Kill(random.uniform(0, 14), what, random.uniform(0.1, 2)) for what in whats]
        return cls(
            seed,
            Schedule(seed, share, until_s, (start_s, start_s + lasts_s), kinds),
            tuple(sorted(kills, key=lambda kill: kill.at_s)),
            scratch_full_s=random.uniform(4, 12) if seed % 5 == 2 else None,
            cascade=seed % 10 == 6,
            refusals=random.choice((0, 0, 1)),
        )

    @property
    def limit_s(self) -> float:
        return CASCADE_LIMIT_S if self.cascade else LIMIT_S


@dataclass
class Outcome:
    """What one run came to; `wrong` is empty where every promise was kept."""

    seed: int
    accepted: int = 0
    lost: int = 0
    """Accepted, and neither ended in time nor known."""
    states: dict[str, int] = field(default_factory=dict)
    other_bytes: int = 0
    units: int = 0
    in_flight: int = 0
    """Units in flight at the kills."""
    gave_up: int = 0
    """Tries that ended because storage failed for longer than its client is patient."""
    twice: int = 0
    """Units that were scored twice; `strays` of them for no reason above."""
    strays: int = 0
    callbacks: int = 0
    deliveries: int = 0
    callbacks_missing: int = 0
    callbacks_doubled: int = 0
    """Callbacks that came with more than one id or body, or a signature that does not hold."""
    secrets: int = 0
    internal: int = 0
    leftovers: int = 0
    host_deaths: int = 0
    kills: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    wall_s: float = 0.0
    wrong: list[str] = field(default_factory=list)


# ---------------------------------------------------------------- what every run begins with


def make_template(folder: Path) -> Path:
    """Azurite's folder with the videos and the model that is fetched; the ETags are the same in every run."""
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        video = folder / "match.mp4"
        write_match(video, seconds=30, seed=3, width=320, height=180, rate=Fraction(25))
        with storage(folder / "storage") as azurite:
            service = BlobServiceClient.from_connection_string(azurite.connection_string)
            for name in (VIDEOS, MODELS, "matchcut"):
                service.create_container(name)
            for copy in range(COPIES):
                service.get_blob_client(VIDEOS, f"{copy}/match.mp4").upload_blob(video.read_bytes())
            for path in sorted((ROOT / "models" / FETCHED).rglob("*")):
                if path.is_file() and "export" not in path.parts:
                    name = path.relative_to(ROOT / "models").as_posix()
                    service.get_blob_client(MODELS, name).upload_blob(path.read_bytes())
        (folder / "done").touch()
    return folder / "storage"


def requests_of(
    plan: Plan, storage_: str, receiver: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(jobs that are posted alone, jobs of the batch), in the order of their copies of the match."""
    account = BlobServiceClient.from_connection_string(storage_)

    def request(copy: int, **options: Any) -> dict[str, Any]:
        client = account.get_blob_client(VIDEOS, f"{copy}/match.mp4")
        sas = generate_blob_sas(
            account_name=str(account.account_name),
            container_name=VIDEOS,
            blob_name=client.blob_name,
            account_key=account.credential.account_key,
            permission=BlobSasPermissions(read=True),
            expiry=datetime.now(UTC) + timedelta(hours=2),
        )
        callback = f"http://127.0.0.1:{receiver}/job/{copy}?key={TOKEN}"
        return {"video": f"{client.url}?{sas}", "cut": CUT, "callback": callback, **options}

    light = {"models": LIGHT, "exhaustive": True}
    alone = [request(0, segment_s=3, **light), request(1, segment_s=5, **light)]
    if plan.cascade:
        alone.append(request(4))
    return alone, [request(2, segment_s=4, **light), request(3, segment_s=6, **light)]


# ---------------------------------------------------------------- the client


class TooLate(Exception):
    """The run's limit has passed."""


class Client:
    """Asks again while the service is away or in trouble, as a client that wants its answer does."""

    def __init__(self, base_url: str, deadline: float) -> None:
        self._http = httpx.Client(base_url=base_url, timeout=60, trust_env=False)
        self._deadline = deadline

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        while time.monotonic() < self._deadline:
            try:
                answer = self._http.request(method, path, **options)
                if answer.status_code < 500:
                    return answer
            except httpx.HTTPError:
                pass
            time.sleep(_POLL_S)
        raise TooLate(f"{method} {path}")

    def wait(self, path: str) -> dict[str, Any]:
        """The body of the first 200."""
        while (answer := self.ask("GET", path)).status_code == 202:
            time.sleep(_POLL_S)
        answer.raise_for_status()
        body: dict[str, Any] = answer.json()
        return body


# ---------------------------------------------------------------- one run


def run(plan: Plan, folder: Path, undisturbed: Mapping[int, bytes]) -> tuple[Outcome, dict[int, bytes]]:
    """(what became of it, the EDL by copy of the match). Without `undisturbed` no EDL is compared."""
    outcome, edls = Outcome(plan.seed), {}
    began = time.monotonic()
    template = make_template(FOLDER / "template")
    rig = Rig(folder, template, plan.faults, plan.refusals, plan.scratch_full_s is not None)
    with rig:
        alone, batch = requests_of(plan, rig.storage, rig.receiver.port)
        rig.proxy.begin()
        trouble = threading.Thread(target=_make_trouble, args=(plan, rig, outcome), name="trouble")
        trouble.start()
        client = Client(rig.base_url, time.monotonic() + plan.limit_s)
        try:
            edls = _follow(client, alone, batch, outcome)
            _await_callbacks(rig, [*alone, *batch], time.monotonic() + plan.limit_s / 2)
        except (TooLate, httpx.HTTPStatusError) as late:
            outcome.wrong.append(f"{type(late).__name__}: {late}")
        trouble.join()
        outcome.host_deaths = int(rig.stop_host() is not None)
    outcome.leftovers = len(rig.leftovers())
    outcome.other_bytes = sum(undisturbed[copy] != edl for copy, edl in edls.items() if copy in undisturbed)
    outcome.wall_s = round(time.monotonic() - began, 1)
    _judge(outcome, rig, [*alone, *batch])
    return outcome, edls


def _make_trouble(plan: Plan, rig: Rig, outcome: Outcome) -> None:
    random, began = Random(plan.seed), time.monotonic()
    moments: list[tuple[float, Kill | None]] = [(kill.at_s, kill) for kill in plan.kills]
    if plan.scratch_full_s is not None:
        moments.append((plan.scratch_full_s, None))
    for at_s, kill in sorted(moments, key=lambda moment: moment[0]):
        time.sleep(max(0.0, began + at_s - time.monotonic()))
        try:
            if kill:
                rig.kill(kill.what, random, kill.down_s)
            else:
                rig.free_scratch()
        except Exception as failure:  # the run has failed, and says why
            outcome.wrong.append(f"{kill}: {type(failure).__name__}: {failure}")


def _follow(
    client: Client, alone: Sequence[Mapping[str, Any]], batch: Sequence[Mapping[str, Any]], outcome: Outcome
) -> dict[int, bytes]:
    """Submit, wait for every accepted job, and fetch its EDL."""
    jobs: list[str] = []
    states: Counter[str] = Counter()
    edls: dict[int, bytes] = {}
    for request in alone:
        answer = client.ask("POST", "/api/jobs", json=request)
        answer.raise_for_status()
        jobs.append(answer.json()["id"])
    outcome.accepted = outcome.lost = len(jobs)
    lines = "\n".join(map(json.dumps, batch))
    headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "the-batch"}
    answer = client.ask("POST", "/api/batches", content=lines, headers=headers)
    answer.raise_for_status()
    outcome.accepted = outcome.lost = len(jobs) + len(batch)

    def ended(status: Mapping[str, Any], request: Mapping[str, Any]) -> None:
        states[status["state"]] += 1
        outcome.lost -= 1
        outcome.states = dict(states)
        if status["state"] != "Completed":
            outcome.wrong.append(f"a job ended {status['state']}: {status.get('error')}")
        elif "cut.edl" in status["links"]:
            edl = client.ask("GET", f"/api/jobs/{status['id']}/files/cut.edl")
            edl.raise_for_status()
            edls[_copy(request)] = edl.content

    for job, request in zip(jobs, alone, strict=True):
        ended(client.wait(f"/api/jobs/{job}"), request)
    path = f"/api/batches/{answer.json()['id']}"
    client.wait(path)
    rows = client.ask("GET", f"{path}/csv").text.splitlines()[1:]
    for request in batch:
        row = next(row for row in rows if f"/{_copy(request)}/match.mp4" in row)
        job = re.search(r"m-[0-9a-f]{24}", row)
        if job is None:
            outcome.wrong.append(f"a request of the batch became no job: {row}")
        else:
            ended(client.wait(f"/api/jobs/{job[0]}"), request)
    return edls


def _copy(request: Mapping[str, Any]) -> int:
    return int(request["video"].partition("?")[0].split("/")[-2])


def _await_callbacks(rig: Rig, requests: Sequence[Mapping[str, Any]], deadline: float) -> None:
    """Until each was delivered: the last delivery is the one that the receiver took."""
    while time.monotonic() < deadline:
        came = [len(rig.receiver.taken.get(f"/job/{_copy(request)}", ())) for request in requests]
        if min(came) > rig.receiver.refusals:
            return
        time.sleep(_POLL_S)


def _judge(outcome: Outcome, rig: Rig, requests: Sequence[Mapping[str, Any]]) -> None:
    log = rig.log.read_text(errors="replace")
    twice, journal = rig.scored_twice(), rig.proxy.journal
    outcome.units = sum(1 for path in journal.written if is_facts(path))
    outcome.in_flight, outcome.twice = len(rig.toll.units), sum(twice.values())
    outcome.gave_up = len(re.findall(r"'unit': \d+\}: storage_unavailable", log))
    allowed = Counter(rig.toll.units)
    strays = sum(max(0, count - allowed[path]) for path, count in twice.items())
    outcome.strays = max(0, strays - outcome.gave_up)
    for request in requests:
        ids = rig.receiver.taken.get(f"/job/{_copy(request)}", [])
        outcome.callbacks_missing += len(ids) <= rig.receiver.refusals
        outcome.callbacks_doubled += len(set(ids)) > 1
        outcome.deliveries += len(ids)
    outcome.callbacks = len(requests)
    outcome.callbacks_doubled += sum(len(bodies) > 1 for bodies in rig.receiver.bodies.values())
    outcome.callbacks_doubled += rig.receiver.forged
    signatures = {request["video"].partition("sig=")[2].partition("&")[0] for request in requests}
    secrets = {*signatures, *map(unquote, signatures), TOKEN, SECRET, SECRET.removeprefix("whsec_")}
    outcome.secrets = sum(secret in log for secret in secrets)
    outcome.internal = log.count("unexpected failure")
    outcome.kills = dict(Counter(rig.toll.kills))
    outcome.faults, outcome.requests = dict(journal.faults), journal.requests
    never = {
        "lost jobs": outcome.lost,
        "EDLs with other bytes": outcome.other_bytes,
        "units scored twice that were not in flight": outcome.strays,
        "callbacks missing": outcome.callbacks_missing,
        "callbacks with two ids, two bodies or no signature": outcome.callbacks_doubled,
        "secrets in the log": outcome.secrets,
        "internal errors": outcome.internal,
        "processes left": outcome.leftovers,
        "hosts that died by themselves": outcome.host_deaths,
    }
    outcome.wrong += [f"{what}: {count}" for what, count in never.items() if count]


# ---------------------------------------------------------------- all runs


def undisturbed_edls(cascade: bool) -> dict[int, bytes]:
    """The EDLs of a run in which nothing happens."""
    outcome, edls = run(Plan(0, cascade=cascade), FOLDER / "undisturbed", {})
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
    """Of all that a run depends on: a commit to the documentation costs no hour of runs."""
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
    code, undisturbed, outcomes = code_digest(), {}, []
    for seed in chosen.seed or range(chosen.runs):
        plan, kept = Plan.of(seed), FOLDER / "runs" / f"{seed}.json"
        if kept.exists() and not chosen.again:
            told = json.loads(kept.read_text())
            if told.pop("code") == code and not told["wrong"]:
                outcomes.append(Outcome(**told))
                continue
        if not undisturbed.keys() >= ({4} if plan.cascade else {0}):
            undisturbed |= undisturbed_edls(plan.cascade)
        outcome, _ = run(plan, FOLDER / f"seed-{seed}", undisturbed)
        outcomes.append(outcome)
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps({**asdict(outcome), "code": code}, indent=1))
        print(f"seed {seed:3}  {outcome.wall_s:5.0f} s  {outcome.wrong or 'ok'}", flush=True)
        if not outcome.wrong and not chosen.seed:
            shutil.rmtree(FOLDER / f"seed-{seed}", ignore_errors=True)
    if not chosen.seed:
        write("chaos", figures(outcomes))
    sys.exit(any(outcome.wrong for outcome in outcomes))


if __name__ == "__main__":
    main()
