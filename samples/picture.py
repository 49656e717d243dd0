"""The pictures of the broadcast: frame k of a script, at any size and rate.

A frame is a function of (script, size, rate, number) alone, so frames can be made in any order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from samples.clock import TICKS_PER_S, draws, frame_at, frames_in, tick_of, wipe_half_frames
from samples.figures import Look, bust, draw_people, fan, looks, paste
from samples.script import Script, Take
from samples.stadium import Picture, View, draw_goal, panorama
from samples.world import Floats, World

_GRAIN = 4
"""Peak of the sensor noise, in 8-bit levels, on either side."""


def follow(world: World) -> Floats:
    """The main camera's operator: aim x, aim y (m) and focal length over picture width, (ticks, 3).

    A critically damped spring pulls the camera after the ball (1.7 rad/s, zoom 0.9 rad/s), so that
    it is late when the ball is hit hard.
    """
    x, y = world.ball[:, 0], world.ball[:, 1]
    near = np.clip((np.abs(x) - 20) / 22, 0, 1)
    want = np.column_stack([np.clip(x, -43, 43), -4 + 0.3 * np.clip(y, -34, 34), 1.5 + 0.5 * near])
    stiff = np.array((1.7, 1.7, 0.9))
    out = np.empty(want.shape, np.float32)
    at, speed = want[0].astype(np.float64), np.zeros(3)
    for k, goal in enumerate(want):
        speed += ((goal - at) * stiff**2 - 2 * stiff * speed) / TICKS_PER_S
        at = at + speed / TICKS_PER_S
        out[k] = at
    return out


class Broadcast:
    """The frames of one script: uint8 BGR (height, width, 3).

    Raises ValueError where width or height is odd or below 64 (4:2:0 needs even sizes).
    """

    def __init__(self, script: Script, width: int, height: int, rate: Fraction) -> None:
        if width % 2 or height % 2 or min(width, height) < 64:
            raise ValueError(f"{width}x{height}: width and height must be even, and at least 64")
        self.script, self.width, self.height, self.rate = script, width, height, rate
        self.frames = frames_in(script.seconds, rate)
        self.starts = [frame_at(take.start_tick, rate) for take in script.takes]
        self.operator = follow(script.world)
        self.looks = looks(script.seed)
        steps = np.linalg.norm(
            np.diff(script.world.players, axis=0, prepend=script.world.players[:1]), axis=2
        )
        self.walked_m = np.cumsum(steps, axis=0, dtype=np.float64).astype(np.float32)
        noise = draws(script.seed, 12).normal(0, 1.2, (height + 64, width + 64, 1))
        self.grain = np.repeat(np.clip(noise + _GRAIN, 0, 2 * _GRAIN).round().astype(np.uint8), 3, axis=2)
        self.mean_grain = np.full((height, width, 3), _GRAIN, np.uint8)
        self._panorama = lru_cache(maxsize=3)(self._draw_panorama)
        self._close_up = lru_cache(maxsize=2)(self._draw_close_up)
        self._score_box = lru_cache(maxsize=4)(self._draw_score_box)

    def __iter__(self) -> Iterator[Picture]:
        return (self.frame(k) for k in range(self.frames))

    def take_at(self, frame: int) -> int:
        return bisect_right(self.starts, frame) - 1

    def frame(self, frame: int) -> Picture:
        """Frame `frame` of [0, frames)."""
        index = self.take_at(frame)
        take = self.script.takes[index]
        now = tick_of(frame, self.rate)
        if take.camera in ("main", "behind", "low"):
            canvas = self._pitch(take, take.world_tick + float(now - take.start_tick) * take.speed)
        else:
            canvas = self._close(index, take, float(now - take.start_tick) / TICKS_PER_S)
        dx, dy = (frame * 29) % 61, (frame * 17) % 59
        grain = self.grain[dy : dy + self.height, dx : dx + self.width]
        canvas = np.asarray(cv2.subtract(cv2.add(canvas, grain), self.mean_grain), np.uint8)
        self._overlay(canvas, take, frame, int(now))
        self._wipe(canvas, index, frame)
        return canvas

    # ------------------------------------------------------------ the pitch

    def _wide(self, camera: str, side: int) -> View:
        """The view whose panorama holds everything this camera can see."""
        w = self.width
        if camera == "main":
            return View((0, -84, 27), (0, -4, 0), 1.75 * w, int(3.9 * w), int(1.3 * w))
        if camera == "behind":
            return View((side * 76.0, -11, 9.5), (0, 0, 2), 1.3 * w, int(3.0 * w), int(1.2 * w))
        return View((side * 33.0, -47, 6.0), (side * 44.0, 0, 2), 1.5 * w, int(3.2 * w), int(1.2 * w))

    def _draw_panorama(self, camera: str, side: int) -> Picture:
        return panorama(
            self._wide(camera, side),
            self.script.seed,
            self.looks[1].shirt,
            (-side,) if camera == "behind" else (-1, 1),
        )

    def _view(self, take: Take, tick: float) -> View:
        if take.camera == "main":
            low = min(int(tick), len(self.operator) - 2)
            x, y, zoom = (float(v) for v in _mix(self.operator, low, tick))
            return View((0, -84, 27), (x, y, 0), zoom * self.width, self.width, self.height)
        ball = self.script.world.ball
        low = max(0, min(int(tick), len(ball) - 2))
        path = np.stack([ball[max(0, low - 6) : low + 7].mean(0), ball[max(0, low - 5) : low + 8].mean(0)])
        x, y, _ = (float(v) for v in _mix(path, 0, tick - low))
        wide = self._wide(take.camera, take.side)
        aim = (0.55 * x + 0.45 * take.side * 48, y * 0.7, 0.8)
        zoom = float(np.linalg.norm(np.subtract(aim, wide.eye))) / (27 if take.camera == "low" else 30)
        return View(wide.eye, aim, zoom * self.width, self.width, self.height)

    def _pitch(self, take: Take, tick: float) -> Picture:
        view, side = self._view(take, tick), 1 if take.camera == "main" else take.side
        warp = view.from_view(self._wide(take.camera, side))
        canvas = cv2.warpPerspective(
            self._panorama(take.camera, side),
            warp,
            (self.width, self.height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        people, velocity, ball = self.script.world.at(tick)
        low = max(0, min(int(tick), len(self.walked_m) - 2))
        walked = _mix(self.walked_m, low, tick)
        picture = np.asarray(canvas, np.uint8)
        draw_people(picture, view, people, velocity, walked, ball, self.looks)
        if take.camera == "behind":
            draw_goal(picture, view, take.side)
        return picture

    # ------------------------------------------------------------ close-ups

    def _draw_close_up(self, index: int) -> tuple[Picture, list[tuple[Picture, float, float, float]]]:
        """Background (a tenth larger than the picture) and busts: sprite, x, y of its middle, phase."""
        take, rng = self.script.takes[index], draws(self.script.seed, 13, index)
        wide = self._wide("main", 1)
        crop_w, crop_h = self.width // 3, self.height // 3
        (mark,), _ = wide.project([(float(rng.uniform(-35, 35)), 38.5, 1.0)])
        left, top = int(mark[0]) - crop_w // 2, int(mark[1]) - round(crop_h * rng.uniform(0.35, 0.75))
        part = self._panorama("main", 1)[top : top + crop_h, left : left + crop_w]
        size = (int(self.width * 1.1), int(self.height * 1.1))
        large = cv2.resize(part, size, interpolation=cv2.INTER_CUBIC)
        if take.camera in ("bench", "crowd"):
            large = cv2.convertScaleAbs(large, alpha=0.5 if take.camera == "bench" else 0.25)
        back = np.asarray(cv2.GaussianBlur(large, (0, 0), self.width / 70), np.uint8)
        cheer = take.excited > 0.45
        if take.camera == "crowd":
            return back, self._stand(rng, cheer)
        look, number = self.looks[take.subject], take.subject % 11 + 1
        if take.camera == "bench":
            look = Look((48, 40, 36), (48, 40, 36), (48, 40, 36), look.skin, (150, 150, 150))
        size_px = int(self.height * rng.uniform(0.95, 1.3))
        sprite = bust(size_px, look, None if take.camera == "bench" else number, cheer)
        return back, [(sprite, self.width * rng.uniform(0.4, 0.6), self.height - size_px * 0.36, 0.0)]

    def _stand(self, rng: np.random.Generator, cheer: bool) -> list[tuple[Picture, float, float, float]]:
        """Six rows of fans, the far ones first, a few faces used more than once."""
        home = self.looks[1].shirt
        faces = [fan(rng, home) for _ in range(9)]
        out = []
        for row in range(6):
            size = int(self.height * (0.3 + 0.05 * row))
            sprites = [bust(size, look, None, cheer and rng.random() < 0.7) for look in faces]
            gap = size * 0.6
            for seat in range(int(self.width / gap) + 2):
                x = (seat - 0.5) * gap + rng.uniform(-0.12, 0.12) * size
                y = self.height * (0.02 + 0.2 * row) + rng.uniform(-0.05, 0.05) * size
                out.append((sprites[int(rng.integers(9))], x, y, float(rng.uniform(0, 6.28))))
        return out

    def _close(self, index: int, take: Take, since_s: float) -> Picture:
        back, people = self._close_up(index)
        excited = take.excited > 0.45
        sway = np.array((np.sin(since_s * 0.9), np.sin(since_s * 1.3 + 1))) * (0.012, 0.008) * self.width
        margin = (np.array((back.shape[1] - self.width, back.shape[0] - self.height)) / 2 + sway).astype(int)
        x, y = np.clip(margin, 0, (back.shape[1] - self.width, back.shape[0] - self.height))
        canvas = back[y : y + self.height, x : x + self.width].copy()
        for sprite, middle, centre, phase in people:
            bounce = abs(np.sin(since_s * 5.2 + phase)) if excited else 0.15 * np.sin(since_s * 1.7 + phase)
            left = (
                middle
                - sprite.shape[1] / 2
                - sway[0] * 1.6
                + 0.01 * self.width * np.sin(since_s * 2.1 + phase)
            )
            top = centre - sprite.shape[0] / 2 - bounce * 0.12 * sprite.shape[0] - sway[1]
            paste(canvas, sprite, round(float(left)), round(float(top)))
        return canvas

    # ------------------------------------------------------------ graphics

    def _draw_score_box(self, clock_s: int, home: int, away: int) -> Picture:
        u = max(6, self.height // 24)
        box = np.zeros((2 * u, 15 * u, 3), np.uint8)
        box[:] = (58, 30, 18)
        box[:, 5 * u : 8 * u] = (236, 236, 236)
        box[:, 11 * u :] = (30, 30, 30)
        box[-max(1, u // 5) :, : 5 * u] = self.looks[1].shirt
        box[-max(1, u // 5) :, 8 * u : 11 * u] = self.looks[12].shirt
        texts = (
            ("NOR", 1.6, (255, 255, 255)),
            (f"{home}-{away}", 5.3, (20, 20, 20)),
            ("OST", 8.3, (255, 255, 255)),
        )
        for text, x, ink in (*texts, (f"{clock_s // 60:02d}:{clock_s % 60:02d}", 11.2, (255, 255, 255))):
            at = (int(x * u), int(1.45 * u))
            cv2.putText(box, text, at, cv2.FONT_HERSHEY_DUPLEX, u / 24, ink, max(1, u // 16), cv2.LINE_AA)
        return box

    def _overlay(self, canvas: Picture, take: Take, frame: int, tick: int) -> None:
        u = max(6, self.height // 24)
        if take.replay:
            at = (self.width - 7 * u, 2 * u)
            cv2.putText(
                canvas, "REPLAY", at, cv2.FONT_HERSHEY_DUPLEX, u / 20, (240, 240, 240), 1, cv2.LINE_AA
            )
            return
        score = [s for s in self.script.scores if s.tick <= tick][-1]
        second = self.script.clock_from_s + int(Fraction(frame) / self.rate)
        box = self._score_box(second, score.home, score.away)
        room = canvas[u : u + box.shape[0], u : u + box.shape[1]]
        cv2.addWeighted(box[: room.shape[0], : room.shape[1]], 0.88, room, 0.12, 0, room)

    def _wipe(self, canvas: Picture, index: int, frame: int) -> None:
        """A band with a badge sweeps over the picture; the take changes while all is covered."""
        for near in (index, index + 1):
            if near < len(self.starts) and self.script.takes[near].wipe:
                half = wipe_half_frames(self.rate)
                part = (frame - self.starts[near] + half + 0.5) / (2 * half)
                if 0 <= part < 1:
                    low, high = max(0.0, 2.3 * part - 1.3) * self.width, min(1.0, 2.3 * part) * self.width
                    lean, middle = self.height // 4, (int((low + high) / 2), self.height // 2)
                    band = np.array(
                        [(low, 0), (high + lean, 0), (high, self.height), (low - lean, self.height)]
                    )
                    cv2.fillConvexPoly(canvas, band.round().astype(np.int32), (96, 44, 20), cv2.LINE_AA)
                    cv2.circle(canvas, middle, self.height // 5, (60, 200, 235), -1, cv2.LINE_AA)


def _mix(rows: npt.NDArray[np.float32], low: int, at: float) -> Floats:
    part = np.float32(min(max(at - low, 0.0), 1.0))
    return np.asarray(rows[low] + (rows[low + 1] - rows[low]) * part, np.float32)
