"""Manifests of models, and profiles that say what their tracks mean."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import Field, model_validator

from shared.contracts.base import Contract, Name, Rate, Version


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
    no model.onnx, and `digest` is shared.models.scoreboard.digest_of. The default is not written: it came
    later than most manifests, whose digests it leaves as they were."""
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
    """"sample/<file>": how its scores were spread over known footage (shared/models/drift.py)."""
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
