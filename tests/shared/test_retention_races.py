"""Whatever is asked for, and whenever: retention removes nothing that an open job needs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from infra.local.azurite import Azurite
from shared import jobs, names
from shared.contracts import State, StoredRequest
from shared.cut import run_cut
from shared.errors import JobNotFound, StorageUnavailable
from shared.jobs import cancel, find_end, find_request
from shared.scoring import run_score
from shared.steps import find_secret, load_plan, load_summary, run_look, run_plan
from tests.shared.clips import make_clip
from tests.shared.test_retention import ONE, Past

pytestmark = pytest.mark.azurite
CLIP = make_clip(5)
NAMES = st.sampled_from(["a", "b"])


class Service(RuleBasedStateMachine):
    """Two jobs on one video, so that they share scores; days pass, and sweeps die or meet callers."""

    azurite: Azurite
    patch: pytest.MonkeyPatch

    def __init__(self) -> None:
        super().__init__()
        self.bench = Past(self.azurite, self.patch)
        self.url = self.bench.sas(self.bench.upload(CLIP))
        self.open: dict[str, StoredRequest] = {}
        self.known: dict[str, StoredRequest] = {}
        self.scored: set[str] = set()

    @rule(name=NAMES)
    def post(self, name: str) -> None:
        stored = self.bench.request(self.url, name=name, **ONE)
        self.known[name] = stored
        if find_end(self.bench.store, stored.run) is None:
            if name not in self.open or self.open[name].run != stored.run:
                self.open[name] = stored
        else:
            assert self.bench.file(stored.run, "cut.edl")

    @rule(name=NAMES)
    def retry(self, name: str) -> None:
        stored = self.known.get(name)
        if stored is None or name in self.open:
            return
        try:
            latest = find_request(self.bench.store, stored.job)
            end = find_end(self.bench.store, latest.run)
            if end and end.state is State.CANCELLED:
                self.known[name] = self.open[name] = jobs.retry(
                    self.bench.settings, self.bench.store, latest, b""
                )
        except JobNotFound:
            pass

    @precondition(lambda self: self.open)
    @rule(name=NAMES)
    def work(self, name: str) -> None:
        """One step of the job: score, cut."""
        if name not in self.open:
            return
        run = self.open[name].run
        settings, store = self.bench.settings, self.bench.store
        if run not in self.scored:
            run_plan(settings, store, run)
            run_score(settings, store, run, 0)
            self.scored.add(run)
        else:
            run_look(settings, store, run, ())
            assert State.COMPLETED == run_cut(settings, store, run, {}).state
            del self.open[name]

    @precondition(lambda self: self.open)
    @rule(name=NAMES)
    def cancel(self, name: str) -> None:
        if stored := self.open.pop(name, None):
            cancel(self.bench.store, stored)

    @rule(days=st.sampled_from([1.0, 2.5, 6.0]))
    def wait(self, days: float) -> None:
        self.bench.wait(days)

    @rule(
        step=st.integers(1, 8),
        happens=st.sampled_from(["nothing", "death", "post", "retry", "work", "sweep"]),
        name=NAMES,
    )
    def sweep_and_something_happens(self, step: int, happens: str, name: str) -> None:
        def happen(number: int) -> None:
            if number != step or happens == "nothing":
                return
            if happens == "death":
                raise StorageUnavailable("Storage answered 503.")
            if happens == "sweep":
                self.bench.sweep()
            else:
                {"post": self.post, "retry": self.retry, "work": self._work}[happens](name)

        clock = self.bench.clock
        clock.writes, clock.between = 0, happen
        try:
            self.bench.sweep()
        except StorageUnavailable:
            assert happens == "death"
        finally:
            clock.between = None

    def _work(self, name: str) -> None:
        if self.open:
            self.work(name)

    @invariant()
    def what_open_jobs_need_is_there(self) -> None:
        store = self.bench.store
        opened = {path.rpartition("_")[2] for path in store.list("open/")}
        for stored in self.open.values():
            run = stored.run
            assert run in opened
            assert run == find_request(store, stored.job).run
            assert "sig=" in find_secret(store, stored)
            if run in self.scored:
                assert run == load_plan(store, run).job
                scores: Any = load_summary(store, run, 0).scores
                assert scores
                assert all(store.exists(names.score_path(key)) for key in scores.values())

    def teardown(self) -> None:
        """Every open job ends well, and then all of it can go."""
        for name in list(self.open):
            while name in self.open:
                self.work(name)
        self.bench.wait(10)
        self.bench.sweep()
        assert [] == self.bench.paths("jobs", "index", "open", "secrets", "scores")


def test_no_sweep_removes_what_an_open_job_needs(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = type("Here", (Service,), {"azurite": azurite, "patch": monkeypatch})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=16,
            deadline=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
