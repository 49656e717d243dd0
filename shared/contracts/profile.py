"""A profile: which models run, and how their scores become events, as data."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from shared.contracts.base import Contract, Name, Probability, Rate, Seconds, Version
from shared.contracts.model import RunWhen


class Signal(Contract):
    """One column of one model's track, made comparable.

    The steps, in order:

    1. A point at t seconds has the mean of the windows whose anchors lie in its cell [t - h, t + h), where h
       is half of a grid step or of the track's hop, whichever is longer. before_s and after_s widen the cell:
       [t - max(h, before_s), t + max(h, after_s)).
    2. transform. "level": x itself. "baseline": (x - rolling median) / (1.4826 * rolling MAD), the robust
       z-score over `baseline_s` (Hampel's identifier), with a denominator of at least `floor`. "rise": how
       far x will climb above its present value within the next `baseline_s`.
    3. A centred moving average over `smooth_s`.
    4. A linear map that takes `low` to 0 and `high` to 1, clipped to [0, 1].
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
    """Leave out windows that contain a shot change, since parts of two shots together look like neither."""


class LabelRule(Contract):
    """How one label is spotted: score = sum(weight * signal) / sum(|weight| of signals present)."""

    label: Name
    weights: dict[str, float]
    needs: tuple[str, ...] = ()
    """Signals that must be present: where one is absent, the rule spots nothing, whatever the others show."""
    threshold: Probability
    """The least score of a peak that becomes an event."""
    release: Probability
    """Hysteresis: an event lasts while the score stays at or above this."""
    min_gap_s: Seconds
    """Non-maximum suppression: of two peaks that are closer than this, the lower one is dropped."""
    max_span_s: Seconds = Decimal(30)
    edit: bool = True
    """Whether an event of this label becomes an edit; if not, the result only lists it."""


class ShotRule(Contract):
    """Shot changes: columns of a pair model at or above the threshold, thinned by min_gap_s."""

    model: Name
    label: str
    threshold: Probability
    min_gap_s: Seconds


class Cascade(Contract):
    """How much of a sweep's proposals is looked at. A job of a profile without a cascade is exhaustive."""

    most_share: Probability
    """The share of the video that is looked at, at most, the best proposals first ..."""
    least_s: Seconds
    """... but at least so many seconds, as far as the sweep proposes them."""
    audit_spans: Annotated[int, Field(ge=0, le=100)]
    """How many spans of the rest, drawn at random, are looked at as well."""
    audit_span_s: Seconds


class CutDefaults(Contract):
    pre_roll_s: Seconds
    post_roll_s: Seconds
    merge_gap_s: Seconds


class Profile(Contract):
    """models/profiles/<name>.json: which models run, and how their tracks become events. Data, not code."""

    schema_version: Version = 1
    name: Name
    description: str
    grid: Rate
    """Points per second of the grid on which the signals are fused."""
    models: tuple[Name, ...]
    run: dict[Name, RunWhen] = Field(default_factory=dict)
    """Model -> when it runs; overrides the manifest's `run`."""
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
