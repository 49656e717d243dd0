"""`make corpus`: real files and hundreds of mutations of them, each a job of its own, each to its end.

python -m bench.corpus [--limit N] [--fresh]

A job runs in a child process of its own, through the durable flow and the activities as a worker runs them,
over Azurite; some of them once more, all at once, through the embedded host. What has run is kept in
.run/, by commit, and not run again. Writes bench/results/corpus.json and the tables of docs/reliability.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from bench.corpus_job import LIMIT_S, Ending, Runner
from bench.cpu import tree
from bench.figures import Figure, commit_of, replace_block, write
from bench.figures import table as figures_table
from bench.mutations import Case, cases
from infra.local.azurite import Azurite
from shared import errors
from shared.settings import ROOT

PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- corpus: begin -->", "<!-- corpus: end -->"
KEPT = ROOT / ".run"
HOST_JOBS = 40
MIB = 2**20


@contextmanager
def canary() -> Iterator[tuple[int, list[str]]]:
    """(port, requested paths): a server that no job may reach."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], asked
        server.shutdown()


# ---------------------------------------------------------------- through the embedded host


def through_host(chosen: Sequence[Case]) -> list[Figure]:
    """Post these files at once to an embedded host with two workers, and count how they ended."""
    from infra.local.embedded import EmbeddedHost
    from tests.support.service import Service

    ends: Counter[str] = Counter()
    with EmbeddedHost(workers=2) as host:
        service = Service(host)
        posted = [service.post(service.upload(case.make(), case.blob)) for case in chosen]
        for answer in posted:
            if answer.status_code != 202:
                ends[answer.json()["code"]] += 1
                continue
            try:
                last = service.wait(answer.json()["id"], LIMIT_S * len(chosen))
            except AssertionError:
                ends["hung"] += 1
                continue
            ends[last["error"]["code"] if last.get("error") else last["state"]] += 1
        healthy = service.http.get("/api/health").status_code == 200
        died = host.log.read_text(errors="replace").count("a worker died")
        processes = tree(host.pid)
        service.http.close()
        service.blobs.close()
        host.stop()
        left = [pid for pid in processes if pid in tree(pid) and not _zombie(pid)]
    documented = sum(count for end, count in ends.items() if end in ENDINGS)
    print(f"embedded host: {dict(ends)}", flush=True)
    return [
        _exactly("embedded host: files that ended as documented", documented, "files", len(chosen)),
        _exactly("embedded host: alive and well after them", int(healthy), "", 1),
        _exactly("embedded host: worker processes that died", died, "", 0),
        _exactly("embedded host: processes left over", len(left), "", 0),
    ]


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


# ---------------------------------------------------------------- what is told


RESULTS = {"Completed", "CompletedWithGaps"}
ENDINGS = RESULTS | {
    kind.code
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.MatchcutError)
} - {"internal", "cancelled"}
"""The good endings of a file: a result, or an error whose code says why."""


def figures(endings: Sequence[Ending], asked: Sequence[str], left: int) -> list[Figure]:
    ends = Counter(ending.end for ending in endings)
    obeyed = [e for e in endings if e.kind == "playlist" and e.end in RESULTS and " a video" not in e.name]
    peak = max(ending.peak_bytes for ending in endings) / MIB
    kinds = Counter(ending.kind for ending in endings)
    mutations = len(endings) - kinds["original"]
    return [
        Figure("real files", kinds["original"], "files"),
        Figure("mutations", mutations, "files", ">= 300", mutations >= 300),
        _exactly(
            "files that ended as a result or a documented code",
            sum(ends[end] for end in ENDINGS),
            "files",
            len(endings),
        ),
        _exactly("files that hung", ends["hung"], "files", 0),
        _exactly("processes that died", ends["died"], "files", 0),
        _exactly("code `internal`", ends["internal"], "files", 0),
        _exactly("playlists and scripts that were obeyed", len(obeyed) + len(asked), "files", 0),
        _exactly("processes left over", left, "processes", 0),
        Figure(
            "longest wall", round(max(e.wall_s for e in endings), 1), "s", f"<= {LIMIT_S}", not ends["hung"]
        ),
        Figure("CPU of all", round(sum(e.cpu_s for e in endings)), "s"),
        Figure("peak memory of a job", round(peak), "MiB", "<= 2560", peak <= 2560),
        Figure(
            "peak memory, median",
            round(sorted(e.peak_bytes for e in endings)[len(endings) // 2] / MIB),
            "MiB",
        ),
    ]


def _exactly(figure: str, value: int, unit: str, goal: int) -> Figure:
    return Figure(figure, value, unit, str(goal), value == goal)


def table(endings: Sequence[Ending]) -> str:
    """How the files of each kind ended."""
    kinds = dict.fromkeys(ending.kind for ending in endings)
    rows = ["| files | number | ended as |", "| --- | --- | --- |"]
    for kind in kinds:
        ends = Counter(ending.end for ending in endings if ending.kind == kind)
        told = ", ".join(f"{_code(end)} {count}" for end, count in ends.most_common())
        rows.append(f"| {kind} | {ends.total()} | {told} |")
    gaps = Counter(code for ending in endings for code in ending.gaps)
    told = ", ".join(f"`{code}` {count}" for code, count in gaps.most_common()) or "none"
    return "\n".join([*rows, "", f"Gaps of those with a result, by code and file: {told}."])


def _code(end: str) -> str:
    return end if end in RESULTS else f"`{end}`"


def publish(found: Sequence[Figure], endings: Sequence[Ending]) -> None:
    head = (
        f"`make corpus`, {datetime.now(UTC).date().isoformat()}, commit {commit_of()}, "
        f"{os.cpu_count()} shared cores."
    )
    replace_block(PAGE, BEGIN, END, [head, "", *figures_table(found), "", table(endings)])


def some(all_cases: Sequence[Case], count: int) -> list[Case]:
    """A selection: of every kind, evenly spread over its cases."""
    by_kind: Mapping[str, list[Case]] = {}
    by_kind = {case.kind: [c for c in all_cases if c.kind == case.kind] for case in all_cases}
    chosen = []
    for several in by_kind.values():
        wanted = min(len(several), max(1, round(count / len(by_kind))))
        chosen += [several[n * len(several) // wanted] for n in range(wanted)]
    return chosen[:count]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--limit", type=int, help="a few of every kind, this many in all; nothing is written")
    parser.add_argument("--only", metavar="KIND", help="of one kind; nothing is written")
    parser.add_argument("--fresh", action="store_true", help="run again what has run")
    given = parser.parse_args()
    KEPT.mkdir(exist_ok=True)
    trial = bool(given.limit or given.only)
    kept = None if trial else KEPT / f"corpus-{commit_of()}.jsonl"
    if kept and given.fresh:
        kept.unlink(missing_ok=True)
    with canary() as (port, asked):
        chosen = [case for case in cases(port) if given.only in (None, case.kind)]
        host_cases = some(chosen, given.limit or HOST_JOBS)
        if given.limit:
            chosen = some(chosen, given.limit)
        with Azurite() as azurite:
            endings = Runner(azurite.connection_string, kept).run_all(chosen)
        # Ours are Azurite, which has ended, and the server of the children.
        left = [p for p in tree(os.getpid()).values() if os.getpid() not in (p.pid, p.parent)]
        found = figures(endings, asked, len(left)) + through_host(host_cases)
    if not trial:
        write("corpus", found)
        publish(found, endings)
    else:
        print(table(endings))
        for figure in found:
            print(f"{figure.figure:60} {figure.value:>10g} {figure.unit}")
    sys.exit(0 if all(figure.met is not False for figure in found) else 1)


if __name__ == "__main__":
    main()
