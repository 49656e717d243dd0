"""A profile: what the models' scores mean, as data."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from shared.contracts.base import Contract, Name, Probability, Rate, Seconds, Version
from shared.contracts.model import Run


class Signal(Contract):
    """One column of one model's track, made comparable.

    A point at t seconds has the mean of the windows whose anchors lie in its cell [t - h, t + h), where h is
    half of a grid step or of the track's hop, whichever is longer; before_s and after_s make the cell reach
    further: [t - max(h, before_s), t + max(h, after_s)).
    transform "level": as it is. "baseline": (x - rolling median) / (1.4826 * rolling MAD),
    the robust z-score over `baseline_s` (Hampel's identifier), floored at `floor` in the denominator.
    "rise": how far x will climb above what it is, within the `baseline_s` to come.
    Then smoothed by a centred moving average over `smooth_s`, and mapped linearly so that
    `low` becomes 0 and `high` becomes 1, clipped to [0, 1].
    """

    name: Name
    model: Name
    label: str
    transform: Literal["level", "baseline", "rise"] = "level"
    baseline_s: Seconds = Decimal(120)
    floor: Annotated[float, Field(gt=0)] = 1e-3
    before_s: Seconds = Decimal(0)
    after_s: Seconds = Decimal(0)
    smooth_s: Seconds = Decimal(0)
    low: float
    high: float
    whole_shots: bool = False
    """Leave out windows that hold a shot change: half of one shot and half of another look like neither."""


class LabelRule(Contract):
    """How one label is spotted: score = sum(weight * signal) / sum(|weight| of signals present)."""

    label: Name
    weights: dict[str, float]
    needs: tuple[str, ...] = ()
    """Signals without which the rule says nothing: where one is absent, the others do not stand in."""
    threshold: Probability
    """A peak must reach it."""
    release: Probability
    """Hysteresis: an event lasts while the score stays at or above it."""
    min_gap_s: Seconds
    """Non-maximum suppression: of two peaks nearer than this the lower goes."""
    max_span_s: Seconds = Decimal(30)
    edit: bool = True
    """Whether an event of this label asks for an edit; else it is only told."""


class ShotRule(Contract):
    """Shot changes: columns of a pair model at or above the threshold, thinned by min_gap_s."""

    model: Name
    label: str
    threshold: Probability
    min_gap_s: Seconds


class Cascade(Contract):
    """How a sweep's proposals are looked at. A profile without one is always exhaustive."""

    most_share: Probability
    """Of the video's length, at most so much is looked at, the most promising first ..."""
    least_s: Seconds
    """... but at least so many seconds, where so many are proposed."""
    audit_spans: Annotated[int, Field(ge=0, le=100)]
    """How many spans of the rest are looked at all the same, drawn at random."""
    audit_span_s: Seconds


class CutDefaults(Contract):
    pre_roll_s: Seconds
    post_roll_s: Seconds
    merge_gap_s: Seconds


class Profile(Contract):
    """models/profiles/<name>.json: which models run and what their tracks mean. Data, not code."""

    schema_version: Version = 1
    name: Name
    description: str
    grid: Rate
    """Points per second on which the signals are fused."""
    models: tuple[Name, ...]
    run: dict[Name, Run] = Field(default_factory=dict)
    """Instead of what a model's manifest says."""
    signals: tuple[Signal, ...]
    rules: tuple[LabelRule, ...]
    shots: ShotRule | None
    cascade: Cascade | None = None
    cut: CutDefaults

    @model_validator(mode="after")
    def _consistent(self) -> Profile:
        signals = {signal.name for signal in self.signals}
        for rule in self.rules:
            if unknown := set(rule.weights) - signals:
                raise ValueError(f"rule {rule.label} weighs unknown signals: {', '.join(sorted(unknown))}")
            if idle := set(rule.needs) - set(rule.weights):
                raise ValueError(f"rule {rule.label} needs what it does not weigh: {', '.join(sorted(idle))}")
            if rule.release > rule.threshold:
                raise ValueError(f"rule {rule.label}: release is above threshold")
        return self
