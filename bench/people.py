"""People of six broadcast pictures, marked by eye, and how boxes are compared with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Point = tuple[float, float]

SIZE = (398, 224)
"""Width and height of the pictures, to which the points refer."""
PEOPLE: dict[tuple[int, int], tuple[Point, ...]] = {
    (0, 10): (
        (30.5, 33.5), (40, 56.5), (58.5, 61), (77.5, 48), (46.5, 83.5), (25, 132), (154, 58.5),
        (158.5, 75.5), (179, 76.5), (186, 95), (194.5, 58), (201.5, 79.5), (215, 35), (234, 43), (246, 43),
        (268.5, 55.5), (274.5, 75.5), (309, 82.5),
    ),
    (0, 70): (
        (41, 61), (125.5, 29.5), (156.5, 40), (174.5, 42), (130, 61), (167, 78.5), (146.5, 89.5),
        (196.5, 78.5), (110, 107), (126.5, 107), (214.5, 59.5), (240, 96), (258.5, 90.5), (274, 74.5),
        (293, 209),
    ),
    (1, 10): (
        (48, 65), (57.5, 80.5), (53.5, 108), (36.5, 126.5), (99.5, 82.5), (130, 84.5), (125, 116),
        (139, 142), (140.5, 199), (160.5, 35.5), (177, 77), (212, 42), (253.5, 62.5), (218, 75),
        (220, 90.5), (275, 74.5), (291.5, 81), (309, 94.5), (236, 137), (356, 153), (395.5, 213),
    ),
    (1, 70): (
        (24, 44), (93.5, 49), (57, 95.5), (69.5, 90), (23, 134.5), (65, 161), (32.5, 209), (116.5, 84),
        (152, 71), (185.5, 82), (190.5, 79.5), (133, 118), (129, 111), (218, 96.5), (265.5, 143.5),
        (316, 194.5), (377, 205), (380, 66),
    ),
    (2, 10): (
        (4.5, 68), (42, 113), (100.5, 77.5), (132, 90), (131, 112), (125, 124), (157, 71), (151.5, 101),
        (180.5, 108), (95.5, 151), (106.5, 169), (184, 144.5), (391, 51), (293, 99), (347, 113),
        (288, 158), (327, 172), (396, 149),
    ),
    (2, 70): (
        (168, 45), (8, 126.5), (2, 163), (107, 135.5), (156.5, 116), (153, 138), (159, 138), (244, 56),
        (273.5, 119), (292, 111), (327.5, 141.5),
    ),
}  # fmt: skip
"""The middle of each person on or beside the pitch, by (match, frame of its clip 0 of SoccerNet-MVFoul),
the spectators and who sits behind the boards left out. Candidate boxes were in view while they were
marked, so a person whom no setting sees may be missing."""


def pictures(folder: Path) -> dict[tuple[int, int], Array]:
    """Those pictures, uint8 (224, 398, 3) in BGR, of action_<match>_clip_0.mp4. Raises FileNotFoundError."""
    found = {}
    for match in sorted({match for match, _ in PEOPLE}):
        with av.open(str(folder / f"action_{match}_clip_0.mp4")) as container:
            for number, frame in enumerate(container.decode(video=0)):
                if (match, number) in PEOPLE:
                    found[match, number] = frame.to_ndarray(format="bgr24")
    return found


def found(boxes: Array, people: Array) -> int:
    """How many of the people (n, 2; x, y) have a box (m, 4; x1 y1 x2 y2) of their own around them.

    Boxes choose in their order, best first; each takes the person nearest to its middle that lies in it
    and is not taken.
    """
    free = np.ones(len(people), bool)
    for x1, y1, x2, y2 in boxes:
        inside = (people >= (x1, y1)).all(axis=1) & (people <= (x2, y2)).all(axis=1) & free
        if inside.any():
            away = np.hypot(people[:, 0] - (x1 + x2) / 2, people[:, 1] - (y1 + y2) / 2)
            free[np.where(inside, away, np.inf).argmin()] = False
    return int((~free).sum())
