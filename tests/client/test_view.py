from __future__ import annotations

import io
import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from client import view
from shared.contracts import Audit, CascadeResult, JobStatus, LookedSpan, Progress, State
from tests.support.small_result import a_result

SECRET = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/", min_size=12).map(lambda text: f"Zz{text}=")
AROUND = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="Z"), max_size=30)
FRAMES = st.sampled_from(["{}", "'{}'", "({}).", "<{}>", '"{}",', "[Errno 5] {}: no", "{}\n"])


@given(SECRET, AROUND, AROUND, FRAMES, st.sampled_from(["https", "http", "HTTPS", "wasbs"]))
def test_what_a_url_says_behind_its_path_is_not_printed(
    secret: str, before: str, after: str, frame: str, scheme: str
) -> None:
    url = f"{scheme}://account.example/videos/a%20match.mp4?sv=2025-01-05&sp=r&token={quote(secret)}"
    assert quote(secret) not in view.printable(before + " " + frame.format(url) + " " + after)


@given(SECRET, AROUND, AROUND)
def test_a_signature_is_not_printed_wherever_it_stands(secret: str, before: str, after: str) -> None:
    for text in (
        f"sig={secret}",
        f"/c/b?se=1&sig={quote(secret)}",
        f"AccountKey={secret};x",
        f"Bearer {secret}",
    ):
        shown = view.printable(f"{before} {text} {after}")
        assert secret not in shown
        assert quote(secret) not in shown


@given(SECRET)
def test_the_user_of_a_url_is_not_printed(secret: str) -> None:
    assert "see https://host.example/x" == view.printable(
        f"see https://user:{quote(secret, safe='')}@host.example/x"
    )


def test_the_keys_of_the_environment_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MATCHCUT_KEY", "open-sesame")
    assert "refused: [MATCHCUT_KEY]" == view.printable("refused: open-sesame")


@given(AROUND.filter(lambda text: not re.search(r"[?#@]|sig|key|pass|pwd|bearer", text, re.IGNORECASE)))
def test_a_text_without_secrets_is_printed_as_it_is(text: str) -> None:
    assert f"https://host/{quote(text)} {text}" == view.printable(f"https://host/{quote(text)} {text}")


def a_job(*progress: tuple[State, int, int]) -> list[JobStatus]:
    return [
        JobStatus(
            id="m-1",
            name=None,
            state=state,
            progress=Progress(
                done=done,
                total=total,
                fraction=done / total if total else 0,
                eta_s=80.4 if done else None,
                realtime_factor=8.25 if done else None,
            ),
            links={},
            error=None,
        )
        for state, done, total in progress
    ]


JOB = a_job((State.QUEUED, 0, 0), (State.QUEUED, 0, 0), (State.SCORING, 0, 40), (State.SCORING, 12, 40))


def test_without_a_terminal_each_change_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(file=io.StringIO())
    assert JOB[-1] == view.follow(JOB, console)
    expected = ["Queued", "Scoring, 0/40 units", "Scoring, 12/40 units, 8.2x real time, ETA 0:01:20"]
    assert expected == capsys.readouterr().out.splitlines()


def test_on_a_terminal_a_bar_shows_segments_speed_and_eta() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    assert JOB[-1] == view.follow(iter(JOB), console)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    last = plain.rstrip().splitlines()[-1]
    assert re.search(r"Scoring +\S*━+\S* 12/40 units 8\.2x real time ETA 0:01:20", last), last


def test_an_ended_job_has_no_eta_left_on_the_bar() -> None:
    out = io.StringIO()
    view.follow(a_job((State.COMPLETED, 40, 40)), Console(file=out, force_terminal=True, width=100))
    assert "ETA" not in out.getvalue()
    assert "40/40 units" in out.getvalue()


def test_a_gap_is_told_in_the_timecode_of_the_source() -> None:
    expected = ["gap     01:01:00:00 to 01:02:00:00 (60.0 s): no grass, motion (segment_failed)"]
    assert expected == view.gap_lines(a_result(gaps=True))
    assert [] == view.gap_lines(a_result())


@pytest.mark.parametrize(("seconds", "text"), [(0.0, "0:00:00"), (59.6, "0:01:00"), (3661.0, "1:01:01")])
def test_a_duration_is_told_in_hours_minutes_and_seconds(seconds: float, text: str) -> None:
    assert text == view.duration(seconds)


def test_a_cascade_says_what_it_looked_at_and_what_it_may_have_missed() -> None:
    spans = (
        LookedSpan(start_frame=0, end_frame=250, why="proposed"),
        LookedSpan(start_frame=5000, end_frame=5050, why="audit"),
    )
    audit = Audit(seed=1, spans=1, hits=0, low=0.0, high=0.975, missed_low=0.0, missed_high=286.65)
    found = CascadeResult(proposed_frames=250, looked_frames=300, spans=spans, audit=audit)
    assert view.cascade_lines(a_result()) == []
    assert view.cascade_lines(a_result().model_copy(update={"cascade": found})) == [
        "cascade looked at 12 s (2%); 0 of 1 spans drawn at random from the rest held an event "
        "(at most 98% do)"
    ]
