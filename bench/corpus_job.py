"""One file as a whole job in a child process, through the flow and the activities as a worker runs them."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import resource
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.mutations import Case
from shared.errors import MatchcutError

LIMIT_S = 180
PARALLEL = 2


@dataclass(frozen=True)
class Ending:
    """How one file ended. `end`: the state of a job with a result, else its error code; or "died" where the
    job's process died, "hung" where it was ended after LIMIT_S seconds."""

    name: str
    kind: str
    end: str
    gaps: tuple[str, ...] = ()
    wall_s: float = 0.0
    cpu_s: float = 0.0
    peak_bytes: int = 0
    """Peak resident memory of the process; 0 where it reported none."""


class _Context:
    """A durable context that runs each task at once, in this process."""

    def __init__(self, job: str, task: Any = None) -> None:
        self.instance_id = job
        self.current_utc_datetime = datetime.now(UTC)
        self._task = task

    def get_input(self) -> Any:
        return self._task

    def set_custom_status(self, status: Any) -> None:
        pass

    def call_activity(self, name: str, task: Any) -> Any:
        return partial(_activity, name, task)

    def call_sub_orchestrator(self, name: str, task: Any, instance: str) -> Any:
        from orchestrator import flow

        return lambda: _drive(flow.score_block(_Context(instance, task)))

    def task_all(self, tasks: list[Any]) -> list[Any]:
        return tasks


def _drive(flow: Any) -> Any:
    answer = None
    while True:
        try:
            task = flow.send(answer)
        except StopIteration as ended:
            return ended.value
        answer = [each() for each in task] if isinstance(task, list) else task()


@lru_cache(maxsize=1)
def _app() -> Any:
    from infra.local.app import load

    return load("function_app")


def _activity(name: str, task: Any) -> Any:
    from infra.local.workers.worker import run

    kind, *values = run(_app(), (name, json.dumps(task), "corpus"), "", asyncio.Runner())
    if kind != "result":
        raise RuntimeError(values[0])
    return json.loads(values[0])


def _job(url: str, storage: str, said: Connection) -> None:
    """Accept and run one job; returns (end, codes of gaps, CPU seconds, peak bytes)."""
    import av

    from orchestrator import flow
    from shared import jobs
    from shared.contracts import EndRecord, Result
    from shared.settings import get_settings
    from shared.storage import BlobStore, paths
    from tests.support.in_process import LIGHT

    os.environ |= {"MATCHCUT_STORAGE": storage, "MATCHCUT_CONTAINER": "corpus"}
    av.logging.set_level(av.logging.PANIC)
    gaps: tuple[str, ...] = ()
    settings = get_settings()
    store = BlobStore.from_settings(settings)
    try:
        job = jobs.accept(settings, store, json.dumps({"video": url, **LIGHT}).encode(), None).run
        _drive(flow.run_job(_Context(job)))
        last = EndRecord.model_validate_json(store.get(paths.end_path(job)))
        end = last.error.code if last.error else last.state.value
        if not last.error:
            result = Result.model_validate_json(store.get(paths.file_path(job, "result.json")))
            gaps = tuple(sorted({gap.code for gap in result.gaps}))
    except MatchcutError as refused:
        end = refused.code
    used = resource.getrusage(resource.RUSAGE_SELF)
    said.send((end, gaps, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024))


class Runner:
    """Runs cases in child processes of a server that has imported everything, and records how they ended."""

    def __init__(self, storage: str, kept: Path | None = None) -> None:
        self._storage = storage
        self._children = multiprocessing.get_context("forkserver")
        self._children.set_forkserver_preload(
            ["function_app", "tests.support.in_process", "bench.corpus_job"]
        )
        from azure.storage.blob import BlobServiceClient

        service = BlobServiceClient.from_connection_string(storage)
        self._videos = service.get_container_client("videos")
        if not self._videos.exists():
            self._videos.create_container()
        self._kept, self._lock = kept, threading.Lock()
        lines = kept.read_text().splitlines() if kept and kept.exists() else []
        self.endings = {ending.name: ending for ending in map(_read, lines)}

    def run_all(self, chosen: Sequence[Case]) -> list[Ending]:
        with ThreadPoolExecutor(PARALLEL) as threads:
            return list(threads.map(self.run, chosen))

    def run(self, case: Case) -> Ending:
        if case.name in self.endings:
            return self.endings[case.name]
        blob = self._videos.get_blob_client(f"{case.name}/{case.blob}")
        blob.upload_blob(case.make(), overwrite=True)
        ending = self._child(case, str(blob.url))
        with self._lock:
            self.endings[case.name] = ending
            if self._kept:
                with self._kept.open("a") as file:
                    file.write(json.dumps(asdict(ending)) + "\n")
            print(f"{len(self.endings):4} {ending.wall_s:6.1f} s  {ending.end:22} {case.name}", flush=True)
        return ending

    def _child(self, case: Case, url: str) -> Ending:
        began = time.monotonic()
        ours, theirs = self._children.Pipe(duplex=False)
        child = self._children.Process(target=_job, args=(url, self._storage, theirs))
        child.start()
        theirs.close()
        try:
            end, gaps, cpu_s, peak_bytes = ours.recv() if ours.poll(LIMIT_S) else ("hung", (), 0.0, 0)
        except EOFError:
            end, gaps, cpu_s, peak_bytes = "died", (), 0.0, 0
        child.join(10 if end != "hung" else 0)
        if child.is_alive():
            end = "hung"
            child.kill()
            child.join()
        return Ending(case.name, case.kind, end, gaps, time.monotonic() - began, cpu_s, peak_bytes)


def _read(line: str) -> Ending:
    told = json.loads(line)
    return Ending(**{**told, "gaps": tuple(told["gaps"])})
