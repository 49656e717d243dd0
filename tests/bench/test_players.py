"""How boxes are compared with people marked by eye."""

from __future__ import annotations

import numpy as np
import pytest

from bench.people import PEOPLE, SIZE, found
from bench.players import LAYOUTS, Layout, suppress


def test_each_box_finds_one_person_of_its_own() -> None:
    people = np.array([(10, 10), (14, 10), (50, 50)])
    assert 0 == found(np.empty((0, 4)), people)
    assert 1 == found(np.array([(5, 5, 20, 20)]), people)
    assert 2 == found(np.array([(5, 5, 20, 20), (5, 5, 20, 20), (5, 5, 20, 20)]), people)
    assert 0 == found(np.array([(20, 5, 40, 20)]), people)


def test_the_better_box_takes_the_person_nearest_to_its_middle() -> None:
    people = np.array([(10, 10), (18, 10)])
    assert 2 == found(np.array([(4, 0, 20, 20), (15, 0, 25, 20)]), people)
    assert 1 == found(np.array([(10, 0, 30, 20), (15, 0, 25, 20)]), people)  # it takes that of the second


def test_of_two_boxes_on_one_person_the_better_stays() -> None:
    boxes = np.array([(0, 0, 10, 20), (1, 0, 11, 20), (9, 0, 19, 20), (40, 0, 50, 20)], np.float64)
    assert [0, 2, 3] == suppress(boxes)
    assert [] == suppress(np.empty((0, 4)))


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_tiles_cover_the_picture_to_its_right_edge(layout: Layout) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
    tiles = layout.cut(picture)
    assert (len(layout.starts), 2, layout.height, layout.tile, 3) == tiles.shape
    whole = Layout(layout.width, layout.height, layout.width, (0,)).cut(picture)[0]
    back = np.zeros_like(whole)
    for start, tile in zip(layout.starts, tiles, strict=True):
        back[:, :, start : start + layout.tile] = tile
    assert whole.tobytes() == back.tobytes()
    assert layout.tile % 32 == layout.height % 32 == 0


def test_people_are_marked_inside_the_pictures_and_each_once() -> None:
    everyone = [(key, point) for key, people in PEOPLE.items() for point in people]
    assert 101 == len(set(everyone)) == len(everyone)
    assert all(0 <= x <= SIZE[0] and 0 <= y <= SIZE[1] for _, (x, y) in everyone)
