"""Score tracks and profiles for the spotting tests."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np

from shared.contracts import CutDefaults, LabelRule, Profile, ShotRule, Signal
from shared.models import Grid, Track

NAN = float("nan")
PAL = Fraction(25)
NTSC = Fraction(30000, 1001)
CUT = CutDefaults(pre_roll_s=Decimal(2), post_roll_s=Decimal(1), merge_gap_s=Decimal(1))


def make_track(
    values: Iterable[float],
    rate: Fraction | int = 1,
    *,
    label: str = "level",
    first: int = 0,
    anchor: int = 0,
) -> Track:
    """One column, one window per sample: window j is at (j + anchor) / rate seconds."""
    grid = Grid(Fraction(rate), window=anchor + 1, stride=1, anchor=anchor)
    return Track(grid, (label,), first, np.array(list(values), np.float32).reshape(-1, 1))


def make_signal(name: str = "loud", model: str = "crowd", **changes: Any) -> Signal:
    given: dict[str, Any] = {"name": name, "model": model, "label": "level", "low": 0.0, "high": 1.0}
    return Signal(**given | changes)


def make_rule(**changes: Any) -> LabelRule:
    given: dict[str, Any] = {"label": "highlight", "weights": {"loud": 1.0}, "threshold": 0.5}
    given |= {"release": 0.25, "min_gap_s": Decimal(0), "max_span_s": Decimal(30)}
    return LabelRule(**given | changes)


def make_profile(
    rule: LabelRule | None = None,
    signals: Iterable[Signal] = (make_signal(),),
    grid: Fraction | int = 1,
    **changes: Any,
) -> Profile:
    """Runs the models that its signals read."""
    signals = tuple(signals)
    given: dict[str, Any] = {"name": "test", "description": "", "grid": Fraction(grid), "signals": signals}
    given |= {"models": tuple({signal.model: None for signal in signals}), "shots": None, "cut": CUT}
    return Profile(**given | {"rules": (rule or make_rule(),)} | changes)


def make_shot_rule(**changes: Any) -> ShotRule:
    given: dict[str, Any] = {"model": "shot-change", "label": "cut", "threshold": 0.5}
    return ShotRule(**given | {"min_gap_s": Decimal(0)} | changes)
