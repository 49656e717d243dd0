"""Manifests of models."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from pydantic import Field, model_validator

from shared.contracts.base import Contract, Name, Rate, Version


class ModelInput(Contract):
    """The graph's input.

    Pictures: uint8, resized by area. A float32 input gets (x - mean) / std per channel, a uint8 input the
    pixels themselves. Audio: mono float32 in [-1, 1] at the manifest's rate.
    """

    name: str
    dtype: Literal["float32", "uint8"] = "float32"
    layout: str
    """Axes of the tensor: N batch, T window, C channel, H height, W width; "NS" for audio (S samples), "NE"
    for a head (E: the source's embedding)."""
    width: int | None = None
    height: int | None = None
    colour: Literal["rgb", "bgr", "gray"] | None = None
    fit: Literal["stretch", "letterbox"] = "stretch"
    """letterbox: keep the display aspect (after non-square pixels and rotation), on black bars."""
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


class ModelOutput(Contract):
    name: str
    labels: tuple[str, ...]
    """One name per column of the (n_windows, n_classes) output."""
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    """What the service applies to the graph's output; "none" where that is already the score."""


class ModelEmbedding(Contract):
    """A second output of the graph, (n_windows, size) float32, which heads read. It is stored as float16, and
    heads always read the float16 values, so a head's scores do not depend on whether it was stored before."""

    name: str
    size: Annotated[int, Field(ge=1, le=4096)]


class Provenance(Contract):
    origin: str
    licence: str
    training_data: str
    source: str
    """The publication of the formula or the architecture."""


class Golden(Contract):
    """sample/<file>: an npz with the arrays `input` (one batch, as the graph takes it) and `expected`."""

    file: str = "sample/golden.npz"
    tolerance: float = 1e-4


RunWhen = Literal["always", "proposed", "request"]
"""When a model runs. always: on the whole video. proposed: in a cascade, only on the looked spans.
request: only if the request names it."""


class ModelRef(Contract):
    name: Name
    version: str
    digest: str
    """sha256 of model.onnx."""
    manifest: str
    """sha256 of the manifest's fields that affect scores: rate, window, normalisation, labels and so on."""


class ModelManifest(Contract):
    """models/<name>/model.json. A model is this file and model.onnx; it has no code.

    Samples lie on one grid for the whole video: sample k is at k / rate seconds of the timeline. Window j
    covers samples [j * stride, j * stride + window); its anchor is sample j * stride + anchor.

    A head reads another model's embedding, one window at a time: its layout is "NE", and its windows are
    those of its source.
    """

    schema_version: Version = 1
    name: Name
    version: str
    engine: Literal["onnxruntime", "rapidocr"] = Field(
        "onnxruntime", exclude_if=lambda engine: engine == "onnxruntime"
    )
    """rapidocr: the optional package of that name reads the scoreboard with its own networks. There is then
    no model.onnx, and `digest` is that of shared.models.scoreboard.digest_of.

    The default is not written to JSON: this field is newer than most manifests, and their digests must stay
    as they were.
    """
    kind: Literal["frame", "pair", "clip", "audio", "head"]
    source: Name | None = None
    """The model whose embedding a head reads."""
    pictures: Literal["all", "key"] = "all"
    """Which picture a sample shows: the last one decoded up to its time, or the last key frame. A sweep
    decodes only key frames, and gives models of key frames the same bits as a full decode."""
    rate: Rate | Literal["native", "source"]
    """Pictures or audio samples per second. "native": the rate of the video. "source": a head's, that of its
    source."""
    window: Annotated[int, Field(ge=1)]
    stride: Annotated[int, Field(ge=1)]
    anchor: Annotated[int, Field(ge=0)]
    batch: Annotated[int, Field(ge=1, le=256)] = 16
    """Most windows per call of the graph; the last call for a span may have fewer."""
    input: ModelInput
    output: ModelOutput
    embedding: ModelEmbedding | None = None
    run: RunWhen = "always"
    """A profile may override it. A head runs when its source does."""
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    golden: Golden = Golden()
    reference: str | None = None
    """"sample/<file>": the distribution of its scores on known footage (shared/models/drift.py)."""
    provenance: Provenance

    @property
    def ref(self) -> ModelRef:
        scoring = self.model_dump_json(exclude={"version", "provenance", "golden", "reference", "run"})
        manifest = hashlib.sha256(scoring.encode()).hexdigest()
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
            # A batch of 1: the scores of a key frame must not depend on how many others a segment has.
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
        """Whether a sweep (all the sound, and the key frames) has all the model's input. A head depends on
        its source: ask that."""
        return self.kind == "audio" or self.pictures == "key"
