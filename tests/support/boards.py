"""Drawn scoreboards: several layouts and typefaces on a picture of grass, at 720 lines."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
HEIGHT, WIDTH = 720, 1280
LAYOUTS = ("one line", "clock first", "colon", "cells", "right corner")
CV2_FONTS = (cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_COMPLEX)
FONTS = (*CV2_FONTS, "pillow")
"""OpenCV's stroked letters, and the outline typeface that Pillow brings along (it comes with rapidocr)."""


@cache
def _grass() -> Picture:
    random = np.random.default_rng(3)
    green = np.array((50, 130, 60)) + random.normal(0, 9, (HEIGHT // 4, WIDTH // 4, 1))
    large = cv2.resize(green.clip(0, 255).astype(np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.asarray(large, np.uint8)


def grass() -> Picture:
    """uint8 BGR (HEIGHT, WIDTH, 3) without any text."""
    return _grass().copy()


def draw(layout: str, font: Any, home: int, away: int, clock: str, size: int = 26) -> Picture:
    """uint8 BGR (HEIGHT, WIDTH, 3): a board in the top corner, letters `size` pixels high."""
    picture = grass()
    pad = size // 2
    cells = {
        "one line": [("NOR", True), (f"{home}-{away}", False), ("OST", True), (clock, True)],
        "clock first": [(clock, False), ("NOR", True), (f"{home}-{away}", False), ("OST", True)],
        "colon": [("NOR", True), (f"{home}:{away}", False), ("OST", True), (clock, True)],
        "cells": [(clock, True), ("RMA", False), (f"{home}", True), (f"{away}", True), ("VAL", False)],
        "right corner": [("FC NORDEN", True), (f"{home} - {away}", False), ("SUEDEN", True), (clock, True)],
    }[layout]
    widths = [_width(text, font, size) + 2 * pad for text, _ in cells]
    left = WIDTH - 60 - sum(widths) if layout == "right corner" else 60
    top, bottom = 36, 36 + size + 2 * pad
    for (text, dark), width in zip(cells, widths, strict=True):
        back, ink = ((60, 30, 18), (255, 255, 255)) if dark else ((236, 236, 236), (20, 20, 20))
        cv2.rectangle(picture, (left, top), (left + width, bottom), back, -1)
        _write(picture, text, (left + pad, top + pad), font, size, ink)
        left += width
    return picture


def _pillow(size: int) -> Any:
    return import_module("PIL.ImageFont").load_default(size * 1.35)


def _width(text: str, font: Any, size: int) -> int:
    if font == "pillow":
        return int(_pillow(size).getlength(text) + 0.5)
    (width, _), _ = cv2.getTextSize(text, font, size / 22, max(1, size // 12))
    return int(width)


def _write(
    picture: Picture, text: str, at: tuple[int, int], font: Any, size: int, ink: tuple[int, ...]
) -> None:
    if font != "pillow":
        at = (at[0], at[1] + size)
        cv2.putText(picture, text, at, font, size / 22, ink, max(1, size // 12), cv2.LINE_AA)
        return
    image = import_module("PIL.Image").fromarray(picture)
    import_module("PIL.ImageDraw").Draw(image).text(
        (at[0], at[1] + size), text, fill=ink, font=_pillow(size), anchor="ls"
    )
    picture[:] = np.asarray(image)
