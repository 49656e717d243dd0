"""Which events of an exhaustive job a cascade has too."""

from __future__ import annotations

from fractions import Fraction

from bench.recall import found, total

RATE = Fraction(25)


def test_an_event_is_found_within_two_seconds_under_its_own_label() -> None:
    exhaustive = [("shot", 100), ("shot", 500), ("replay", 900)]
    assert {"shot": (1, 2), "replay": (0, 1)} == found([("shot", 150), ("shot", 900)], exhaustive, RATE)
    assert {"shot": (0, 2), "replay": (0, 1)} == found([("shot", 151)], exhaustive, RATE)


def test_one_event_finds_one() -> None:
    assert {"shot": (1, 2)} == found([("shot", 110)], [("shot", 100), ("shot", 120)], RATE)


def test_labels_that_only_the_cascade_has_find_nothing() -> None:
    assert {"shot": (0, 1)} == found([("replay", 100)], [("shot", 100)], RATE)


def test_matches_are_added_by_label_and_over_all() -> None:
    counts = total([{"shot": (1, 2)}, {"shot": (3, 3), "replay": (0, 1)}, {}])
    assert {"": (4, 6), "shot": (4, 5), "replay": (0, 1)} == counts
