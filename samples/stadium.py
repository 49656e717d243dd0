"""The ground, once and for all: what does not move, drawn as one panorama per camera position.

A camera that only turns and zooms sees its panorama through a homography, so a frame of the
stadium is a single warp. Metres and axes as in world.py; pictures are uint8 BGR.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from samples.clock import draws
from samples.world import GOAL_HALF_WIDTH, GOAL_HEIGHT, HALF_LENGTH, HALF_WIDTH

Picture = npt.NDArray[np.uint8]
Doubles = npt.NDArray[np.float64]
Colour = tuple[int, int, int]

SHIFT = 4
"""Fractional bits of the coordinates that OpenCV draws with."""
_BRANDS = ("NORDLICHT", "CASA VERDE", "MATCHCUT", "OSTWIND AIR", "KOBALT 7", "LUMEN BANK")


def fixed(points: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """Pixels (..., 2) as OpenCV's fixed point, clipped to what it can hold."""
    return np.asarray(np.clip(np.asarray(points) * (1 << SHIFT), -2e6, 2e6).round(), np.int32)


@dataclass(frozen=True)
class View:
    """A pinhole camera: at `eye` (metres), turned to `aim`, focal length in pixels, for width x height."""

    eye: tuple[float, float, float]
    aim: tuple[float, float, float]
    focal_px: float
    width: int
    height: int

    @cached_property
    def rotation(self) -> Doubles:
        """World to camera (3, 3): rows are right, down, forward."""
        forward = np.subtract(self.aim, self.eye).astype(np.float64)
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, (0, 0, 1))
        right /= np.linalg.norm(right)
        return np.array([right, np.cross(forward, right), forward])

    @cached_property
    def intrinsics(self) -> Doubles:
        f = self.focal_px
        return np.array([[f, 0, self.width / 2], [0, f, self.height / 2], [0, 0, 1.0]])

    def camera_space(self, points: npt.ArrayLike) -> Doubles:
        """World points (n, 3) as (right, down, depth) in metres (n, 3)."""
        return np.asarray((np.asarray(points, np.float64) - self.eye) @ self.rotation.T)

    def project(self, points: npt.ArrayLike) -> tuple[Doubles, Doubles]:
        """Pixels (n, 2) and depth in metres (n,); points behind the camera have depth <= 0."""
        seen = self.camera_space(points)
        depth = np.where(np.abs(seen[:, 2]) < 1e-6, 1e-6, seen[:, 2])
        return seen[:, :2] / depth[:, None] * self.focal_px + (self.width / 2, self.height / 2), seen[:, 2]

    def from_view(self, wide: View) -> Doubles:
        """Homography (3, 3) from this picture's pixels to those of another view from the same eye."""
        turn = wide.rotation @ self.rotation.T
        return np.asarray(wide.intrinsics @ turn @ np.linalg.inv(self.intrinsics))


@dataclass(frozen=True)
class _Plane:
    """A textured rectangle: pixel (u, v) of the texture lies at origin + u/w * across + v/h * down."""

    texture: Picture
    origin: tuple[float, float, float]
    across: tuple[float, float, float]
    down: tuple[float, float, float]


def _clip(corners: Doubles, near: float = 0.5) -> Doubles:
    """The part of a polygon in camera space (n, 3) that lies before the camera (Sutherland-Hodgman)."""
    out = []
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if a[2] >= near:
            out.append(a)
        if (a[2] < near) != (b[2] < near):
            out.append(a + (b - a) * (near - a[2]) / (b[2] - a[2]))
    return np.array(out).reshape(-1, 3)


def _paint(canvas: Picture, view: View, plane: _Plane) -> None:
    o, a, d = (np.array(v, np.float64) for v in (plane.origin, plane.across, plane.down))
    seen = _clip(view.camera_space([o, o + a, o + a + d, o + d]))
    if len(seen) < 3:
        return
    outline = seen[:, :2] / seen[:, 2:] * view.focal_px + (view.width / 2, view.height / 2)
    height, width = plane.texture.shape[:2]
    to_world = np.column_stack([a / width, d / height, o - np.array(view.eye)])
    warp = view.intrinsics @ view.rotation @ to_world
    size = np.array((view.width, view.height))
    low = np.clip(np.floor(outline.min(0)) - 1, 0, size).astype(int)
    high = np.clip(np.ceil(outline.max(0)) + 2, 0, size).astype(int)
    if (low >= high).any():
        return
    move = np.array([[1, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1.0]])
    room = canvas[low[1] : high[1], low[0] : high[0]]
    painted = cv2.warpPerspective(
        plane.texture, move @ warp, (room.shape[1], room.shape[0]), borderMode=cv2.BORDER_REPLICATE
    )
    mask = np.zeros(room.shape[:2], np.uint8)
    cv2.fillPoly(mask, [fixed(outline - low)], 255, cv2.LINE_AA, SHIFT)
    soft = cv2.merge([mask] * 3)
    over, under = cv2.multiply(painted, soft, scale=1 / 255), cv2.multiply(room, 255 - soft, scale=1 / 255)
    room[:] = cv2.add(over, under)


def _grass(rng: np.random.Generator) -> Picture:
    """Mown stripes of 5.25 m over 133 x 96 m, 6 px per metre, with wear before the goals."""
    height, width = 96 * 6, 133 * 6
    x = (np.arange(width) / 6 - 66.5)[None]
    y = (np.arange(height) / 6 - 48)[:, None]
    stripe = np.where(((x + HALF_LENGTH) // 5.25) % 2 == 0, 1.0, 0.86) * np.ones_like(y)
    blotch = cv2.resize(rng.normal(0, 1, (24, 34)), (width, height), interpolation=cv2.INTER_CUBIC)
    wear = np.exp(-(((np.abs(x) - 49) / 4) ** 2) - (y / 5) ** 2) + 0.6 * np.exp(
        -((x / 4) ** 2) - (y / 4) ** 2
    )
    tone = stripe * (1 + 0.035 * blotch + 0.05 * rng.normal(0, 1, (height, width))) * (1 - 0.16 * wear)
    off = (np.abs(x) > HALF_LENGTH + 3.5) | (np.abs(y) > HALF_WIDTH + 3)
    tone = np.where(off, 0.8, tone)
    colour = np.array((48, 128, 70)) + wear[..., None] * (10, -12, 26)
    return np.clip(tone[..., None] * colour, 0, 255).astype(np.uint8)


def _crowd(columns: int, rows: int, home: Colour, rng: np.random.Generator, empty: float = 0.06) -> Picture:
    """Rows of people, 8 x 10 px each: clothes mostly dark or in the home colour, heads, some empty seats."""
    clothes = rng.choice(
        np.array([[40, 34, 34], [66, 58, 56], home, [190, 190, 196], [60, 60, 140], [96, 84, 72]]),
        p=(0.27, 0.2, 0.3, 0.09, 0.05, 0.09),
        size=(rows, columns),
    ) * rng.uniform(0.6, 1.15, (rows, columns, 1))
    skin = np.array((120, 150, 196)) * rng.uniform(0.45, 1, (rows, columns, 1))
    gone = rng.random((rows, columns, 1)) < empty
    seat = np.array((110, 58, 38))
    clothes, skin = np.where(gone, seat, clothes), np.where(gone, seat * 0.5, skin)
    body, head = np.zeros((10, 8, 1)), np.zeros((10, 8, 1))
    cv2.ellipse(body, (4, 9), (3, 5), 0, 0, 360, 1, -1)
    cv2.circle(head, (4, 3), 2, 1, -1)
    tile = np.tile(np.maximum(body, head), (rows, columns, 1))
    big = np.repeat(np.repeat(clothes, 10, 0), 8, 1)
    face = np.repeat(np.repeat(skin, 10, 0), 8, 1)
    out = np.where(np.tile(head, (rows, columns, 1)) > 0, face, big) * np.where(tile > 0, 1, 0.28)
    for row in range(rows):
        out[row * 10 : row * 10 + 10] = np.roll(out[row * 10 : row * 10 + 10], int(rng.integers(8)), axis=1)
    light = cv2.resize(
        rng.uniform(0.8, 1.1, (max(2, rows // 6), max(2, columns // 8))), (columns * 8, rows * 10)
    )
    return np.clip(out * light[..., None], 0, 255).astype(np.uint8)


def _board(length_m: float, rng: np.random.Generator) -> Picture:
    """Advertising boards 1 m high, 24 px per metre."""
    width, x = int(length_m * 24), 0
    out = np.zeros((24, width, 3), np.uint8)
    while x < width:
        name = _BRANDS[int(rng.integers(len(_BRANDS)))]
        back = [(140, 40, 20), (30, 30, 30), (220, 220, 224), (30, 90, 190), (60, 110, 30)][
            int(rng.integers(5))
        ]
        ink = (30, 20, 20) if sum(back) > 500 else (240, 240, 240)
        step = 24 * 8
        cv2.rectangle(out, (x, 0), (x + step - 2, 24), back, -1)
        cv2.putText(out, name, (x + 12, 18), cv2.FONT_HERSHEY_DUPLEX, 0.6, ink, 1, cv2.LINE_AA)
        x += step
    return out


_INNER = (56.5, 38.5)
"""Where the boards stand: a camera behind them does not see this side, its stand lies in its back."""


def _planes(home: Colour, rng: np.random.Generator) -> tuple[_Plane, dict[tuple[int, int], list[_Plane]]]:
    """The grass; and by (axis, sign) the four sides, back to front, as one sees them from the pitch."""
    sides: dict[tuple[int, int], list[_Plane]] = {}
    for axis, sign in ((1, 1), (1, -1), (0, 1), (0, -1)):
        half, edge = (64.0, 43.0) if axis else (46.0, 61.0)
        line = _INNER[axis]
        seats = int(half * 4)

        def spot(
            along: float, out_m: float, up: float, axis: int = axis, sign: int = sign
        ) -> tuple[float, float, float]:
            turn = sign if axis else -sign
            return (along * turn, sign * out_m, up) if axis else (sign * out_m, along * turn, up)

        def between(a: tuple[float, ...], b: tuple[float, ...]) -> tuple[float, float, float]:
            return (b[0] - a[0], b[1] - a[1], b[2] - a[2])

        def face(
            texture: Picture, top: tuple[float, float], foot: tuple[float, float], half: float = half
        ) -> _Plane:
            corner = spot(-half, *top)
            return _Plane(
                texture, corner, between(corner, spot(half, *top)), between(corner, spot(-half, *foot))
            )

        roof = np.full((40, 16, 3), (52, 46, 44), np.uint8)
        roof[:6] = (96, 90, 88)
        dark = np.full((8, 8, 3), (44, 40, 40), np.uint8)
        sides[axis, sign] = [
            face(roof, (edge + 20, 24), (edge + 17, 18.5)),
            face(_crowd(seats, 13, home, rng), (edge + 19, 18.5), (edge + 10.5, 9.4)),
            face(dark, (edge + 10.5, 9.4), (edge + 10.5, 8)),
            face(_crowd(seats, 13, home, rng), (edge + 10.5, 8), (edge, 1.8)),
            face(dark, (edge, 1.8), (edge, 0)),
            face(_board(2 * half - 8, rng), (line, 1.0), (line, 0), half - 4),
        ]
    return _Plane(_grass(rng), (-66.5, -48, 0), (133, 0, 0), (0, 96, 0)), sides


def _line(canvas: Picture, view: View, points: npt.ArrayLike, width_m: float = 0.13) -> None:
    """A chalk line along ground points (n, 2), as thick as it looks from the camera."""
    at = np.asarray(points, np.float64)
    for a, b in pairwise(at):
        along = (b - a) / np.linalg.norm(b - a)
        side = np.array((-along[1], along[0])) * width_m / 2
        quad = np.array([a - side, b - side, b + side, a + side])
        seen = _clip(view.camera_space(np.column_stack([quad, np.zeros(4)])))
        if len(seen) >= 3:
            pixels = seen[:, :2] / seen[:, 2:] * view.focal_px + (view.width / 2, view.height / 2)
            cv2.fillPoly(canvas, [fixed(pixels)], (214, 226, 220), cv2.LINE_AA, SHIFT)


def _arc(x: float, radius: float, start: float, end: float) -> Doubles:
    turn = np.linspace(start, end, 40)
    return np.column_stack([x + radius * np.cos(turn), radius * np.sin(turn)])


def _markings(canvas: Picture, view: View) -> None:
    """The lines of the Laws of the Game, Law 1 (a pitch of 105 x 68 m)."""
    x, y = HALF_LENGTH, HALF_WIDTH
    for line in ([(-x, -y), (x, -y), (x, y), (-x, y), (-x, -y)], [(0, -y), (0, y)]):
        dense = [np.linspace(a, b, 12) for a, b in pairwise(line)]
        _line(canvas, view, np.concatenate(dense)[np.r_[True, np.diff(np.concatenate(dense), axis=0).any(1)]])
    _line(canvas, view, _arc(0, 9.15, 0, 2 * np.pi))
    for side in (-1, 1):
        for depth, half in ((16.5, 20.16), (5.5, 9.16)):
            inner = side * (x - depth)
            _line(canvas, view, [(side * x, -half), (inner, -half), (inner, half), (side * x, half)])
        spot = side * (x - 11)
        _line(canvas, view, [(spot - 0.15, 0), (spot + 0.15, 0)], 0.3)
        bend = np.arccos(5.5 / 9.15)
        _line(canvas, view, _arc(spot, 9.15, *((np.pi - bend, np.pi + bend) if side > 0 else (-bend, bend))))


def draw_goal(canvas: Picture, view: View, side: int) -> None:
    """Posts, bar and a net 2 m deep, over what is there."""
    x, w, h, deep = side * HALF_LENGTH, GOAL_HALF_WIDTH, GOAL_HEIGHT, side * 2.0
    corners, depth = view.project([(x, -w, 0), (x, -w, h), (x, w, h), (x, w, 0)])
    if depth.min() < 1:
        return
    strings = [
        [(x, y, h), (x + deep * 0.55, y, h), (x + deep, y, 0)] for y in np.linspace(-w, w, 16).tolist()
    ]
    for t in np.linspace(0, 1, 8):
        back = x + deep * (0.55 + 0.45 * t)
        strings.append(
            [(x, -w, h * (1 - t)), (back, -w, h * (1 - t)), (back, w, h * (1 - t)), (x, w, h * (1 - t))]
        )
    scale = view.focal_px / float(depth.mean())
    net = canvas.copy() if scale < 40 else canvas
    for string in strings:
        cv2.polylines(net, [fixed(view.project(string)[0])], False, (196, 200, 200), 1, cv2.LINE_AA, SHIFT)
    if net is not canvas:
        cv2.addWeighted(net, 0.42, canvas, 0.58, 0, canvas)
    thick = max(1, round(0.13 * scale))
    cv2.polylines(canvas, [fixed(corners)], False, (238, 240, 240), thick, cv2.LINE_AA, SHIFT)


def panorama(view: View, seed: int, home: Colour, goals: tuple[int, ...] = (-1, 1)) -> Picture:
    """Everything that does not move, as seen by a wide view: uint8 BGR (height, width, 3).

    `home` colours the crowd; `goals` are the sides (-1, +1) whose goal belongs to what does not move.
    """
    canvas = np.empty((view.height, view.width, 3), np.uint8)
    canvas[:] = np.linspace((70, 56, 48), (120, 104, 92), view.height, dtype=np.float32)[:, None].astype(
        np.uint8
    )
    ground, sides = _planes(home, draws(seed, 10))
    _paint(canvas, view, ground)
    _markings(canvas, view)
    for axis, sign in ((0, -1), (0, 1), (1, -1), (1, 1)):
        if sign * view.eye[axis] < _INNER[axis]:
            for plane in sides[axis, sign]:
                _paint(canvas, view, plane)
    for side in goals:
        draw_goal(canvas, view, side)
    return canvas
