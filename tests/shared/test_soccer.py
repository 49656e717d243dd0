"""The soccer profile on tracks made by hand: what its numbers claim, in soccer.md's words."""

from __future__ import annotations

import numpy as np
import pytest

from shared.contracts import Event
from shared.edits import make_edits
from shared.profiles import load_profile
from shared.settings import ROOT
from shared.spotting import spot
from shared.tracks import Track
from tests.shared.scores import NAN, PAL, make_track

SECONDS = 600
FRAMES = SECONDS * 25
PROFILE = load_profile(ROOT / "models", "soccer")
FLOORS = {signal.name: signal.floor for signal in PROFILE.signals}


def ripple(level: float, deviation: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Ten minutes, twice a second, whose robust deviation is `deviation` wherever it is measured."""
    steps = np.tile([-1.0, 1.0, 0.0, 1.0, -1.0], SECONDS * 2 // 5)
    return level + steps * deviation / 1.4826


def tracks(
    *, loud: float = 0.0, lively: float = 0.0, at: int = 300, pitch: float = 0.6, sound: bool = True
) -> dict[str, Track]:
    """An even match but for ten seconds from `at`, `loud` and `lively` deviations above it."""
    peak = slice(2 * at, 2 * at + 20)
    crowd, motion = ripple(-33.0, 2.0), ripple(10 * FLOORS["motion-energy"], 2 * FLOORS["motion-energy"])
    if loud:
        crowd[peak] = -33.0 + 2.0 * loud
    if lively:
        motion[peak] = (10 + 2 * lively) * FLOORS["motion-energy"]
    made = {
        "crowd-excitement": make_track(crowd, 2, label="background"),
        "motion": make_track(motion, 2, label="energy"),
        "pitch-share": make_track([pitch] * SECONDS, 1, label="pitch"),
    }
    return made if sound else {name: track for name, track in made.items() if name != "crowd-excitement"}


def spotted(made: dict[str, Track]) -> tuple[Event, ...]:
    return spot(PROFILE, made, PAL, FRAMES, {})


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (tracks(), 0),
        (tracks(loud=1.7, lively=1.7), 1),
        (tracks(loud=1.4, lively=1.4), 0),
        (tracks(loud=2.2), 1),
        (tracks(loud=1.9), 0),
        (tracks(lively=20.0), 0),
        (tracks(loud=2.2, pitch=0.0), 0),
        (tracks(loud=3.6, pitch=0.0), 1),
        (tracks(lively=2.9, sound=False), 1),
        (tracks(lively=2.2, sound=False), 0),
        (tracks(lively=20.0, pitch=0.0, sound=False), 0),
    ],
)
def test_what_counts_as_a_highlight(made: dict[str, Track], expected: int) -> None:
    assert expected == len(spotted(made))


def test_the_event_lies_where_the_crowd_roared_and_the_edit_shows_the_build_up() -> None:
    (event,) = spotted(tracks(loud=6.0, lively=6.0))
    assert 298 <= event.start_frame / 25 <= event.anchor_s <= 302
    assert 308 <= event.end_frame / 25 <= 312
    assert ["crowd-background", "motion-energy", "off-pitch"] == [said.signal for said in event.evidence]
    assert 0.833333 == event.confidence
    (edit,) = make_edits([event], PROFILE.cut, PAL, FRAMES)
    assert (event.start_frame - 150, event.end_frame + 75) == (edit.source_in_frame, edit.source_out_frame)


def test_without_sound_no_event_looks_sure() -> None:
    (event,) = spotted(tracks(lively=20.0, sound=False))
    assert 0.1 == event.confidence


def test_the_picture_does_not_spot_alone_inside_a_gap_of_the_sound() -> None:
    made = tracks(loud=6.0, lively=6.0, at=100)
    before = spotted(made)
    made["crowd-excitement"].scores[600:640] = NAN
    made["motion"].scores[600:640] = made["motion"].scores.max() * 3
    assert 1 == len(before)
    assert before == spotted(made)
