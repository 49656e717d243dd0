"""What a job's status says, from its records and its durable instance."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from infra.local.azurite import Azurite
from shared.contracts import JobStatus, State
from shared.errors import (
    FileNotReady,
    IdempotencyConflict,
    InvalidRequest,
    JobNotFound,
    NothingToRetry,
    VideoChanged,
)
from shared.jobs import Live, cancel, describe, reopen_lost, result_file, retry, see
from shared.jobs.attempts import MOST_ATTEMPTS
from shared.steps import run_cut, run_look, run_plan, run_score
from shared.storage import Records, Secrets, find_request, find_sas, keep_secrets, paths, traffic
from tests.support.clips import make_clip
from tests.support.in_process import InProcessService

pytestmark = pytest.mark.azurite
NOW = datetime(2026, 1, 1, 20, 45, tzinfo=UTC)
CLIP = make_clip(150)


@pytest.fixture(scope="module")
def service(azurite: Azurite) -> InProcessService:
    return InProcessService(azurite.connection_string)


def status(service: InProcessService, job: str, live: Live | None) -> JobStatus:
    return describe(service.settings, service.store, see(service.store, job), live, NOW)


def test_a_stored_job_without_an_instance_is_queued(service: InProcessService) -> None:
    job = service.accept(service.upload(CLIP, "queued.mp4"))
    assert status(service, job, None).state == State.QUEUED


def test_progress_counts_units_and_says_how_fast_and_how_long(service: InProcessService) -> None:
    job = service.accept(service.upload(CLIP, "progress.mp4"), segment_s=2)
    total = len(run_plan(service.settings, Records(service.store, job)).units)
    custom = {
        "state": "Scoring",
        "total": total,
        "media_s": 6.0,
        "since": (NOW - timedelta(seconds=4)).isoformat(),
    }
    live = Live("Running", custom)
    before = status(service, job, live).progress
    assert (before.done, before.total, before.eta_s, before.realtime_factor) == (0, 3, None, None)
    run_score(service.settings, Records(service.store, job), 1)
    after = status(service, job, live).progress
    assert (after.done, after.total, after.eta_s, after.realtime_factor) == (1, 3, 8.0, 0.5)


@pytest.mark.parametrize("runtime_status", ["Completed", "Failed", "Terminated"])
def test_a_job_whose_instance_is_over_without_a_last_word_waits_to_be_started_anew(
    service: InProcessService, runtime_status: str
) -> None:
    job = service.accept(service.upload(CLIP, f"lost-{runtime_status}.mp4"))
    found = status(service, job, Live(runtime_status, {"state": "Scoring"}))
    assert (State.QUEUED, None) == (found.state, found.error)


def test_a_run_that_is_lost_again_and_again_ends_its_job(service: InProcessService) -> None:
    stored = service.request(service.upload(CLIP, "lost.mp4"))
    runs = [stored.run]
    while new := reopen_lost(service.store, find_request(service.store, stored.job)):
        runs.append(new.run)
    assert [stored.job, *(f"{stored.job}-{attempt}" for attempt in range(2, MOST_ATTEMPTS + 1))] == runs
    found = status(service, stored.job, None)
    assert found.error is not None
    assert (State.FAILED, "internal") == (found.state, found.error.code)


def test_the_last_attempt_speaks_for_the_job(service: InProcessService) -> None:
    url = service.upload(CLIP, "stale.mp4")
    first = service.request(url)
    cancel(service.store, first)
    assert status(service, first.job, None).state == State.CANCELLED
    again = service.request(url)
    assert find_request(service.store, first.job) == again
    assert status(service, first.job, None).state == State.QUEUED
    assert status(service, first.job, Live("Running", {"state": "Planning"})).state == State.PLANNING
    with pytest.raises(JobNotFound):  # the id of an attempt is not the id of a job
        find_request(service.store, again.run)


def test_only_files_that_the_job_names_are_handed_out(service: InProcessService) -> None:
    job, end = service.run(service.upload(CLIP, "files.mp4"))
    for name in end.files:
        content, media_type = result_file(service.store, job, name)
        assert content
        assert media_type
    for name in ("../request.json", "request.json", "", "cut.edl/../../plan.json"):
        with pytest.raises(FileNotReady):
            result_file(service.store, job, name)


def test_a_refused_repetition_does_not_touch_the_secret_of_the_job_it_met(service: InProcessService) -> None:
    url = service.upload(CLIP, "secret.mp4")
    stored = service.request(service.sas(url), key="night-1")
    kept = find_sas(service.store, stored)
    assert "sig=" in kept
    with pytest.raises(IdempotencyConflict):
        service.request(service.sas(url, lasts_s=60), key="night-1", name="another")
    assert kept == find_sas(service.store, stored)
    assert len(list(service.store.list(f"secrets/{stored.job}/"))) == 1


def test_a_secret_does_not_outlive_its_job(service: InProcessService) -> None:
    url = service.upload(CLIP, "outlive.mp4")
    stored = service.request(service.sas(url))
    run_plan(service.settings, Records(service.store, stored.run))
    cancel(service.store, stored)
    keep_secrets(service.store, stored, Secrets("sig=late"))  # a duplicate that looked before the end
    assert find_sas(service.store, stored) == ""


def test_what_is_no_job_is_not_found(service: InProcessService) -> None:
    for job in ("m-none", "../scores", "M-UPPER", ""):
        with pytest.raises(JobNotFound):
            status(service, job, None)


def test_a_retry_scores_only_what_is_missing(service: InProcessService) -> None:
    url = service.upload(make_clip(100), "retry.mp4")
    stored = service.request(url, segment_s=2)
    run_plan(service.settings, Records(service.store, stored.run))
    run_score(service.settings, Records(service.store, stored.run), 0)
    run_look(service.settings, Records(service.store, stored.run), [1])
    assert (
        State.COMPLETED_WITH_GAPS
        == run_cut(service.settings, Records(service.store, stored.run), {1: "x"}).state
    )
    again = retry(service.settings, service.store, stored, b"")
    assert (stored.job, 2) == (again.job, again.attempt)
    service.score(again.run)
    run_cut(service.settings, Records(service.store, again.run), {})
    result = service.result(again.run)
    assert (State.COMPLETED, 1, 1) == (result.state, result.timing.units_cached, result.timing.units_scored)
    with pytest.raises(NothingToRetry):
        retry(service.settings, service.store, again, b"")


def test_a_retry_may_bring_a_fresh_sas_and_no_other_video(service: InProcessService) -> None:
    url = service.upload(make_clip(5), "fresh.mp4")
    stored = service.request(service.sas(url))
    assert stored == retry(service.settings, service.store, stored, b"")  # it still runs
    cancel(service.store, stored)
    body = json.dumps({"video": service.sas(service.upload(make_clip(6), "other.mp4"))}).encode()
    with pytest.raises(InvalidRequest, match="not the job's video"):
        retry(service.settings, service.store, stored, body)
    with pytest.raises(InvalidRequest, match="not a retry"):
        retry(service.settings, service.store, stored, b"[]")
    with pytest.raises(InvalidRequest, match="longer than"):
        retry(service.settings, service.store, stored, b" " * 100_000)
    signed = service.sas(url)
    again = retry(service.settings, service.store, stored, json.dumps({"video": signed}).encode())
    assert signed.partition("?")[2] == find_sas(service.store, again)


def test_a_video_that_was_replaced_is_not_retried(service: InProcessService) -> None:
    stored = service.request(service.upload(make_clip(5), "replaced.mp4"))
    cancel(service.store, stored)
    service.upload(make_clip(6), "replaced.mp4")
    with pytest.raises(VideoChanged):
        retry(service.settings, service.store, stored, b"")


def test_a_strict_job_with_a_gap_fails_and_keeps_what_was_scored(service: InProcessService) -> None:
    stored = service.request(service.upload(make_clip(100), "strict.mp4"), segment_s=2, strict=True)
    run_plan(service.settings, Records(service.store, stored.run))
    run_score(service.settings, Records(service.store, stored.run), 0)
    run_look(service.settings, Records(service.store, stored.run), [1])
    end = run_cut(service.settings, Records(service.store, stored.run), {1: "segment_failed"})
    assert end.error is not None
    assert (State.FAILED, "incomplete") == (end.state, end.error.code)
    assert {"result.json", "cut.edl"} == set(end.files)
    assert b"MATCHCUT GAP" in service.file(stored.run, "cut.edl")


def asked(service: InProcessService, job: str) -> int:
    """Requests to storage that one look at a job takes."""
    before = traffic().transactions
    see(service.store, job)
    return traffic().transactions - before


def test_a_complete_job_is_remembered_and_any_other_costs_one_listing(service: InProcessService) -> None:
    url = service.upload(CLIP, "asked.mp4")
    job = service.accept(url)
    see(service.store, job)
    assert 1 == asked(service, job)
    cancel(service.store, service.stored(job))
    assert State.CANCELLED == status(service, job, None).state
    assert 1 == asked(service, job)  # it may be attempted anew, by another process too
    service.accept(url)
    again = service.stored(f"{job}-2")
    assert again == see(service.store, job).stored
    service.score(again.run)
    run_cut(service.settings, Records(service.store, again.run), {})
    assert State.COMPLETED == status(service, job, None).state
    assert 0 == asked(service, job)


@pytest.mark.parametrize("job", ["m", "m-", "", "m-none", "../m", "m-000000000000000000000000"])
def test_what_is_no_jobs_id_begins_nobody_elses(service: InProcessService, job: str) -> None:
    service.accept(service.upload(CLIP, "prefix.mp4"))
    with pytest.raises(JobNotFound):
        see(service.store, job)


def test_a_job_whose_records_were_removed_is_not_found(service: InProcessService) -> None:
    job = service.accept(service.upload(CLIP, "removed.mp4"))
    service.store.delete(paths.request_path(job))
    with pytest.raises(JobNotFound):
        see(service.store, job)
