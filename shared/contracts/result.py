"""result.json and its parts."""

from __future__ import annotations

from typing import Literal

from shared.contracts.base import Contract, Name, Probability, Rate, Version
from shared.contracts.cost import Cost, Timing
from shared.contracts.model import ModelRef
from shared.contracts.request import JobOptions
from shared.contracts.state import State


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
    """Indices into the result's events, ascending."""


class Gap(Contract):
    """A span that one or more models did not score."""

    start_frame: int
    end_frame: int
    kind: Literal["video", "audio"]
    models: tuple[Name, ...]
    code: str


class LookedSpan(Contract):
    """A span at which a cascade's proposed models looked: half-open, in timeline frames."""

    start_frame: int
    end_frame: int
    why: Literal["proposed", "audit"]

    @property
    def frames(self) -> int:
        return self.end_frame - self.start_frame


class Audit(Contract):
    """What looking at a few spans at random tells of those that nobody looked at.

    A hit is a span with an event that the cascade would have missed. low and high bound the share of
    hits among all such spans, with 95 % confidence (Clopper and Pearson, "The use of
    confidence or fiducial limits illustrated in the case of the binomial", Biometrika 26 (1934) 404-413).
    """

    seed: int
    spans: int
    hits: int
    low: Probability
    high: Probability
    missed_low: float
    missed_high: float
    """The same bounds, as a number of missed moments in the rest of the video."""


class CascadeResult(Contract):
    """What a cascade looked at, and what it may have missed."""

    proposed_frames: int
    """Frames in the spans that the sweep proposed; some were not looked at where most_share was reached."""
    looked_frames: int
    """Frames that the models of the look saw, including the audit."""
    spans: tuple[LookedSpan, ...]
    audit: Audit


class TextSpan(Contract):
    """Text on the screen: half-open, in timeline frames."""

    start_frame: int
    end_frame: int
    text: str


class BoardResult(Contract):
    """What the scoreboard said, to a sample of its model; each in order, without overlap."""

    score: tuple[TextSpan, ...]
    """The score, such as "2-1", without misreadings; each span lasts until the next."""
    clock: tuple[TextSpan, ...]
    """The clock, such as "67:12", as it was read at each sample; no span where it was not read."""


SoundFault = Literal["no_decoder", "codec_not_allowed", "does_not_decode"]
"""Why the service cannot use a sound track: libav has no decoder for it, its codec is not on the operator's
list, or its frames cannot be mixed to mono."""


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
    audio_fault: SoundFault | None = None
    """Why the first sound track cannot be used; None where one is used, or the file has none."""
    decode_errors: int


class Lineage(Contract):
    """What else the result depends on: with `models`, `profile` and the video's ETag this is all."""

    service: str
    """Version of matchcut."""
    preprocessing: str
    """Version of decoding, resizing and the sample grid."""
    profile: str
    """sha256 of the profile's JSON."""
    options: JobOptions


class Drift(Contract):
    """How far a model's scores lie from those of the footage it was measured on (shared/models/drift.py)."""

    model: Name
    psi: float
    """Population stability index of the label that moved most; above 0.25 counts as another population."""
    by_chance: float
    """The index that as many windows of the reference footage would give."""


class Result(Contract):
    """result.json, the source of truth: every timeline can be written again from it."""

    schema_version: Version = 1
    job: str
    state: State
    title: str
    video: VideoResult
    profile: Name
    models: tuple[ModelRef, ...]
    drift: tuple[Drift, ...] = ()
    """One entry for each model that has a reference and scored the whole video."""
    events: tuple[Event, ...]
    edits: tuple[Edit, ...]
    shot_changes: tuple[int, ...]
    """Timeline frames that begin a new shot; in a cascade, only those in the looked spans."""
    board: BoardResult | None = None
    """None where no model read a scoreboard."""
    cascade: CascadeResult | None = None
    """None for an exhaustive job."""
    gaps: tuple[Gap, ...]
    lineage: Lineage
    timing: Timing
    cost: Cost
