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
from tests.support.in_process import Bench

pytestmark = pytest.mark.azurite
NOW = datetime(2026, 1, 1, 20, 45, tzinfo=UTC)
CLIP = make_clip(150)


@pytest.fixture(scope="module")
def bench(azurite: Azurite) -> Bench:
    return Bench(azurite.connection_string)


def status(bench: Bench, job: str, live: Live | None) -> JobStatus:
    return describe(bench.settings, bench.store, see(bench.store, job), live, NOW)


def test_a_stored_job_without_an_instance_is_queued(bench: Bench) -> None:
    job = bench.accept(bench.upload(CLIP, "queued.mp4"))
    assert status(bench, job, None).state == State.QUEUED


def test_progress_counts_units_and_says_how_fast_and_how_long(bench: Bench) -> None:
    job = bench.accept(bench.upload(CLIP, "progress.mp4"), segment_s=2)
    total = len(run_plan(bench.settings, Records(bench.store, job)).units)
    custom = {
        "state": "Scoring",
        "total": total,
        "media_s": 6.0,
        "since": (NOW - timedelta(seconds=4)).isoformat(),
    }
    live = Live("Running", custom)
    before = status(bench, job, live).progress
    assert (before.done, before.total, before.eta_s, before.realtime_factor) == (0, 3, None, None)
    run_score(bench.settings, Records(bench.store, job), 1)
    after = status(bench, job, live).progress
    assert (after.done, after.total, after.eta_s, after.realtime_factor) == (1, 3, 8.0, 0.5)


@pytest.mark.parametrize("runtime_status", ["Completed", "Failed", "Terminated"])
def test_a_job_whose_instance_is_over_without_a_last_word_waits_to_be_started_anew(
    bench: Bench, runtime_status: str
) -> None:
    job = bench.accept(bench.upload(CLIP, f"lost-{runtime_status}.mp4"))
    found = status(bench, job, Live(runtime_status, {"state": "Scoring"}))
    assert (State.QUEUED, None) == (found.state, found.error)


def test_a_run_that_is_lost_again_and_again_ends_its_job(bench: Bench) -> None:
    stored = bench.request(bench.upload(CLIP, "lost.mp4"))
    runs = [stored.run]
    while new := reopen_lost(bench.store, find_request(bench.store, stored.job)):
        runs.append(new.run)
    assert [stored.job, *(f"{stored.job}-{attempt}" for attempt in range(2, MOST_ATTEMPTS + 1))] == runs
    found = status(bench, stored.job, None)
    assert found.error is not None
    assert (State.FAILED, "internal") == (found.state, found.error.code)


def test_the_last_attempt_speaks_for_the_job(bench: Bench) -> None:
    url = bench.upload(CLIP, "stale.mp4")
    first = bench.request(url)
    cancel(bench.store, first)
    assert status(bench, first.job, None).state == State.CANCELLED
    again = bench.request(url)
    assert find_request(bench.store, first.job) == again
    assert status(bench, first.job, None).state == State.QUEUED
    assert status(bench, first.job, Live("Running", {"state": "Planning"})).state == State.PLANNING
    with pytest.raises(JobNotFound):  # the id of an attempt is not the id of a job
        find_request(bench.store, again.run)


def test_only_files_that_the_job_names_are_handed_out(bench: Bench) -> None:
    job, end = bench.run(bench.upload(CLIP, "files.mp4"))
    for name in end.files:
        content, media_type = result_file(bench.store, job, name)
        assert content
        assert media_type
    for name in ("../request.json", "request.json", "", "cut.edl/../../plan.json"):
        with pytest.raises(FileNotReady):
            result_file(bench.store, job, name)


def test_a_refused_repetition_does_not_touch_the_secret_of_the_job_it_met(bench: Bench) -> None:
    url = bench.upload(CLIP, "secret.mp4")
    stored = bench.request(bench.sas(url), key="night-1")
    kept = find_sas(bench.store, stored)
    assert "sig=" in kept
    with pytest.raises(IdempotencyConflict):
        bench.request(bench.sas(url, lasts_s=60), key="night-1", name="another")
    assert kept == find_sas(bench.store, stored)
    assert len(list(bench.store.list(f"secrets/{stored.job}/"))) == 1


def test_a_secret_does_not_outlive_its_job(bench: Bench) -> None:
    url = bench.upload(CLIP, "outlive.mp4")
    stored = bench.request(bench.sas(url))
    run_plan(bench.settings, Records(bench.store, stored.run))
    cancel(bench.store, stored)
    keep_secrets(bench.store, stored, Secrets("sig=late"))  # a duplicate that looked before the end
    assert find_sas(bench.store, stored) == ""


def test_what_is_no_job_is_not_found(bench: Bench) -> None:
    for job in ("m-none", "../scores", "M-UPPER", ""):
        with pytest.raises(JobNotFound):
            status(bench, job, None)


def test_a_retry_scores_only_what_is_missing(bench: Bench) -> None:
    url = bench.upload(make_clip(100), "retry.mp4")
    stored = bench.request(url, segment_s=2)
    run_plan(bench.settings, Records(bench.store, stored.run))
    run_score(bench.settings, Records(bench.store, stored.run), 0)
    run_look(bench.settings, Records(bench.store, stored.run), [1])
    assert (
        State.COMPLETED_WITH_GAPS == run_cut(bench.settings, Records(bench.store, stored.run), {1: "x"}).state
    )
    again = retry(bench.settings, bench.store, stored, b"")
    assert (stored.job, 2) == (again.job, again.attempt)
    bench.score(again.run)
    run_cut(bench.settings, Records(bench.store, again.run), {})
    result = bench.result(again.run)
    assert (State.COMPLETED, 1, 1) == (result.state, result.timing.units_cached, result.timing.units_scored)
    with pytest.raises(NothingToRetry):
        retry(bench.settings, bench.store, again, b"")


def test_a_retry_may_bring_a_fresh_sas_and_no_other_video(bench: Bench) -> None:
    url = bench.upload(make_clip(5), "fresh.mp4")
    stored = bench.request(bench.sas(url))
    assert stored == retry(bench.settings, bench.store, stored, b"")  # it still runs
    cancel(bench.store, stored)
    body = json.dumps({"video": bench.sas(bench.upload(make_clip(6), "other.mp4"))}).encode()
    with pytest.raises(InvalidRequest, match="not the job's video"):
        retry(bench.settings, bench.store, stored, body)
    with pytest.raises(InvalidRequest, match="not a retry"):
        retry(bench.settings, bench.store, stored, b"[]")
    with pytest.raises(InvalidRequest, match="longer than"):
        retry(bench.settings, bench.store, stored, b" " * 100_000)
    signed = bench.sas(url)
    again = retry(bench.settings, bench.store, stored, json.dumps({"video": signed}).encode())
    assert signed.partition("?")[2] == find_sas(bench.store, again)


def test_a_video_that_was_replaced_is_not_retried(bench: Bench) -> None:
    stored = bench.request(bench.upload(make_clip(5), "replaced.mp4"))
    cancel(bench.store, stored)
    bench.upload(make_clip(6), "replaced.mp4")
    with pytest.raises(VideoChanged):
        retry(bench.settings, bench.store, stored, b"")


def test_a_strict_job_with_a_gap_fails_and_keeps_what_was_scored(bench: Bench) -> None:
    stored = bench.request(bench.upload(make_clip(100), "strict.mp4"), segment_s=2, strict=True)
    run_plan(bench.settings, Records(bench.store, stored.run))
    run_score(bench.settings, Records(bench.store, stored.run), 0)
    run_look(bench.settings, Records(bench.store, stored.run), [1])
    end = run_cut(bench.settings, Records(bench.store, stored.run), {1: "segment_failed"})
    assert end.error is not None
    assert (State.FAILED, "incomplete") == (end.state, end.error.code)
    assert {"result.json", "cut.edl"} == set(end.files)
    assert b"MATCHCUT GAP" in bench.file(stored.run, "cut.edl")


def asked(bench: Bench, job: str) -> int:
    """Requests to storage that one look at a job takes."""
    before = traffic().transactions
    see(bench.store, job)
    return traffic().transactions - before


def test_a_complete_job_is_remembered_and_any_other_costs_one_listing(bench: Bench) -> None:
    url = bench.upload(CLIP, "asked.mp4")
    job = bench.accept(url)
    see(bench.store, job)
    assert 1 == asked(bench, job)
    cancel(bench.store, bench.stored(job))
    assert State.CANCELLED == status(bench, job, None).state
    assert 1 == asked(bench, job)  # it may be attempted anew, by another process too
    bench.accept(url)
    again = bench.stored(f"{job}-2")
    assert again == see(bench.store, job).stored
    bench.score(again.run)
    run_cut(bench.settings, Records(bench.store, again.run), {})
    assert State.COMPLETED == status(bench, job, None).state
    assert 0 == asked(bench, job)


@pytest.mark.parametrize("job", ["m", "m-", "", "m-none", "../m", "m-000000000000000000000000"])
def test_what_is_no_jobs_id_begins_nobody_elses(bench: Bench, job: str) -> None:
    bench.accept(bench.upload(CLIP, "prefix.mp4"))
    with pytest.raises(JobNotFound):
        see(bench.store, job)


def test_a_job_whose_records_were_removed_is_not_found(bench: Bench) -> None:
    job = bench.accept(bench.upload(CLIP, "removed.mp4"))
    bench.store.delete(paths.request_path(job))
    with pytest.raises(JobNotFound):
        see(bench.store, job)
