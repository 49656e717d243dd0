"""What happened on the pitch: 22 players, a referee and a ball, tick by tick.

Metres; the origin is the centre spot, x runs along the touchline in [-52.5, 52.5], y towards the far
side in [-34, 34], z up. Team 0 attacks +x.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from samples.clock import TICKS_PER_S

Floats = npt.NDArray[np.float32]

HALF_LENGTH, HALF_WIDTH = 52.5, 34.0
GOAL_HALF_WIDTH, GOAL_HEIGHT = 3.66, 2.44
REFEREE = 22


class Outcome(StrEnum):
    GOAL = "goal"
    SAVED = "saved"
    WIDE = "wide"
    BLOCKED = "blocked"


@dataclass(frozen=True)
class Strike:
    """A shot: the ball is struck at goal at `tick`, and the play is decided at `end_tick`."""

    tick: int
    end_tick: int
    move_tick: int
    """When the last pass before it was played."""
    side: int
    """+1 or -1: the goal, at x = side * 52.5."""
    shooter: int
    outcome: Outcome
    resume_tick: int


@dataclass(frozen=True)
class Stoppage:
    """Half-open span of ticks in which something other than a shot happens."""

    kind: str
    start_tick: int
    end_tick: int
    player: int
    side: int


@dataclass(frozen=True)
class World:
    """Positions by tick: players float32 (ticks, 23, 2), ball float32 (ticks, 3), and what they did."""

    players: Floats
    ball: Floats
    strikes: tuple[Strike, ...]
    fouls: tuple[Stoppage, ...]
    attacks: tuple[Stoppage, ...]
    """Attacks that end without a shot."""
    kick_offs: tuple[int, ...]

    def at(self, tick: float) -> tuple[Floats, Floats, Floats]:
        """Players (23, 2), their velocities in m/s (23, 2) and the ball (3,), between ticks by a line."""
        last = len(self.ball) - 1
        low = min(max(int(tick), 0), last - 1)
        part = np.float32(min(max(tick - low, 0.0), 1.0))
        step = self.players[low + 1] - self.players[low]
        ball = self.ball[low] + (self.ball[low + 1] - self.ball[low]) * part
        return self.players[low] + step * part, step * np.float32(TICKS_PER_S), ball
