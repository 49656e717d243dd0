"""The soccer profile on tracks made by hand: what its numbers claim, in soccer.md's words."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from shared.contracts import Timeline
from shared.models import Track, load_profile
from shared.settings import ROOT
from shared.spotting import Basis, spot
from shared.timelines import make_edits
from tests.support.scores import NAN, PAL, make_track

SECONDS = 600
TIMELINE = Timeline(PAL, SECONDS * 25)
PROFILE = load_profile(ROOT / "models", "soccer")


def ripple(level: float, deviation: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Ten minutes, twice a second, whose robust deviation is `deviation` wherever it is measured."""
    steps = np.tile([-1.0, 1.0, 0.0, 1.0, -1.0], SECONDS * 2 // 5)
    return level + steps * deviation / 1.4826


def tracks(
    *,
    loud: float = 0.0,
    at: int = 300,
    pitch: float = 0.6,
    sound: bool = True,
    looks: dict[str, tuple[str, float]] | None = None,
) -> dict[str, Track]:
    """An even match but for ten seconds from `at`, `loud` deviations above it; looks: model -> what it
    says all the time."""
    crowd = ripple(-33.0, 2.0)
    if loud:
        crowd[2 * at : 2 * at + 20] = -33.0 + 2.0 * loud
    made = {
        "crowd-excitement": make_track(crowd, 2, label="background"),
        "pitch-share": make_track([pitch] * SECONDS, 1, label="pitch"),
    }
    for model, (label, value) in (looks or {}).items():
        made[model] = make_track([value] * SECONDS, 1, label=label)
    return made if sound else {name: track for name, track in made.items() if name != "crowd-excitement"}


def board(change_s: int | None) -> dict[str, Track]:
    """One goal more from `change_s` on."""
    read = [float(change_s is not None and at >= change_s) for at in range(0, SECONDS, 5)]
    return {"scoreboard": make_track(read, Fraction(1, 5), label="goals")}


LIVE = {"play": ("live-wide", 1.0)}
CLOSE = {"play": ("close-up", 1.0)}
RULES = {rule.label: rule for rule in PROFILE.rules}


def only(made: dict[str, Track], label: str) -> list[str]:
    """Events of one rule, all of whose signals the made tracks have or lack by design."""
    rules = PROFILE.model_copy(update={"rules": (RULES[label],)})
    signals = tuple(
        signal
        for signal in PROFILE.signals
        if signal.model not in made or signal.label in made[signal.model].labels
    )
    lean = rules.model_copy(update={"signals": signals})
    return [event.label for event in spot(Basis(lean, made, TIMELINE))]


@pytest.mark.parametrize(
    ("label", "made", "expected"),
    [
        ("highlight", tracks(), 0),
        ("highlight", tracks(loud=2.1), 1),
        ("highlight", tracks(loud=1.8), 0),
        ("highlight", tracks(loud=2.9, pitch=0.0), 0),
        ("highlight", tracks(loud=3.2, pitch=0.0), 1),
        ("highlight", tracks(sound=False), 0),
        ("shot", tracks(loud=2.2, looks=LIVE), 1),
        ("shot", tracks(loud=1.8, looks=LIVE), 0),
        ("celebration", tracks(loud=2.4, looks=CLOSE), 1),
        ("celebration", tracks(loud=2.0, looks=CLOSE), 0),
        ("replay", tracks(looks={"camera": ("replay", 0.7)}), 1),
        ("replay", tracks(looks={"camera": ("replay", 0.5)}), 0),
        ("goal", tracks(loud=6.0), 0),
        ("goal", tracks(loud=6.0) | board(330), 1),
        ("goal", tracks() | board(330), 1),
        ("goal", tracks(loud=6.0) | board(None), 0),
        ("goal", tracks(sound=False) | board(330), 0),
    ],
)
def test_what_counts_as_an_event(label: str, made: dict[str, Track], expected: int) -> None:
    assert [label] * expected == only(made, label)


def test_the_event_lies_where_the_crowd_roared_and_the_edit_shows_the_build_up() -> None:
    made = tracks(loud=6.0)
    (event,) = spot(Basis(PROFILE.model_copy(update={"rules": (RULES["highlight"],)}), made, TIMELINE))
    assert 298 <= event.start_frame / 25 <= event.anchor_s <= 302
    assert 308 <= event.end_frame / 25 <= 312
    assert ["crowd-background", "off-pitch"] == [said.signal for said in event.evidence]
    assert 0.8 == event.confidence
    (edit,) = make_edits([event], PROFILE.cut, TIMELINE)
    assert (event.start_frame - 150, event.end_frame + 75) == (edit.source_in_frame, edit.source_out_frame)


def test_a_replay_is_told_and_asks_for_no_edit() -> None:
    assert [rule.label for rule in PROFILE.rules if not rule.edit] == ["replay"]
    events = spot(Basis(PROFILE, tracks(), TIMELINE))
    assert make_edits(events, PROFILE.cut, TIMELINE, ["replay"]) == ()


def test_the_picture_does_not_spot_alone_inside_a_gap_of_the_sound() -> None:
    made = tracks(loud=6.0, at=100, looks=LIVE)
    before = only(made, "shot")
    made["crowd-excitement"].scores[600:640] = NAN
    assert ["shot"] == before == only(made, "shot")


@pytest.mark.parametrize("later_s", [5, 30, 55])
def test_a_goal_lies_where_the_crowd_was_loudest_in_the_minute_before_the_score_changed(later_s: int) -> None:
    goal = PROFILE.model_copy(update={"rules": (RULES["goal"],)})
    (event,) = spot(Basis(goal, tracks(loud=6.0) | board(300 + later_s), TIMELINE))
    assert 299 <= event.anchor_s <= 310
    assert 1.0 == event.confidence
    (late,) = spot(Basis(goal, tracks(loud=6.0) | board(400), TIMELINE))
    assert 335 <= late.anchor_s <= 400
    assert late.confidence < 0.9
