"""Whatever is asked for, and whenever: retention removes nothing that an open job needs."""

from __future__ import annotations

import json
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
from shared import jobs
from shared.contracts import State, StoredRequest
from shared.errors import JobNotFound, StorageUnavailable
from shared.jobs import cancel
from shared.steps import run_cut, run_look, run_plan, run_score
from shared.storage import Records, find_request, find_sas, paths
from tests.support.clips import make_clip
from tests.support.past import ONE, Past

pytestmark = pytest.mark.azurite
CLIP = make_clip(5)
NAMES = st.sampled_from(["a", "b"])


class Service(RuleBasedStateMachine):
    """Two jobs on one video, so that they share scores; days pass, and sweeps die or meet callers."""

    azurite: Azurite
    patch: pytest.MonkeyPatch

    def __init__(self) -> None:
        super().__init__()
        self.service = Past(self.azurite, self.patch)
        self.url = self.service.sas(self.service.upload(CLIP))
        self.open: dict[str, StoredRequest] = {}
        self.known: dict[str, StoredRequest] = {}
        self.scored: set[str] = set()
        # What it finds: scores that are old, and may be used again.
        self.begin("a")
        self.work("a")
        self.service.wait(2.5)

    @rule(name=NAMES)
    def begin(self, name: str) -> None:
        """Ask for it, and let it score."""
        self.post(name)
        if name in self.open and self.open[name].run not in self.scored:
            self.work(name)

    def post(self, name: str) -> None:
        stored = self.service.request(self.url, name=name, **ONE)
        self.known[name] = stored
        if Records(self.service.store, stored.run).find_end() is None:
            if name not in self.open or self.open[name].run != stored.run:
                self.open[name] = stored
                self.scored.discard(stored.run)  # one of the same id, that is gone
        else:
            assert self.service.file(stored.run, "cut.edl")

    @precondition(lambda self: self.known)
    @rule(name=NAMES)
    def retry(self, name: str) -> None:
        stored = self.known.get(name)
        if stored is None or name in self.open:
            return
        try:
            latest = find_request(self.service.store, stored.job)
            end = Records(self.service.store, latest.run).find_end()
            if end and end.state is State.CANCELLED:
                body = json.dumps({"video": self.url}).encode()
                self.known[name] = self.open[name] = jobs.retry(
                    self.service.settings, self.service.store, latest, body
                )
        except JobNotFound:
            pass

    @precondition(lambda self: self.open)
    @rule()
    def work(self, name: str = "") -> None:
        """One step of a job: score, cut."""
        name = name if name in self.open else min(self.open)
        run = self.open[name].run
        settings, store = self.service.settings, self.service.store
        if run not in self.scored:
            run_plan(settings, Records(store, run))
            run_score(settings, Records(store, run), 0)
            self.scored.add(run)
        else:
            run_look(settings, Records(store, run), ())
            assert State.COMPLETED == run_cut(settings, Records(store, run), {}).state
            del self.open[name]

    @precondition(lambda self: self.open)
    @rule()
    def cancel(self) -> None:
        cancel(self.service.store, self.open.pop(max(self.open)))

    @rule(days=st.sampled_from([2.5, 1.0, 6.0]))
    def wait(self, days: float) -> None:
        self.service.wait(days)

    @precondition(lambda self: self.known)
    @rule()
    def sweep(self) -> None:
        self.service.sweep()

    @precondition(lambda self: self.known)
    @rule(
        step=st.integers(1, 8),
        happens=st.sampled_from(["death", "post", "retry", "work", "begin"]),
        name=NAMES,
    )
    def sweep_and_something_happens(self, step: int, happens: str, name: str) -> None:
        def happen(number: int) -> None:
            if number != step:
                return
            if happens == "death":
                raise StorageUnavailable("Storage answered 503.")
            acts = {"post": self.post, "retry": self.retry, "work": self._work, "begin": self.begin}
            acts[happens](name)

        clock = self.service.clock
        clock.writes, clock.between = 0, happen
        try:
            self.service.sweep()
        except StorageUnavailable:
            assert happens == "death"
        finally:
            clock.between = None

    def _work(self, name: str) -> None:
        if self.open:
            self.work(name)

    @invariant()
    def what_open_jobs_need_is_there(self) -> None:
        store = self.service.store
        opened = {path.rpartition("_")[2] for path in store.list("open/")}
        for stored in self.open.values():
            run = stored.run
            assert run in opened
            assert run == find_request(store, stored.job).run
            assert "sig=" in find_sas(store, stored)
            if run in self.scored:
                assert run == Records(store, run).plan.job
                scores: Any = Records(store, run).summary(0).scores
                assert scores
                assert all(store.exists(paths.score_path(key)) for key in scores.values())

    def teardown(self) -> None:
        """Every open job ends well, and then all of it can go."""
        for name in list(self.open):
            while name in self.open:
                self.work(name)
        self.service.wait(10)
        self.service.sweep()
        assert [] == self.service.paths("jobs", "index", "open", "secrets", "scores")


def test_no_sweep_removes_what_an_open_job_needs(azurite: Azurite, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = type("Here", (Service,), {"azurite": azurite, "patch": monkeypatch})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=8,
            stateful_step_count=16,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
