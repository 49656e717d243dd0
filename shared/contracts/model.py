"""Manifests of models, and profiles that say what their tracks mean."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from shared.contracts.base import Contract, Name, Probability, Rate, Seconds


class ModelInput(Contract):
    """What the graph takes. Frames: uint8 pictures are resized by area, then, if `dtype` is
    float32, (x - mean) / std per channel; a uint8 input gets the pixels as they are.
    Audio: mono float32 in [-1, 1] at the manifest's rate."""

    name: str
    dtype: Literal["float32", "uint8"] = "float32"
    layout: str
    """Axes of the tensor: N batch, T window, C channel, H, W; NS for audio (S samples)."""
    width: int | None = None
    height: int | None = None
    colour: Literal["rgb", "bgr", "gray"] | None = None
    fit: Literal["stretch", "letterbox"] = "stretch"
    """letterbox keeps the display aspect (non-square pixels and rotation applied) on black."""
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


class ModelOutput(Contract):
    name: str
    labels: tuple[str, ...]
    """One name per column of the (n_windows, n_classes) output."""
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    """Applied by the scorer; "none" where the graph's output is already what is meant."""


class Provenance(Contract):
    origin: str
    licence: str
    training_data: str
    source: str
    """Where the formula or the architecture comes from."""


class Golden(Contract):
    """sample/<file>: an npz with the arrays `input` (one batch, as the graph takes it) and `expected`."""

    file: str = "sample/golden.npz"
    tolerance: float = 1e-4


class ModelRef(Contract):
    name: Name
    version: str
    digest: str
    """sha256 of model.onnx."""
    manifest: str
    """sha256 of what the manifest says about scoring: rate, window, normalisation, labels and so on."""


class ModelManifest(Contract):
    """models/<name>/model.json. A model is this and model.onnx; no code.

    Samples lie on one global grid: sample k is at k / rate seconds of the timeline. Window j
    covers samples [j * stride, j * stride + window); its anchor is sample j * stride + anchor.
    """

    schema_version: Literal[1] = 1
    name: Name
    version: str
    kind: Literal["frame", "pair", "clip", "audio"]
    rate: Rate | Literal["native"]
    """Samples per second: pictures, or audio samples (Hz). "native" is the video's own rate."""
    window: Annotated[int, Field(ge=1)]
    stride: Annotated[int, Field(ge=1)]
    anchor: Annotated[int, Field(ge=0)]
    batch: Annotated[int, Field(ge=1, le=256)] = 16
    """Most windows per run; the last run of a span may be shorter."""
    input: ModelInput
    output: ModelOutput
    run: Literal["always"] = "always"
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    golden: Golden = Golden()
    provenance: Provenance

    @property
    def ref(self) -> ModelRef:
        told = self.model_dump_json(exclude={"version", "provenance", "golden", "run"})
        manifest = hashlib.sha256(told.encode()).hexdigest()
        return ModelRef(name=self.name, version=self.version, digest=self.digest, manifest=manifest)

    @model_validator(mode="after")
    def _consistent(self) -> ModelManifest:
        if self.anchor >= self.window:
            raise ValueError("anchor must lie inside the window")
        if self.kind == "frame" and self.window != 1:
            raise ValueError('kind "frame" has a window of 1')
        if self.kind == "pair" and self.window != 2:
            raise ValueError('kind "pair" has a window of 2')
        if (self.kind == "audio") != (self.input.layout == "NS"):
            raise ValueError('layout "NS" is for audio, and audio is "NS"')
        if self.kind == "audio" and self.rate == "native":
            raise ValueError("an audio model names its rate in Hz")
        if self.kind != "audio" and (not self.input.width or not self.input.height or not self.input.colour):
            raise ValueError("a picture model names width, height and colour")
        return self


class Signal(Contract):
    """One column of one model's track, made comparable.

    transform "level": as it is. "baseline": (x - rolling median) / (1.4826 * rolling MAD),
    the robust z-score over `baseline_s` (Hampel's identifier), floored at `floor` in the denominator.
    Then smoothed by a centred moving average over `smooth_s`, and mapped linearly so that
    `low` becomes 0 and `high` becomes 1, clipped to [0, 1].
    """

    name: Name
    model: Name
    label: str
    transform: Literal["level", "baseline"] = "level"
    baseline_s: Seconds = Decimal(120)
    floor: Annotated[float, Field(gt=0)] = 1e-3
    smooth_s: Seconds = Decimal(0)
    low: float
    high: float


class LabelRule(Contract):
    """How one label is spotted: score = sum(weight * signal) / sum(|weight| of signals present)."""

    label: Name
    weights: dict[str, float]
    threshold: Probability
    """A peak must reach it."""
    release: Probability
    """Hysteresis: an event lasts while the score stays at or above it."""
    min_gap_s: Seconds
    """Non-maximum suppression: of two peaks nearer than this the lower goes."""
    max_span_s: Seconds = Decimal(30)


class ShotRule(Contract):
    """Shot changes: columns of a pair model at or above the threshold, thinned by min_gap_s."""

    model: Name
    label: str
    threshold: Probability
    min_gap_s: Seconds


class CutDefaults(Contract):
    pre_roll_s: Seconds
    post_roll_s: Seconds
    merge_gap_s: Seconds


class Profile(Contract):
    """models/profiles/<name>.json: which models run and what their tracks mean. Data, not code."""

    schema_version: Literal[1] = 1
    name: Name
    description: str
    grid: Rate
    """Points per second on which the signals are fused."""
    models: tuple[Name, ...]
    signals: tuple[Signal, ...]
    rules: tuple[LabelRule, ...]
    shots: ShotRule | None
    cut: CutDefaults

    @model_validator(mode="after")
    def _consistent(self) -> Profile:
        signals = {signal.name for signal in self.signals}
        for rule in self.rules:
            if unknown := set(rule.weights) - signals:
                raise ValueError(f"rule {rule.label} weighs unknown signals: {', '.join(sorted(unknown))}")
            if rule.release > rule.threshold:
                raise ValueError(f"rule {rule.label}: release is above threshold")
        return self
