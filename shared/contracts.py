"""What crosses a boundary: requests, plans, manifests, profiles, results (floor 1).

Every model is frozen and refuses unknown fields. Spans are half-open. Units stand in
names: _frames and _frame count frames of the timeline (see VideoInfo), _s are seconds.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

SCHEMA_VERSION = 1


class Contract(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _to_fraction(value: Any) -> Any:
    if isinstance(value, Fraction):
        return value
    if isinstance(value, int | str) and not isinstance(value, bool):
        try:
            return Fraction(value)
        except (ValueError, ZeroDivisionError) as bad:
            raise ValueError('expected a fraction such as "30000/1001"') from bad
    raise ValueError('expected a fraction such as "30000/1001"')


def fraction_text(value: Fraction) -> str:
    """`30000/1001`, and `25/1`: always num/den, so that no reader takes it for a float."""
    return f"{value.numerator}/{value.denominator}"


Rate = Annotated[
    Fraction,
    BeforeValidator(_to_fraction),
    PlainSerializer(fraction_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^-?\d+(/[1-9]\d*)?$", "examples": ["30000/1001", "25/1"]}),
]
"""An exact number, "num/den" in JSON."""

Seconds = Annotated[
    Decimal,
    Field(ge=0, le=600),
    PlainSerializer(float, return_type=float, when_used="json"),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 600}),
]
"""Seconds as the caller wrote them: decimal, so 0.1 stays 1/10."""

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]


# ---------------------------------------------------------------- request


class CutOptions(Contract):
    """How events become edits. What is left out comes from the profile."""

    title: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    pre_roll_s: Seconds | None = None
    post_roll_s: Seconds | None = None
    merge_gap_s: Seconds | None = None
    thresholds: dict[str, Probability] = Field(default_factory=dict)
    formats: tuple[Literal["original-edl", "json"], ...] = ("original-edl",)
    """Timelines to write beside result.json, which is always written."""


class JobRequest(Contract):
    """The body of POST /api/jobs."""

    video: Annotated[str, Field(min_length=8, max_length=4096)]
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    profile: Name = "soccer"
    models: tuple[Name, ...] | None = None
    segment_s: Annotated[int, Field(ge=2, le=3600)] | None = None
    cut: CutOptions = CutOptions()


class StoredRequest(Contract):
    """request.json: the request without its secret, and what the start looked up."""

    schema_version: Literal[1] = 1
    job: str
    request: JobRequest
    """`video` has no query string here."""
    fingerprint: str
    """sha256 of the request as the caller sent it, less the SAS: tells one body from another."""
    etag: str
    length_bytes: int
    created: str
    attempt: int = 1


# ---------------------------------------------------------------- video and plan


class VideoInfo(Contract):
    """One video stream on its timeline.

    Timeline frame of a decoded frame = floor((pts - origin_pts) * time_base * rate + 1/2),
    so frame 0 is the first frame that decodes and VFR falls on the grid of `rate`.
    """

    container: str
    codec: str
    stream: int
    """Index of the stream in the container."""
    rate: Rate
    """Nominal frames per second of the timeline."""
    time_base: Rate
    origin_pts: int
    """PTS of the first decoded frame, in units of time_base."""
    width: int
    height: int
    """Of the decoded frame, before rotation, in samples."""
    sample_aspect: Rate
    rotation: int
    """Degrees counter-clockwise, 0, 90, 180 or 270, that show the frame upright."""
    planned_frames: int
    """Where the container says the timeline ends; what decodes may differ."""
    start_timecode: str | None
    """As embedded: HH:MM:SS:FF, or with ; before FF for drop-frame."""
    audio_stream: int | None
    audio_codec: str | None
    etag: str
    length_bytes: int

    @property
    def display_size(self) -> tuple[int, int]:
        """(width, height) in square pixels, upright."""
        width = round(self.width * self.sample_aspect)
        return (self.height, width) if self.rotation in (90, 270) else (width, self.height)


class Unit(Contract):
    """One unit of fan-out: a segment of the picture, or the whole of the sound.

    The core is [start_frame, end_frame) on the timeline. end_frame is None for the last
    segment, which runs to wherever decoding ends: the container's length is not trusted.
    """

    index: int
    kind: Literal["video", "audio"]
    start_frame: int
    end_frame: int | None
    models: tuple[Name, ...]


class ModelRef(Contract):
    name: Name
    version: str
    digest: str
    """sha256 of model.onnx."""


class Plan(Contract):
    """plan.json."""

    schema_version: Literal[1] = 1
    job: str
    video: VideoInfo
    profile: Name
    models: tuple[ModelRef, ...]
    units: tuple[Unit, ...]
    bytes_read: int
    cpu_s: float
    wall_s: float


class SpanFacts(Contract):
    """What decoding a core found; kept beside its scores, under a key of its own."""

    frames: int
    """Frames decoded in the core (video)."""
    last_frame: int | None
    """Highest timeline frame decoded in the core, None where there was none."""
    decode_errors: int


class UnitSummary(Contract):
    """segments/<unit>.json: what scoring one unit found and cost."""

    unit: int
    facts: SpanFacts
    scores: dict[str, str]
    """Model name -> key of its score file."""
    refused: dict[str, str]
    """Model name -> why it did not score this unit."""
    cached: bool
    """Nothing was decoded: all was there already."""
    bytes_read: int
    cpu_s: float
    wall_s: float


# ---------------------------------------------------------------- models and profiles


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


# ---------------------------------------------------------------- result


class State(StrEnum):
    QUEUED = "Queued"
    PLANNING = "Planning"
    SCORING = "Scoring"
    CUTTING = "Cutting"
    COMPLETED = "Completed"
    COMPLETED_WITH_GAPS = "CompletedWithGaps"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def ended(self) -> bool:
        return self in _ENDED


_ENDED = frozenset({State.COMPLETED, State.COMPLETED_WITH_GAPS, State.FAILED, State.CANCELLED})


class Evidence(Contract):
    """What one signal said at the anchor."""

    model: Name
    signal: str
    value: float
    """The signal at the anchor, 0 to 1."""
    weight: float


class Event(Contract):
    """A spotted action. anchor_frame lies in [start_frame, end_frame)."""

    label: Name
    anchor_frame: int
    anchor_s: Rate
    start_frame: int
    end_frame: int
    confidence: Probability
    evidence: tuple[Evidence, ...]


class Edit(Contract):
    """One numbered cut: source [in_frame, out_frame), and the events it shows."""

    number: int
    source_in_frame: int
    source_out_frame: int
    events: tuple[int, ...]
    """Indices into the result's events."""


class Gap(Contract):
    """A span that one or more models did not score."""

    start_frame: int
    end_frame: int
    kind: Literal["video", "audio"]
    models: tuple[Name, ...]
    code: str


class ErrorBody(Contract):
    code: str
    message: str
    action: str
    retryable: bool


class VideoResult(Contract):
    name: str
    url: str
    """Without its query string."""
    etag: str
    length_bytes: int
    container: str
    codec: str
    rate: Rate
    frames_decoded: int
    duration_frames: int
    """Last decoded timeline frame + 1."""
    duration_s: Rate
    start_timecode: str
    drop_frame: bool
    display_width: int
    display_height: int
    audio: bool
    decode_errors: int


class Timing(Contract):
    """What the job cost, by stage. Not part of what repeats: two runs differ here and only here."""

    stages: dict[str, StageTiming]
    units_cached: int
    units_scored: int


class StageTiming(Contract):
    cpu_s: float
    wall_s: float
    bytes_read: int


class Result(Contract):
    """result.json, the source of truth: every timeline can be written again from it."""

    schema_version: Literal[1] = 1
    job: str
    state: State
    title: str
    video: VideoResult
    profile: Name
    models: tuple[ModelRef, ...]
    events: tuple[Event, ...]
    edits: tuple[Edit, ...]
    shot_changes: tuple[int, ...]
    """Timeline frames that begin a new shot."""
    gaps: tuple[Gap, ...]
    timing: Timing


class EndRecord(Contract):
    """end.json: the job's last word."""

    schema_version: Literal[1] = 1
    job: str
    state: State
    files: tuple[str, ...] = ()
    error: ErrorBody | None = None
    total: int = 0
    media_s: float = 0.0
    wall_s: float = 0.0


# ---------------------------------------------------------------- HTTP


class Progress(Contract):
    """Units of work, and what can be said of the time."""

    done: int
    total: int
    fraction: Probability
    eta_s: float | None
    realtime_factor: float | None
    """Seconds of video scored per second since scoring began."""


class JobAccepted(Contract):
    id: str
    state: State
    status_url: str


class JobStatus(Contract):
    id: str
    name: str | None
    state: State
    progress: Progress
    links: dict[str, str]
    """Name of a result file -> its URL; empty until the job has ended."""
    error: ErrorBody | None


class Problem(BaseModel):
    """application/problem+json (RFC 9457)."""

    model_config = ConfigDict(frozen=True)

    type: str
    title: str
    status: int
    detail: str
    code: str
    action: str
    errors: tuple[dict[str, str], ...] = ()
    """For invalid requests: {"field", "message"} each."""


class Health(Contract):
    status: Literal["ok", "degraded"]
    version: str
    models: tuple[ModelRef, ...]
    profiles: tuple[str, ...]
    storage: Literal["ok", "unavailable"]
