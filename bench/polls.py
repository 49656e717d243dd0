"""Status polls at a fixed rate, from a process of their own.

python -m bench.polls API BATCH RATE

Open loop: poll k is due k / RATE seconds after the first, whatever became of those before, and its time
counts from when it was due; so a service that answers slowly is asked as often as a fast one, and a
stall shows in every poll that it delays. Of a hundred polls 97 ask for a job of the batch drawn by
chance, 2 for the batch, and 1 for a page of the list.

A line on stdin ends it. Out: one JSON object, as `Polled`.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from dataclasses import asdict, dataclass, field
from time import monotonic
from typing import Any

import aiohttp

_LIMIT_S = 30.0
_PAGE = 100


@dataclass
class Polled:
    """The polls and their answers. Times in ms, by kind: `running` and `ended` jobs, `list`, `batch`."""

    asked: int = 0
    wall_s: float = 0.0
    late_s: float = 0.0
    """The most that the poller itself was late."""
    most_waiting: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    """HTTP status, or the name of the error in place of an answer -> number of polls."""
    times_ms: dict[str, list[float]] = field(default_factory=dict)

    @property
    def errors(self) -> int:
        """Number of polls without an answer, or with one that the API does not promise."""
        return sum(count for status, count in self.statuses.items() if status not in ("200", "202"))

    def quantile_ms(self, share: float, *kinds: str) -> float:
        """The smallest time that this share of the polls did not exceed (nearest rank)."""
        times = sorted(time for kind in kinds or self.times_ms for time in self.times_ms.get(kind, ()))
        return times[min(len(times) - 1, int(share * len(times)))] if times else 0.0


class _Poller:
    def __init__(self, http: aiohttp.ClientSession, batch: str) -> None:
        self._http, self._batch = http, batch
        self._jobs: list[str] = []
        self._known: set[str] = set()
        self._following: str | None = None
        self._random = random.Random(1)
        self._statuses: Counter[str] = Counter()
        self._waiting = 0
        self.polled = Polled()

    async def run(self, rate: float, over: asyncio.Event) -> Polled:
        began = monotonic()
        tasks: set[asyncio.Task[None]] = set()
        while not over.is_set():
            due = began + self.polled.asked / rate
            now = monotonic()
            if now < due:
                await asyncio.sleep(due - now)
            self.polled.late_s = max(self.polled.late_s, monotonic() - due)
            task = asyncio.create_task(self._poll(self.polled.asked, due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            self.polled.asked += 1
        self.polled.wall_s = monotonic() - began
        await asyncio.gather(*tasks)
        self.polled.statuses = dict(self._statuses)
        return self.polled

    async def _poll(self, number: int, due: float) -> None:
        self._waiting += 1
        self.polled.most_waiting = max(self.polled.most_waiting, self._waiting)
        try:
            kind = await self._ask(number % 100)
        except Exception as failure:
            self._statuses[type(failure).__name__] += 1
            return
        finally:
            self._waiting -= 1
        self.polled.times_ms.setdefault(kind, []).append(round((monotonic() - due) * 1000, 2))

    async def _ask(self, turn: int) -> str:
        if turn in (0, 50) or (turn != 25 and not self._jobs):
            await self._get(f"/api/batches/{self._batch}")
            return "batch"
        if turn == 25:
            query = {"top": str(_PAGE), **({"continuation": self._following} if self._following else {})}
            _, page = await self._get("/api/jobs", query)
            self._following = page.get("continuation")
            for job in page.get("jobs", ()):
                if job["id"] not in self._known:
                    self._known.add(job["id"])
                    self._jobs.append(job["id"])
            return "list"
        status, _ = await self._get(f"/api/jobs/{self._random.choice(self._jobs)}")
        return "ended" if status == 200 else "running"

    async def _get(self, path: str, query: dict[str, str] | None = None) -> tuple[int, dict[str, Any]]:
        async with self._http.get(path, params=query) as answer:
            body = await answer.json(content_type=None)
            self._statuses[str(answer.status)] += 1
            return answer.status, body


async def main(api: str, batch: str, rate: float) -> None:
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, over.set)
    limits = aiohttp.ClientTimeout(total=_LIMIT_S)
    async with aiohttp.ClientSession(
        api, connector=aiohttp.TCPConnector(limit=0), timeout=limits, trust_env=False
    ) as http:
        print(json.dumps(asdict(await _Poller(http, batch).run(rate, over))))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
