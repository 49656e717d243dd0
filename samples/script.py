"""The script of the broadcast: what the cameras show when, and what is heard (pure, seeded).

Everything is in ticks (clock.py); frames come in with the rate. The distributions stand in
docs/sample-match.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from samples.clock import TICKS_PER_S, draws, ticks
from samples.course import play, shots_expected, spread, whole_number
from samples.world import REFEREE, Outcome, Strike, World

Camera = Literal["main", "behind", "low", "player", "crowd", "bench"]
CALM_BEFORE_S = 5
"""The main camera is on this long before a ball is struck, as the director saw the attack coming."""
CUT_EVERY_S = 20
"""Mean time between cuts to something else that no action calls for."""


@dataclass(frozen=True)
class Take:
    """What one camera shows in [start_tick, end_tick): the world from `world_tick` on, at `speed`."""

    start_tick: int
    end_tick: int
    camera: Camera
    world_tick: float
    speed: float = 1.0
    side: int = 1
    subject: int = 0
    """Whom a close-up shows; what its own draws hang on."""
    excited: float = 0.0
    wipe: bool = False
    """The take begins under a wipe, not with a hard cut."""
    replay: bool = False


@dataclass(frozen=True)
class Swell:
    """The crowd rises to `strength` (0 to 1) within attack_s, holds, and falls by e each decay_s."""

    start_s: float
    strength: float
    attack_s: float
    hold_s: float
    decay_s: float
    kind: Literal["roar", "boo"] = "roar"


@dataclass(frozen=True)
class Chant:
    start_s: float
    end_s: float
    strength: float
    beats_hz: float


@dataclass(frozen=True)
class Whistle:
    start_s: float
    length_s: float
    pitch_hz: float


@dataclass(frozen=True)
class Speech:
    start_s: float
    end_s: float
    excited: float
    key: int


@dataclass(frozen=True)
class Quiet:
    start_s: float
    end_s: float
    drop_db: float


@dataclass(frozen=True)
class Decoy:
    kind: str
    start_tick: int
    end_tick: int


@dataclass(frozen=True)
class Score:
    """From this tick the score box shows these goals."""

    tick: int
    home: int
    away: int


@dataclass(frozen=True)
class Script:
    seed: int
    seconds: int
    world: World
    takes: tuple[Take, ...]
    """In order, without a hole, over the whole match."""
    reactions: tuple[float, ...]
    """Strength of the crowd's reaction, one per strike."""
    decoys: tuple[Decoy, ...]
    swells: tuple[Swell, ...]
    chants: tuple[Chant, ...]
    whistles: tuple[Whistle, ...]
    speech: tuple[Speech, ...]
    quiet: tuple[Quiet, ...]
    scores: tuple[Score, ...]
    clock_from_s: int
    """What the match clock shows at the start."""


_REACTION = {Outcome.GOAL: (8, 1.5), Outcome.SAVED: (4, 3), Outcome.WIDE: (3, 3), Outcome.BLOCKED: (2, 4)}
_CLOSE_UP = {Outcome.GOAL: 1.0, Outcome.SAVED: 0.7, Outcome.WIDE: 0.65, Outcome.BLOCKED: 0.25}
_REPLAY = {Outcome.GOAL: 1.0, Outcome.SAVED: 0.7, Outcome.WIDE: 0.6, Outcome.BLOCKED: 0.4}


class _Desk:
    """The director: puts takes where the main camera may be left."""

    def __init__(self, world: World, total: int) -> None:
        self.busy = [(s.tick - CALM_BEFORE_S * TICKS_PER_S, s.end_tick + 8) for s in world.strikes]
        self.total = total
        self.takes: list[Take] = []

    def room(self, start: int, end: int) -> int:
        """The end, cut back so that [start, end) is free; at most `start` where nothing is."""
        for low, high in self.busy:
            if start < high and end > low:
                end = low
        return min(end, self.total - 5)

    def put(self, take: Take, least_s: float = 1.5) -> bool:
        end = self.room(take.start_tick, take.end_tick)
        if end - take.start_tick < least_s * TICKS_PER_S:
            return False
        self.takes.append(Take(**{**take.__dict__, "end_tick": end}))
        self.busy.append((take.start_tick, end))
        return True

    def cover(self) -> tuple[Take, ...]:
        """All takes in order, the main camera between them; it never blinks for less than a second."""
        out: list[Take] = []
        now = 0
        for take in sorted(self.takes, key=lambda take: take.start_tick):
            if take.start_tick - now >= TICKS_PER_S:
                wipe = bool(out) and out[-1].wipe and out[-1].replay
                out.append(Take(now, take.start_tick, "main", now, wipe=wipe))
            elif out:
                take = Take(**{**take.__dict__, "start_tick": now, "world_tick": _world_tick(take, now)})
            out.append(take)
            now = take.end_tick
        out.append(Take(now, self.total, "main", now, wipe=bool(out) and out[-1].wipe and out[-1].replay))
        return tuple(out)


def _world_tick(take: Take, start: int) -> float:
    return take.world_tick if take.replay else float(start)


def _aftermath(desk: _Desk, strike: Strike, strength: float, rng: np.random.Generator) -> None:
    """A close-up, perhaps the crowd, then a replay or two."""
    now = strike.end_tick + ticks(rng.uniform(0.8, 3))
    if rng.random() < _CLOSE_UP[strike.outcome]:
        kinds: list[tuple[Camera, float]] = [("player", rng.uniform(2, 5))]
        if strike.outcome is Outcome.GOAL or rng.random() < 0.25:
            kinds.append(("crowd", rng.uniform(1.8, 3.5)))
        for camera, length in kinds:
            end = now + ticks(length)
            if not desk.put(Take(now, end, camera, now, 1, strike.side, strike.shooter, strength)):
                return
            now = end
        if rng.random() < _REPLAY[strike.outcome]:
            wipe = bool(rng.random() < 0.4)
            camera = "behind" if rng.random() < 0.5 else "low"
            for _ in range(2 if strike.outcome is Outcome.GOAL and rng.random() < 0.6 else 1):
                speed, first = float(rng.uniform(0.35, 0.65)), strike.tick - ticks(rng.uniform(1.2, 2.4))
                end = now + round((strike.end_tick + 12 - first) / speed)
                take = Take(now, end, camera, first, speed, strike.side, strike.shooter, 0, wipe, replay=True)
                if not desk.put(take, least_s=4):
                    return
                now, camera = end, ("low" if camera == "behind" else "behind")


def _reaction(strike: Strike, rng: np.random.Generator) -> tuple[float, Swell]:
    strength = float(rng.beta(*_REACTION[strike.outcome]))
    if strike.side < 0:
        strength *= rng.uniform(0.4, 0.9)
    if rng.random() < 0.12:
        strength *= 0.2
    goal = strike.outcome is Outcome.GOAL
    start = strike.tick / TICKS_PER_S + float(rng.lognormal(np.log(0.5), 0.4))
    hold, decay = (
        (rng.uniform(6, 12), rng.uniform(5, 10)) if goal else (rng.uniform(0.5, 1.5), rng.uniform(1.2, 3.5))
    )
    return strength, Swell(start, strength, rng.uniform(0.25, 0.7), hold, decay)


def _speech(
    seconds: int, world: World, reactions: list[float], quiet: list[Quiet], seed: int
) -> list[Speech]:
    """Talk and pauses by turns; a commentator is carried away by a shot, now and then by nothing."""
    rng = draws(seed, 5)
    out: list[Speech] = []
    now = float(rng.exponential(2))
    while now < seconds:
        end = now + 0.8 + float(rng.gamma(2, 2.2))
        excited = float(rng.beta(1.5, 6)) if rng.random() > 0.04 else float(rng.uniform(0.5, 0.9))
        for strike, strength in zip(world.strikes, reactions, strict=True):
            since = now - strike.tick / TICKS_PER_S
            if -1.5 < since < 6:
                excited = max(excited, strength * float(rng.uniform(0.5, 1.2)) * (1 - max(since, 0) / 12))
        if excited > 0.4 or not any(q.start_s - 1 < end and now < q.end_s for q in quiet):
            out.append(Speech(now, end, min(excited, 1.0), len(out)))
        now = end + 0.3 + float(rng.exponential(1.8))
    return out


def write_script(seed: int, seconds: int) -> Script:
    """The script of a match of `seconds` (30 to 5400): a function of the two and of nothing else.

    Raises ValueError outside these lengths.
    """
    if not 30 <= seconds <= 5400:
        raise ValueError(f"a sample match lasts 30 s to 90 min, not {seconds} s")
    world, rng, total = play(seed, seconds), draws(seed, 3), seconds * TICKS_PER_S
    desk, mean = _Desk(world, total), shots_expected(seconds)
    decoys = [Decoy(a.kind, a.start_tick, a.end_tick) for a in (*world.attacks, *world.fouls)]
    swells: list[Swell] = []
    reactions: list[float] = []
    whistles = [
        Whistle(tick / TICKS_PER_S, rng.uniform(0.5, 1), rng.uniform(3300, 3900)) for tick in world.kick_offs
    ]
    goals, scores = [int(rng.integers(0, 3)), int(rng.integers(0, 3))], []
    if seconds >= 2700:
        goals = [0, 0]
    scores.append(Score(0, goals[0], goals[1]))
    for strike in world.strikes:
        strength, swell = _reaction(strike, rng)
        reactions.append(strength)
        swells.append(swell)
        _aftermath(desk, strike, strength, rng)
        if strike.outcome is Outcome.GOAL:
            whistles.append(
                Whistle(strike.end_tick / TICKS_PER_S + rng.uniform(0.8, 2), 0.9, rng.uniform(3300, 3900))
            )
            goals[strike.side < 0] += 1
            scores.append(Score(strike.end_tick + ticks(rng.uniform(3, 9)), goals[0], goals[1]))
    for foul in world.fouls:
        at = foul.start_tick / TICKS_PER_S + rng.uniform(0.2, 0.9)
        whistles.append(Whistle(at, rng.uniform(0.25, 0.9), rng.uniform(3300, 3900)))
        if rng.random() < 0.7:
            strength = rng.uniform(0.15, 0.75)
            swells.append(
                Swell(
                    at + rng.uniform(0.2, 0.8), strength, rng.uniform(0.4, 1), 1, rng.uniform(1.5, 4), "boo"
                )
            )
        if rng.random() < 0.6:
            start = foul.start_tick + ticks(rng.uniform(1, 3))
            who = REFEREE if rng.random() < 0.3 else foul.player
            desk.put(Take(start, start + ticks(rng.uniform(2, 4.5)), "player", start, 1, foul.side, who, 0.1))
    swells += [
        Swell((attack.end_tick - 18) / TICKS_PER_S, rng.uniform(0.1, 0.6), 0.6, 0.6, 2)
        for attack in world.attacks
        if rng.random() < 0.6
    ]
    for when in spread(whole_number(seconds / CUT_EVERY_S, rng), 3, seconds - 5, rng):
        cameras: tuple[Camera, ...] = ("player", "bench", "crowd")
        camera = cameras[int(rng.choice(3, p=(0.6, 0.2, 0.2)))]
        start, subject = ticks(when), int(rng.integers(22))
        if desk.put(Take(start, start + ticks(rng.uniform(2, 5)), camera, start, 1, 1, subject, 0.0)):
            decoys.append(Decoy("cut", start, desk.takes[-1].end_tick))
    chants = [
        Chant(when, when + rng.uniform(6, 15), rng.uniform(0.3, 0.8), rng.uniform(1.6, 2.4))
        for when in spread(whole_number(mean * 0.4, rng), 0, seconds - 6, rng)
    ]
    quiet = [
        Quiet(when, when + rng.uniform(5, 12), rng.uniform(5, 10))
        for when in spread(whole_number(mean * 0.4, rng), 0, seconds - 8, rng)
    ]
    for when in spread(whole_number(mean * 0.3, rng), 2, seconds - 4, rng):
        swells.append(
            Swell(
                when,
                rng.uniform(0.35, 0.95),
                rng.uniform(0.25, 0.7),
                rng.uniform(0.5, 2),
                rng.uniform(1.5, 4),
            )
        )
        decoys.append(Decoy("roar", ticks(when), ticks(when + 3)))
    for when in spread(whole_number(mean * 0.25, rng), 2, seconds - 2, rng):
        whistles.append(Whistle(when, rng.uniform(0.2, 0.8), rng.uniform(3300, 3900)))
        decoys.append(Decoy("whistle", ticks(when), ticks(when + 1)))
    decoys += [Decoy("chant", ticks(c.start_s), ticks(c.end_s)) for c in chants]
    speech = _speech(seconds, world, reactions, quiet, seed)
    return Script(
        seed=seed,
        seconds=seconds,
        world=world,
        takes=desk.cover(),
        reactions=tuple(reactions),
        decoys=_without_shots(decoys, world, total),
        swells=tuple(swells),
        chants=tuple(chants),
        whistles=tuple(whistles),
        speech=tuple(speech),
        quiet=tuple(quiet),
        scores=tuple(scores),
        clock_from_s=0 if seconds >= 2700 else int(rng.integers(60, 85 * 60)),
    )


def _without_shots(decoys: list[Decoy], world: World, total: int) -> tuple[Decoy, ...]:
    """Only what is a decoy: a span in the match in which no ball is struck at goal."""
    kept = [
        Decoy(d.kind, d.start_tick, min(d.end_tick, total))
        for d in decoys
        if d.start_tick < total and not any(d.start_tick <= s.tick < d.end_tick for s in world.strikes)
    ]
    return tuple(sorted(kept, key=lambda d: (d.start_tick, d.kind)))
