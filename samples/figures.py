"""People and the ball, drawn over a picture. Pictures are uint8 BGR, coordinates pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from samples.clock import draws
from samples.stadium import SHIFT, Colour, Picture, View, fixed
from samples.world import REFEREE, Floats

_KITS: tuple[tuple[Colour, Colour, Colour], ...] = (
    ((170, 60, 30), (230, 230, 232), (170, 60, 30)),
    ((40, 36, 190), (40, 36, 190), (230, 230, 232)),
    ((230, 230, 235), (40, 30, 30), (230, 230, 235)),
    ((60, 200, 235), (120, 50, 20), (60, 200, 235)),
    ((60, 40, 110), (200, 190, 180), (60, 40, 110)),
)
"""Shirt, shorts, socks."""
_KEEPERS: tuple[Colour, Colour] = ((60, 190, 120), (20, 120, 235))
_SKIN: tuple[Colour, ...] = ((140, 170, 215), (110, 140, 190), (70, 95, 140), (45, 62, 95))
_HAIR: tuple[Colour, ...] = ((20, 20, 24), (30, 45, 70), (60, 110, 160), (24, 30, 44))


@dataclass(frozen=True)
class Look:
    shirt: Colour
    shorts: Colour
    socks: Colour
    skin: Colour
    hair: Colour


def looks(seed: int) -> list[Look]:
    """What each of the 23 wears: two kits that differ, two keepers, the referee."""
    rng = draws(seed, 11)
    pair = rng.choice(len(_KITS), 2, replace=False)
    out = []
    for who in range(REFEREE + 1):
        kit = _KITS[int(pair[who // 11 % 2])]
        if who in (0, 11):
            kit = (_KEEPERS[who // 11],) * 3
        if who == REFEREE:
            kit = ((36, 34, 34),) * 3
        skin, hair = (int(n) for n in rng.integers(0, 4, 2))
        out.append(Look(*kit, _SKIN[skin], _HAIR[hair]))
    return out


def fan(rng: np.random.Generator, home: Colour) -> Look:
    """Somebody in the stand: a third wear the home colour."""
    coats: tuple[Colour, ...] = (home, home, (50, 44, 44), (84, 70, 60), (190, 190, 194), (60, 60, 120))
    skin, hair, coat = (int(n) for n in rng.integers(0, (4, 4, len(coats))))
    b, g, r = (int(c * rng.uniform(0.7, 1)) for c in coats[coat])
    return Look((b, g, r), (b, g, r), (b, g, r), _SKIN[skin], _HAIR[hair])


def _stroke(canvas: Picture, at: npt.NDArray[np.float64], colour: Colour, thick_px: float) -> None:
    width = max(1, round(thick_px))
    cv2.polylines(canvas, [(at * (1 << SHIFT)).astype(np.int32)], False, colour, width, cv2.LINE_AA, SHIFT)


def draw_player(
    canvas: Picture, foot: npt.NDArray[np.float64], px_per_m: float, run: float, stride: float, look: Look
) -> None:
    """One player standing at `foot`; `run` is his speed across the picture in m/s, `stride` his phase."""
    x, y = float(foot[0]), float(foot[1])
    s = px_per_m
    row, column = int(y), int(x)
    if 0 <= row < canvas.shape[0] and 0 <= column < canvas.shape[1]:
        b, g, r = (int(c) * 5 // 8 for c in canvas[row, column])
        spot, size = fixed((x + 0.18 * s, y)), fixed((0.5 * s, 0.13 * s))
        cv2.ellipse(canvas, spot.tolist(), size.tolist(), 0, 0, 360, (b, g, r), -1, cv2.LINE_AA, SHIFT)
    swing, lean = 0.36 * np.tanh(run / 4), 0.05 * np.tanh(run / 4)
    hip = np.array((x, y - 0.92 * s))
    neck = hip + np.array((lean * s, -0.58 * s))
    for leg in (0.0, np.pi):
        reach = np.sin(stride + leg)
        lift = max(0.0, np.cos(stride + leg)) * 0.22 * abs(np.tanh(run / 3))
        ankle = np.array((x + (swing * reach + 0.07 * np.cos(leg)) * s, y - lift * s))
        knee = (hip + ankle) / 2 + np.array((0.09 * np.sign(run) * s * abs(np.tanh(run / 3)), 0))
        _stroke(canvas, np.array([knee, ankle]), look.socks, 0.11 * s)
        _stroke(canvas, np.array([hip, hip * 0.25 + knee * 0.75]), look.shorts, 0.19 * s)
    for arm in (0.0, np.pi):
        reach = -np.sin(stride + arm) * swing * 0.8
        elbow = neck + np.array((0.2 * np.cos(arm) * s * 0.7 + reach * s * 0.5, 0.32 * s))
        hand = elbow + np.array((reach * s * 0.6, 0.2 * s))
        if s > 9:
            _stroke(canvas, np.array([elbow, hand]), look.skin, 0.08 * s)
        _stroke(
            canvas,
            np.array([neck + np.array((0.13 * np.cos(arm) * s, 0.06 * s)), elbow]),
            look.shirt,
            0.11 * s,
        )
    _stroke(
        canvas,
        np.array([hip - np.array((0, 0.05 * s)), neck + np.array((0, 0.08 * s))]),
        look.shirt,
        0.34 * s,
    )
    head = fixed(neck + np.array((lean * s, -0.17 * s))).tolist()
    radius = max(1, round(0.125 * s * (1 << SHIFT)))
    cv2.circle(canvas, head, radius, look.skin, -1, cv2.LINE_AA, SHIFT)
    if s > 9:
        cv2.ellipse(canvas, head, (radius, radius), 0, 180, 360, look.hair, -1, cv2.LINE_AA, SHIFT)


def draw_people(
    canvas: Picture,
    view: View,
    people: Floats,
    velocity: Floats,
    walked_m: Floats,
    ball: Floats,
    wear: list[Look],
) -> None:
    """Everybody and the ball, far ones first. Shapes: (23, 2), (23, 2), (23,), (3,)."""
    feet, depth = view.project(np.column_stack([people, np.zeros(len(people))]))
    across = velocity @ view.rotation[0, :2]
    spots, ball_depth = view.project(np.array([ball, (ball[0], ball[1], 0)]))
    order = np.argsort(-depth)
    done = False
    for who in order:
        if not done and depth[who] < ball_depth[0]:
            _draw_ball(canvas, spots, view.focal_px / float(ball_depth[0]))
            done = True
        margin = 2.5 * view.focal_px / max(float(depth[who]), 1.0)
        x, y = feet[who]
        if depth[who] > 1 and -margin < x < view.width + margin and -margin < y < view.height + margin:
            speed = float(across[who]) or 0.01
            stride = float(walked_m[who]) * 2 * np.pi / 2.6
            draw_player(canvas, feet[who], view.focal_px / float(depth[who]), speed, stride, wear[who])
    if not done and ball_depth[0] > 1:
        _draw_ball(canvas, spots, view.focal_px / float(ball_depth[0]))


def _draw_ball(canvas: Picture, spots: npt.NDArray[np.float64], px_per_m: float) -> None:
    """Drawn a third larger than it is, as a broadcast's sharpening makes it."""
    radius = max(1.3, 0.15 * px_per_m) * (1 << SHIFT)
    at, ground = fixed(spots).tolist()
    size = (round(radius * 1.1), round(radius * 0.45))
    cv2.ellipse(canvas, ground, size, 0, 0, 360, (30, 70, 40), -1, cv2.LINE_AA, SHIFT)
    cv2.circle(canvas, at, round(radius), (246, 248, 248), -1, cv2.LINE_AA, SHIFT)


def bust(height_px: int, look: Look, number: int | None, cheer: bool) -> Picture:
    """Somebody from the chest up: BGRA with premultiplied alpha, uint8 (height, height, 4).

    `number` is on the shirt of a player; a fan has none.
    """
    n = 2 * height_px
    out, face = np.zeros((n, n, 4), np.uint8), np.zeros((n, n, 4), np.uint8)

    def full(colour: Colour, tone: float = 1.0) -> tuple[float, ...]:
        return (*(min(255.0, c * tone) for c in colour), 255.0)

    def at(x: float, y: float) -> tuple[int, int]:
        return int(x * n), int(y * n)

    if cheer:
        for sign in (-1, 1):
            arm = np.array(
                [at(0.5 + sign * 0.2, 0.62), at(0.5 + sign * 0.33, 0.44), at(0.5 + sign * 0.28, 0.12)]
            )
            cv2.polylines(out, [arm[:2]], False, full(look.shirt, 0.85), int(0.1 * n), cv2.LINE_AA)
            cv2.polylines(out, [arm[1:]], False, full(look.skin, 0.9), int(0.065 * n), cv2.LINE_AA)
            cv2.circle(out, at(0.5 + sign * 0.28, 0.11), int(0.045 * n), full(look.skin), -1, cv2.LINE_AA)
    torso = [at(0.19, 1), at(0.22, 0.7), at(0.3, 0.62), at(0.43, 0.575), at(0.57, 0.575), at(0.7, 0.62)]
    torso += [at(0.78, 0.7), at(0.81, 1)]
    cv2.fillPoly(out, [np.array(torso)], full(look.shirt), cv2.LINE_AA)
    for sign in (-1, 1):
        fold = np.array([at(0.5 + sign * 0.19, 0.72), at(0.5 + sign * 0.17, 0.86), at(0.5 + sign * 0.18, 1)])
        cv2.polylines(out, [fold], False, full(look.shirt, 0.65), int(0.012 * n), cv2.LINE_AA)
    bright = sum(look.shirt) > 380
    mark = (40.0, 30.0, 30.0, 255.0) if bright else (235.0, 235.0, 235.0, 255.0)
    if number is not None:
        size, thick = n / 420, max(1, n // 130)
        cv2.putText(out, f"{number}", at(0.455, 0.9), cv2.FONT_HERSHEY_DUPLEX, size, mark, thick, cv2.LINE_AA)
        cv2.circle(out, at(0.6, 0.74), int(0.022 * n), mark, -1, cv2.LINE_AA)
    cv2.ellipse(out, at(0.5, 0.585), (int(0.078 * n), int(0.03 * n)), 0, 0, 360, mark, -1, cv2.LINE_AA)
    cv2.rectangle(out, at(0.455, 0.48), at(0.545, 0.575), full(look.skin, 0.72), -1)
    cv2.ellipse(out, at(0.5, 0.575), (int(0.06 * n), int(0.03 * n)), 0, 0, 360, full(look.skin, 0.8), -1)
    for sign in (-1, 1):
        cv2.ellipse(
            face,
            at(0.5 + sign * 0.098, 0.395),
            (int(0.016 * n), int(0.03 * n)),
            0,
            0,
            360,
            full(look.skin, 0.8),
            -1,
        )
    cv2.ellipse(
        face, at(0.5, 0.36), (int(0.104 * n), int(0.12 * n)), 0, 0, 360, full(look.hair), -1, cv2.LINE_AA
    )
    cv2.ellipse(
        face, at(0.5, 0.4), (int(0.093 * n), int(0.123 * n)), 0, 0, 360, full(look.skin), -1, cv2.LINE_AA
    )
    cv2.ellipse(
        face, at(0.5, 0.325), (int(0.096 * n), int(0.065 * n)), 0, 180, 360, full(look.hair), -1, cv2.LINE_AA
    )
    dark = (34.0, 36.0, 48.0, 255.0)
    for sign in (-1, 1):
        x = 0.5 + sign * 0.038
        cv2.ellipse(
            face,
            at(x, 0.392),
            (int(0.017 * n), int(0.008 * n)),
            0,
            0,
            360,
            (222, 222, 222, 255),
            -1,
            cv2.LINE_AA,
        )
        cv2.circle(face, at(x, 0.392), max(1, int(0.008 * n)), dark, -1, cv2.LINE_AA)
        cv2.line(
            face,
            at(x - 0.02, 0.37),
            at(x + 0.02, 0.368),
            full(look.hair),
            max(1, int(0.009 * n)),
            cv2.LINE_AA,
        )
    cv2.ellipse(
        face,
        at(0.503, 0.427),
        (int(0.015 * n), int(0.02 * n)),
        0,
        0,
        180,
        full(look.skin, 0.7),
        -1,
        cv2.LINE_AA,
    )
    mouth = (int(0.032 * n), int((0.022 if cheer else 0.007) * n))
    cv2.ellipse(face, at(0.5, 0.468), mouth, 0, 0, 360, (50, 44, 90, 255), -1, cv2.LINE_AA)
    # All is opaque or nothing but for its edges, so layers may be joined after shrinking.
    side = (height_px, height_px)
    low, high = (
        cv2.resize(layer, side, interpolation=cv2.INTER_AREA).astype(np.float32) for layer in (out, face)
    )
    whole = low * (1 - high[..., 3:] / 255) + high
    across, down = np.linspace(1.12, 0.66, height_px)[None], np.linspace(1.08, 0.92, height_px)[:, None]
    blotch = draws(0, 14).normal(1, 0.03, (max(1, height_px // 4), max(1, height_px // 4)))
    shade = np.asarray(across * down * cv2.resize(blotch, side), np.float32)
    whole[..., :3] = np.minimum(whole[..., :3] * shade[..., None], whole[..., 3:])
    return np.asarray(cv2.GaussianBlur(whole, (0, 0), 0.6), np.uint8)


def paste(canvas: Picture, sprite: Picture, left: int, top: int) -> None:
    """Lay a premultiplied BGRA sprite over the picture, cut at its edges."""
    height, width = canvas.shape[:2]
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + sprite.shape[1], width), min(top + sprite.shape[0], height)
    if x0 >= x1 or y0 >= y1:
        return
    part = sprite[y0 - top : y1 - top, x0 - left : x1 - left]
    room = canvas[y0:y1, x0:x1]
    behind = cv2.multiply(room, cv2.merge([255 - part[..., 3]] * 3), scale=1 / 255)
    canvas[y0:y1, x0:x1] = cv2.add(behind, np.ascontiguousarray(part[..., :3]))
