"""Events while scoring goes on."""

from __future__ import annotations

import pytest

from infra.local.azurite import Azurite
from shared.jobs import cancel, events_so_far
from shared.steps import run_cut, run_look, run_plan, run_score
from shared.storage import Records
from tests.support.in_process import InProcessService

pytestmark = pytest.mark.azurite


@pytest.fixture(scope="module")
def service(azurite: Azurite) -> InProcessService:
    return InProcessService(azurite.connection_string)


def test_events_are_there_before_the_job_ends_and_become_those_of_the_result(
    service: InProcessService, match: bytes
) -> None:
    url = service.upload(match)
    stored = service.request(url, segment_s=13, cut={"thresholds": {"highlight": 0.1}})
    run = stored.run
    nothing = events_so_far(service.store, stored)
    assert (0, True, ()) == (nothing.revision, nothing.provisional, nothing.events)
    plan = run_plan(service.settings, Records(service.store, run))
    seen = []

    def score(unit: int) -> None:
        run_score(service.settings, Records(service.store, run), unit)
        seen.append(events_so_far(service.store, stored, after=unit))

    for index in range(len(plan.units)):
        score(index)
    (sound,) = run_look(service.settings, Records(service.store, run), ()).units
    score(sound.index)
    assert [1, 2, 3, 4] == [page.revision for page in seen]
    assert all(page.provisional and page.changed for page in seen)
    assert len(seen[-1].events) > 0  # with the sound, which comes last
    for page in seen:
        sure = [event.confidence for event in page.events]
        assert sorted(sure, reverse=True) == sure
    unchanged = events_so_far(service.store, stored, after=4)
    assert (False, ()) == (unchanged.changed, unchanged.events)
    run_cut(service.settings, Records(service.store, run), {})
    final = events_so_far(service.store, stored, after=4)
    assert (False, 5, True) == (final.provisional, final.revision, final.changed)
    assert set(final.events) == set(service.result(run).events) == set(seen[-1].events)
    assert not events_so_far(service.store, stored, after=5).changed


def test_a_cascade_tells_what_its_sweep_heard_before_anything_is_looked_at(
    service: InProcessService, match: bytes
) -> None:
    url = service.upload(match, "cascade.mp4")
    stored = service.request(url, models=None, exhaustive=None)
    run_plan(service.settings, Records(service.store, stored.run))
    run_score(service.settings, Records(service.store, stored.run), 0)
    swept = events_so_far(service.store, stored)
    assert (1, True) == (swept.revision, swept.provisional)
    look = run_look(service.settings, Records(service.store, stored.run), ())
    assert swept == events_so_far(service.store, stored)
    assert len(look.units) > 0
    run_score(service.settings, Records(service.store, stored.run), 1)
    assert 2 == events_so_far(service.store, stored).revision


def test_a_cancelled_job_has_no_events(service: InProcessService, match: bytes) -> None:
    stored = service.request(service.upload(match, "cancelled.mp4"))
    cancel(service.store, stored)
    page = events_so_far(service.store, stored)
    assert (False, ()) == (page.provisional, page.events)
