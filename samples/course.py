"""The course of the match, simulated: who has the ball, what he does with it, where everybody runs.

Metres and axes as in world.py. The distributions, and where figures come from, stand in
docs/sample-match.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from samples.clock import TICKS_PER_S, draws, ticks
from samples.world import HALF_LENGTH, REFEREE, Outcome, Stoppage, Strike, World

Doubles = npt.NDArray[np.float64]

FIRST_SHOT_S, LAST_SHOT_S = 2, 14
"""Attacks begin at the earliest this long after the start, at the latest this long before the end."""

_BACKS = [[-49, 0], [-31, -22], [-34, -8], [-34, 8], [-31, 22]]
_FRONT = [[-12, -24], [-16, -8], [-16, 8], [-12, 24], [6, -9], [9, 8]]
_HOME = np.array(_BACKS + _FRONT, np.float64)
"""A 4-4-2, keeper first, of the team that attacks +x."""


_CHANCE = {Outcome.GOAL: 0.12, Outcome.SAVED: 0.25, Outcome.WIDE: 0.37, Outcome.BLOCKED: 0.26}
_DEAD_S = {Outcome.GOAL: (30, 50), Outcome.SAVED: (6, 14), Outcome.WIDE: (15, 28), Outcome.BLOCKED: (1.5, 3)}
"""Until play goes on, in a match of full length."""


def shots_expected(seconds: int) -> float:
    """3.5 in 90 s, growing with the square root of the length: 27 in 90 min."""
    return 3.5 * math.sqrt(seconds / 90)


def whole_number(mean: float, rng: np.random.Generator) -> int:
    """mean rounded down or up at random so that it is right on average."""
    return int(mean) + int(rng.random() < mean % 1)


def spread(count: int, start: float, end: float, rng: np.random.Generator) -> list[float]:
    """One time in each of `count` equal parts of [start, end), uniform within its part."""
    edges = np.linspace(start, end, count + 1)
    return [rng.uniform(a, b) for a, b in pairwise(edges.tolist())]


@dataclass
class _Flight:
    """The ball on its way; then `receiver` has it, or it lies dead until `resume`."""

    start: int
    end: int
    origin: Doubles
    target: Doubles
    apex: float
    receiver: int | None
    keeper: int | None = None
    """Who dives for it."""


@dataclass(frozen=True)
class _Restart:
    """Play goes on from `spot` once it is `tick` and `taker` is there; the ball lies there from `place`."""

    spot: tuple[float, float]
    taker: int
    place: int
    tick: int


@dataclass
class _Play:
    """The simulation's state. One call of step() is one tick."""

    seed: int
    total: int
    plan: list[tuple[int, str]]
    """Tick and kind ("shot", "attack", "foul") of what comes, in order."""
    dead_scale: float
    kick_off: bool
    rng: np.random.Generator = field(init=False)
    strikes: list[Strike] = field(default_factory=list)
    fouls: list[Stoppage] = field(default_factory=list)
    attacks: list[Stoppage] = field(default_factory=list)
    kick_offs: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = draws(self.seed, 2)
        self.pos = np.zeros((23, 2))
        self.vel = np.zeros((23, 2))
        self.phase = self.rng.uniform(0, 2 * np.pi, (23, 4))
        self.ball = np.zeros(3)
        self.team = int(self.rng.integers(2))
        self.holder: int | None = 11 * self.team + 9
        self.release = 15
        self.flight: _Flight | None = None
        self.restart: _Restart | None = None
        self.attack: tuple[str, int, float] | None = None
        self.last_pass = 0
        self.lure: tuple[Doubles, int, int] | None = None
        self.pos[:] = self._targets(0)
        if self.kick_off:
            self.kick_offs.append(0)
        else:
            self.ball[:2] = self.rng.normal(0, (14, 10))
        self.pos[11 * self.team + 9] = self.ball[:2]

    @property
    def direction(self) -> int:
        return 1 if self.team == 0 else -1

    def _targets(self, now: int) -> Doubles:
        """Where everybody wants to be (23, 2): the formation, shifted towards the ball."""
        out = np.empty((23, 2))
        bx, by = self.ball[0], self.ball[1]
        for team, sign in ((0, 1), (1, -1)):
            home = _HOME * (sign, sign)
            push = 7 if team == self.team else -4
            block = home + np.array((0.62 * bx + push * sign, 0.45 * by))
            block[0] = (-sign * (HALF_LENGTH - 4 - 3 * (abs(bx + sign * 52) > 60)), np.clip(0.16 * by, -3, 3))
            out[11 * team : 11 * team + 11] = block
        out[REFEREE] = (0.8 * bx - 6, 0.7 * by - 7)
        wander = np.sin(now / TICKS_PER_S * np.array((0.31, 0.17)) + self.phase[:, :2])
        out += wander * 2.2 + np.sin(now / TICKS_PER_S * 0.07 + self.phase[:, 2:]) * 2.5
        out[:, 0] = np.clip(out[:, 0], -50.5, 50.5)
        out[:, 1] = np.clip(out[:, 1], -33, 33)
        return out

    def _move(self, now: int) -> None:
        want = self._targets(now)
        gap = np.linalg.norm(self.pos[:22] - self.ball[:2], axis=1)
        for team in (0, 1):
            near = 11 * team + np.argsort(gap[11 * team + 1 : 11 * team + 11])[:2] + 1
            if self.restart is None and team != self.team:
                want[near[0]] = self.ball[:2] + (self.pos[near[0]] - self.ball[:2]) * 0.12
                want[near[1]] = want[near[1]] * 0.4 + self.ball[:2] * 0.6
        fast = np.full(23, 6.2)
        runner, spot = self.holder, self.ball[:2]
        if self.holder is not None and gap[self.holder] < 1.4:
            ahead = np.array([self.direction * (7.0 if self.attack else 2.5), 0.0])
            if self.attack:
                ahead[1] = -0.12 * self.pos[self.holder, 1]
            spot = self.pos[self.holder] + ahead
        if self.flight is not None and self.flight.receiver is not None:
            runner, spot = self.flight.receiver, self.flight.target[:2]
        if self.restart is not None:
            runner, spot = self.restart.taker, np.array(self.restart.spot)
        if self.lure is not None:
            place, team, until = self.lure
            crowd = slice(11 * team + 1, 11 * team + 11)
            want[crowd] = want[crowd] * 0.2 + place * 0.8 + self.phase[crowd, :2] - 3
            if now >= until:
                self.lure = None
        if runner is not None:
            want[runner] = spot
            fast[runner] = 6.6 if runner == self.holder else 8.5
        wish = (want - self.pos) / 0.9
        speed = np.linalg.norm(wish, axis=1)
        wish *= np.minimum(1, fast / np.maximum(speed, 1e-6))[:, None]
        self.vel += (wish - self.vel) * 0.22
        apart = self.pos[:, None] - self.pos[None]
        near = np.linalg.norm(apart, axis=2) + np.eye(23) * 9
        self.vel += (apart / near[..., None] * np.maximum(0, 1.3 - near)[..., None]).sum(1) * 1.5
        self.pos += self.vel / TICKS_PER_S

    def _fly(
        self, now: int, target: npt.ArrayLike, speed: float, apex: float, receiver: int | None
    ) -> _Flight:
        aim = np.asarray(target, np.float64)
        took = max(2, round(float(np.linalg.norm(aim[:2] - self.ball[:2])) / speed * TICKS_PER_S))
        self.flight = _Flight(now, now + took, self.ball.copy(), aim, apex, receiver)
        self.holder = None
        return self.flight

    def _pass(self, now: int) -> None:
        rng, team = self.rng, self.team
        self.last_pass = now
        mates = np.array([p for p in range(11 * team + 1, 11 * team + 11) if p != self.holder])
        if self.attack:
            wish = self.ball[:2] + np.array((self.direction * rng.uniform(10, 24), rng.uniform(-16, 16)))
            wish[0] = self.direction * min(self.direction * wish[0], 43)
        else:
            wish = np.clip(rng.normal(0, (15, 14)), (-30, -30), (30, 30))
        at = self.pos[mates]
        mate = int(mates[np.argmin(np.linalg.norm(at - wish, axis=1) + rng.exponential(4, len(mates)))])
        lead = self.pos[mate] + self.vel[mate] * 0.5
        target = lead * 0.45 + wish * 0.55 if self.attack else lead
        target = np.clip(target, (-49, -32), (49, 32))
        far = float(np.linalg.norm(target - self.ball[:2]))
        apex = rng.uniform(1.5, 5) if far > 24 or rng.random() < 0.15 else 0.0
        if not self.attack and rng.random() < 0.12:
            foes = np.arange(11 * (1 - team) + 1, 11 * (1 - team) + 11)
            mate = int(foes[np.argmin(np.linalg.norm(self.pos[foes] - target, axis=1))])
        self._fly(now, (*target, 0.0), rng.uniform(12, 19), apex, mate)

    def _strike(self, now: int) -> None:
        rng, side = self.rng, self.direction
        outcome = list(_CHANCE)[int(rng.choice(4, p=list(_CHANCE.values())))]
        shooter = self.holder if self.holder is not None else 11 * self.team + 10
        y, z, depth = rng.uniform(-3, 3), rng.uniform(0.2, 2.1), 1.4
        if outcome is Outcome.SAVED:
            depth = -1.2
        if outcome is Outcome.WIDE:
            y, z, depth = rng.choice((-1, 1)) * rng.uniform(4.3, 11), rng.uniform(0.2, 5), 5.5
        target = np.array([side * (HALF_LENGTH + depth), y, z])
        if outcome is Outcome.BLOCKED:
            target = self.ball + (target - self.ball) * rng.uniform(0.25, 0.5)
            target[2] = 0.5
        flight = self._fly(now, target, rng.uniform(19, 29), 0.3, None)
        pause = max(ticks(rng.uniform(*_DEAD_S[outcome]) * self.dead_scale), 10)
        resume = flight.end + pause
        self.strikes.append(Strike(now, flight.end, self.last_pass, side, shooter, outcome, resume))
        other = 11 * (1 - self.team)
        spot, taker, place = (side * 47.0, float(rng.choice((-5, 5)))), other, flight.end + pause // 2
        if outcome is Outcome.GOAL:
            spot, taker = (0.0, 0.0), other + 9
        elif outcome is Outcome.SAVED:
            spot, place = (side * 49.0, y), flight.end + 4
        elif outcome is Outcome.BLOCKED:
            spot, place = (float(target[0]), float(target[1])), flight.end
            taker = int(np.argmin(np.linalg.norm(self.pos[1:22] - target[:2], axis=1))) + 1
        self.restart = _Restart(spot, taker, place, resume)
        if outcome is Outcome.SAVED:
            flight.keeper = other
        if outcome is Outcome.GOAL:
            corner = np.array([side * 47.0, (30.0 if y > 0 else -30.0)])
            self.lure = (corner, self.team, min(resume - 10, now + ticks(rng.uniform(7, 14))))
        self.attack = None

    def _lose(self, now: int, began: int) -> None:
        """An attack ends without a shot: a defender takes the ball and clears it."""
        foes = np.arange(11 * (1 - self.team) + 1, 11 * (1 - self.team) + 11)
        foe = int(foes[np.argmin(np.linalg.norm(self.pos[foes] - self.ball[:2], axis=1))])
        self.attacks.append(Stoppage("attack", began, now + 20, foe, self.direction))
        self.team = 1 - self.team
        self.attack = None
        spot = (self.rng.normal(0, 12), self.rng.uniform(-25, 25), 0.0)
        self._fly(now, spot, 20, 7, 11 * self.team + 9)

    def _foul(self, now: int) -> None:
        resume = now + max(ticks(self.rng.uniform(12, 26) * self.dead_scale), 30)
        by = int(self.holder or 0)
        self.fouls.append(Stoppage("foul", now, resume, by, int(np.sign(self.ball[0])) or 1))
        self.restart = _Restart((float(self.ball[0]), float(self.ball[1])), by, now, resume)
        self.holder = None

    def _resume(self, now: int, restart: _Restart) -> None:
        """The ball lies at its spot; the taker has it once he has come and the time is over."""
        if now >= restart.place:
            self.ball[:] = (*restart.spot, 0.11)
        near = float(np.hypot(*(self.pos[restart.taker] - restart.spot))) < 1.2
        if now >= restart.tick and (near or now > restart.tick + 80):
            self.holder, self.team, self.restart = restart.taker, restart.taker // 11, None
            self.release = now + 6
            if self.strikes and self.strikes[-1].outcome is Outcome.GOAL and restart.spot == (0.0, 0.0):
                self.kick_offs.append(now)

    def _decide(self, now: int) -> None:
        """The holder keeps the ball, passes, shoots or loses it."""
        if self.attack is None and self.plan and now >= self.plan[0][0]:
            due, kind = self.plan.pop(0)
            if kind != "shot" and now > due + 40:
                return None
            if kind == "foul":
                return self._foul(now)
            self.attack = (kind, now, float(np.clip(self.rng.lognormal(np.log(16), 0.35), 7, 28)))
            self.release = now + 5
        if self.attack is not None:
            kind, began, reach = self.attack
            far = float(np.hypot(self.direction * HALF_LENGTH - self.ball[0], self.ball[1]))
            if kind == "shot" and (far < reach or (now - began > 160 and far < 34)) and now < self.total - 30:
                return self._strike(now)
            if kind == "attack" and (far < reach + 8 or now - began > 160):
                return self._lose(now, began)
        if now >= self.release:
            self._pass(now)
        return None

    def _land(self, now: int, flight: _Flight) -> None:
        self.flight = None
        if flight.receiver is not None:
            self.holder, self.team = flight.receiver, flight.receiver // 11
            hold = self.rng.uniform(0.4, 1.3) if self.attack else self.rng.gamma(2, 0.9)
            self.release = now + max(2, ticks(hold))

    def step(self, now: int) -> None:
        flight = self.flight
        if flight is not None:
            part = min(1.0, (now - flight.start) / (flight.end - flight.start))
            self.ball[:] = flight.origin + (flight.target - flight.origin) * part
            self.ball[2] += 4 * flight.apex * part * (1 - part)
            if flight.keeper is not None:
                self.pos[flight.keeper] += (flight.target[:2] - self.pos[flight.keeper]) * 0.2
            if now >= flight.end:
                self._land(now, flight)
        elif self.restart is not None:
            self.ball[2] = max(0.11, self.ball[2] - 0.3)
            self._resume(now, self.restart)
        elif self.holder is not None:
            gap = self.pos[self.holder] + (self.direction * 0.7, 0.0) - self.ball[:2]
            self.ball[2] = 0.11
            if np.hypot(*gap) < 2:
                self.ball[:2] += gap * 0.6
                self._decide(now)
        self._move(now)


def play(seed: int, seconds: int) -> World:
    """Simulate the match of this seed: `seconds` long, the same for every size and rate."""
    rng = draws(seed, 1)
    total = seconds * TICKS_PER_S
    mean = shots_expected(seconds)
    kinds = {"shot": 1.0, "attack": 0.6, "foul": 0.6}
    plan = [
        (ticks(when), kind)
        for kind, share in kinds.items()
        for when in spread(whole_number(mean * share, rng), FIRST_SHOT_S, seconds - LAST_SHOT_S, rng)
    ]
    dead_scale = float(np.clip(seconds / mean / 90, 0.25, 1))
    state = _Play(seed, total, sorted(plan), dead_scale, kick_off=seconds >= 2700)
    players = np.empty((total + 1, REFEREE + 1, 2), np.float32)
    ball = np.empty((total + 1, 3), np.float32)
    for now in range(total + 1):
        state.step(now)
        players[now], ball[now] = state.pos, state.ball
    return World(
        players, ball, tuple(state.strikes), tuple(state.fouls), tuple(state.attacks), tuple(state.kick_offs)
    )
