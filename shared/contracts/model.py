"""Manifests of models, and profiles that say what their tracks mean."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, model_validator

from shared.contracts.base import Contract, Name, Probability, Rate, Seconds, Version


class ModelInput(Contract):
    """What the graph takes. Frames: uint8 pictures are resized by area, then, if `dtype` is
    float32, (x - mean) / std per channel; a uint8 input gets the pixels as they are.
    Audio: mono float32 in [-1, 1] at the manifest's rate."""

    name: str
    dtype: Literal["float32", "uint8"] = "float32"
    layout: str
    """Axes of the tensor: N batch, T window, C channel, H, W; NS for audio (S samples), NE for a head
    (E: the source's embedding)."""
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


class ModelEmbedding(Contract):
    """A second output of the graph, (n_windows, size) float32: what heads stand on. Kept as float16,
    and read as such by every head, so that a head gives the same scores now and from a kept track."""

    name: str
    size: Annotated[int, Field(ge=1, le=4096)]


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


Run = Literal["always", "proposed", "request"]
"""When a model runs: on everything; in a cascade only where a sweep found something; only where a
request names it."""


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

    A head reads one window of another model's embedding at a time: its layout is "NE", and its
    windows are those of its source.
    """

    schema_version: Version = 1
    name: Name
    version: str
    engine: Literal["onnxruntime", "rapidocr"] = Field(
        "onnxruntime", exclude_if=lambda told: told == "onnxruntime"
    )
    """rapidocr: the optional package of that name reads the scoreboard, with networks of its own; there is
    no model.onnx, and `digest` is shared.scoreboard.digest_of. The default is not written: it came later than
    most manifests, whose digests it leaves as they were."""
    kind: Literal["frame", "pair", "clip", "audio", "head"]
    source: Name | None = None
    """The model whose embedding a head reads."""
    pictures: Literal["all", "key"] = "all"
    """What a sample shows: the last picture, or the last key frame, decoded up to it. A sweep scores
    models of key frames without decoding the rest, to the same bits."""
    rate: Rate | Literal["native", "source"]
    """Samples per second: pictures, or audio samples (Hz). "native" is the video's own rate; a head
    has that of its source."""
    window: Annotated[int, Field(ge=1)]
    stride: Annotated[int, Field(ge=1)]
    anchor: Annotated[int, Field(ge=0)]
    batch: Annotated[int, Field(ge=1, le=256)] = 16
    """Most windows per run; the last run of a span may be shorter."""
    input: ModelInput
    output: ModelOutput
    embedding: ModelEmbedding | None = None
    run: Run = "always"
    """A profile may say otherwise. A head runs when its source does."""
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    golden: Golden = Golden()
    reference: str | None = None
    """"sample/<file>": how its scores were spread over known footage (shared/drift.py)."""
    provenance: Provenance

    @property
    def ref(self) -> ModelRef:
        told = self.model_dump_json(exclude={"version", "provenance", "golden", "reference", "run"})
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
        if self.pictures == "key" and (self.kind, self.stride, self.batch) != ("frame", 1, 1):
            # One key frame a run: its row must not depend on how many others a segment holds.
            raise ValueError('pictures "key" is for kind "frame", with a stride and a batch of 1')
        if (self.kind == "head") != (self.source is not None):
            raise ValueError("a head, and nothing else, names its source")
        if self.kind == "head":
            if self.rate != "source" or (self.window, self.stride, self.anchor) != (1, 1, 0):
                raise ValueError('a head has the rate "source", a window and a stride of 1, and anchor 0')
            if self.input.layout != "NE" or self.input.dtype != "float32" or self.embedding:
                raise ValueError('a head has the layout "NE", float32, and no embedding of its own')
        elif self.rate == "source" or self.input.layout == "NE":
            raise ValueError('rate "source" and layout "NE" are for heads')
        elif self.kind != "audio" and not (self.input.width and self.input.height and self.input.colour):
            raise ValueError("a picture model names width, height and colour")
        return self

    @property
    def sweepable(self) -> bool:
        """Whether a sweep (the sound, and key frames) gives it all it sees. Of a head, its source says."""
        return self.kind == "audio" or self.pictures == "key"


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
