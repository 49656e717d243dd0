"""The truth file: what happens in a sample match, frame by frame."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

from samples.clock import frame_at, frames_in, wipe_half_frames
from samples.script import Script
from shared.contracts import Contract, Rate

GENERATOR_VERSION = "1"
"""Raised whenever the same seed gives another match."""
DEFAULT_SEED = 17
"""The lowest seed from 1 whose 90 s hold 3 or 4 shots, a goal, a replay and all six kinds of decoy."""


class Parameters(Contract):
    seconds: int
    width: int
    height: int
    timecode: str | None = None
    """Of frame 0, as embedded."""
    bitrate: str | None = None
    """As the encoder was told, None for constant quality."""


class TrueEvent(Contract):
    """A shot at goal. anchor_frame is the first frame that shows the ball struck."""

    label: Literal["shot"] = "shot"
    anchor_frame: int
    start_frame: int
    """The last pass before it."""
    end_frame: int
    """The ball is in the net, in the keeper's hands, out, or blocked."""
    outcome: str
    reaction: float
    """Strength of the crowd's reaction, 0 (nothing to hear) to 1."""


class TrueDecoy(Contract):
    """Something that may look or sound like an action in [start_frame, end_frame), with no shot in it."""

    kind: Literal["attack", "chant", "cut", "foul", "roar", "whistle"]
    start_frame: int
    end_frame: int


class Transition(Contract):
    """A change of camera: `frame` is the first that shows the new one; what is under way in [start, end)."""

    kind: Literal["cut", "wipe"]
    frame: int
    start_frame: int
    end_frame: int
    replay: bool
    """What begins is a replay."""


class Truth(Contract):
    """OUT.truth.json."""

    schema_version: Literal[1] = 1
    generator_version: str
    seed: int
    parameters: Parameters
    rate: Rate
    frames: int
    events: tuple[TrueEvent, ...]
    decoys: tuple[TrueDecoy, ...]
    shot_changes: tuple[int, ...]
    """Frames that begin a new camera shot: `frame` of each transition."""
    transitions: tuple[Transition, ...]


def truth_of(script: Script, rate: Fraction, parameters: Parameters) -> Truth:
    """The truth of a script at a rate."""
    frames, half = frames_in(script.seconds, rate), wipe_half_frames(rate)
    transitions = []
    for take in script.takes[1:]:
        frame = frame_at(take.start_tick, rate)
        low, high = (frame - half, frame + half) if take.wipe else (frame, frame + 1)
        transitions.append(
            Transition(
                kind="wipe" if take.wipe else "cut",
                frame=frame,
                start_frame=low,
                end_frame=high,
                replay=take.replay,
            )
        )
    return Truth(
        generator_version=GENERATOR_VERSION,
        seed=script.seed,
        parameters=parameters,
        rate=rate,
        frames=frames,
        events=tuple(
            TrueEvent(
                anchor_frame=frame_at(strike.tick, rate),
                start_frame=frame_at(strike.move_tick, rate),
                end_frame=frame_at(strike.end_tick, rate) + 1,
                outcome=strike.outcome.value,
                reaction=round(reaction, 3),
            )
            for strike, reaction in zip(script.world.strikes, script.reactions, strict=True)
        ),
        decoys=tuple(
            TrueDecoy.model_validate(
                {
                    "kind": decoy.kind,
                    "start_frame": frame_at(decoy.start_tick, rate),
                    "end_frame": min(frames, frame_at(decoy.end_tick, rate)),
                }
            )
            for decoy in script.decoys
        ),
        shot_changes=tuple(t.frame for t in transitions),
        transitions=tuple(transitions),
    )
