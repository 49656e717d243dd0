"""One run of `make chaos`: submit jobs, kill processes, then check each promise of the service."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import unquote

import httpx
from azure.storage.blob import BlobSasPermissions, BlobServiceClient, generate_blob_sas

from bench.faults import Schedule
from bench.rig import FETCHED, MODELS, SECRET, TOKEN, Rig, is_facts, storage
from samples.match import write_match
from shared.settings import ROOT

LIMIT_S, CASCADE_LIMIT_S = 240.0, 600.0
VIDEOS = "videos"
COPIES = 5
"""Of one match: each has an ETag of its own, so no job finds another's scores."""
LIGHT = ("crowd-excitement", "motion", "pitch-share", "shot-change")
CUT = {"thresholds": {"highlight": 0.1}}
NO_FAULTS = Schedule()
_POLL_S = 0.3


@dataclass(frozen=True)
class Kill:
    at_s: float
    what: str
    down_s: float


@dataclass(frozen=True)
class Plan:
    """The faults of one run, in seconds from the first submission."""

    seed: int
    faults: Schedule = NO_FAULTS
    kills: tuple[Kill, ...] = ()
    scratch_full_s: float | None = None
    cascade: bool = False
    refusals: int = 0
    """Callbacks that the receiver refuses before it takes one."""
    few: bool = False
    """One job and no batch."""

    @property
    def limit_s(self) -> float:
        return CASCADE_LIMIT_S if self.cascade else LIMIT_S


@dataclass
class Outcome:
    """The outcome of one run; `wrong` is empty where every promise was kept."""

    seed: int
    accepted: int = 0
    lost: int = 0
    """Accepted jobs that did not end in time, or are unknown."""
    states: dict[str, int] = field(default_factory=dict)
    other_bytes: int = 0
    units: int = 0
    in_flight: int = 0
    """Units in flight at the kills."""
    gave_up: int = 0
    """Attempts that ended because storage failed for longer than its client's patience."""
    twice: int = 0
    """Units that were scored twice; `strays` of them for no reason above."""
    strays: int = 0
    callbacks: int = 0
    deliveries: int = 0
    callbacks_missing: int = 0
    callbacks_doubled: int = 0
    """Callbacks that came with more than one id or body, or with a wrong signature."""
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
    alone = [request(0, segment_s=3, **light)]
    if plan.few:
        return alone, []
    alone.append(request(1, segment_s=5, **light))
    if plan.cascade:
        alone.append(request(4))
    return alone, [request(2, segment_s=4, **light), request(3, segment_s=6, **light)]


# ---------------------------------------------------------------- the client


class TooLate(Exception):
    """The run's limit has passed."""


class Client:
    """A client that repeats a request while the service is down or answers 5xx."""

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
        """Wait for the first answer 200; returns its body."""
        while (answer := self.ask("GET", path)).status_code == 202:
            time.sleep(_POLL_S)
        answer.raise_for_status()
        body: dict[str, Any] = answer.json()
        return body


# ---------------------------------------------------------------- one run


def run(
    plan: Plan, folder: Path, template: Path, undisturbed: Mapping[int, bytes]
) -> tuple[Outcome, dict[int, bytes]]:
    """(what became of it, the EDL by copy of the match). Without `undisturbed` no EDL is compared."""
    outcome, edls = Outcome(plan.seed), {}
    began = time.monotonic()
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
    path = ""
    if batch:
        lines = "\n".join(map(json.dumps, batch))
        headers = {"Content-Type": "application/x-ndjson", "Idempotency-Key": "the-batch"}
        answer = client.ask("POST", "/api/batches", content=lines, headers=headers)
        answer.raise_for_status()
        path = f"/api/batches/{answer.json()['id']}"
        outcome.accepted = outcome.lost = len(jobs) + len(batch)

    def ended(status: Mapping[str, Any], request: Mapping[str, Any]) -> None:
        states[status["state"]] += 1
        outcome.lost -= 1
        outcome.states = dict(states)
        if status["state"] != "Completed":
            outcome.wrong.append(f"a job ended {status['state']}: {status.get('error')}")
        else:
            edl = client.ask("GET", f"/api/jobs/{status['id']}/files/cut.edl")
            edl.raise_for_status()
            edls[_copy(request)] = edl.content

    for job, request in zip(jobs, alone, strict=True):
        ended(client.wait(f"/api/jobs/{job}"), request)
    if not batch:
        return edls
    client.wait(path)
    rows = client.ask("GET", f"{path}/csv").text.splitlines()[1:]
    for request in batch:
        row = next(row for row in rows if f"/{_copy(request)}/match.mp4" in row)
        if found := re.search(r"m-[0-9a-f]{24}", row):
            ended(client.wait(f"/api/jobs/{found[0]}"), request)
        else:
            outcome.wrong.append(f"a request of the batch became no job: {row}")
    return edls


def _copy(request: Mapping[str, Any]) -> int:
    return int(request["video"].partition("?")[0].split("/")[-2])


def _await_callbacks(rig: Rig, requests: Sequence[Mapping[str, Any]], deadline: float) -> None:
    """Wait until each callback was delivered: its last delivery is the one that the receiver accepted."""
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
    if outcome.strays:
        outcome.wrong.append(f"begun again: {twice}, in flight: {dict(allowed)}")
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
