"""One video on its timeline, and the units of work it is split into."""

from __future__ import annotations

from typing import Literal

from shared.contracts.base import Contract, Name, Rate, Version
from shared.contracts.cost import StageTiming
from shared.contracts.model import ModelManifest, ModelRef, Run
from shared.contracts.profile import Profile
from shared.contracts.result import LookedSpan, SoundFault
from shared.contracts.timeline import Timeline


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
    numbering: Literal["pts", "count"] = "pts"
    """"count" where time stamps are missing or start again: frame k is then the k-th that decodes."""
    planned_frames: int
    """Where the container says the timeline ends; what decodes may differ."""
    missing_picture: tuple[int, int] | None = None
    """[start, end) in timeline frames: what the index of a file that was cut off names, and is not there.
    By decoding times, so some pictures of it may be there; end is where the picture was to end."""
    missing_sound: tuple[int, int] | None = None
    """The same of the sound."""
    start_timecode: str | None
    """As embedded: HH:MM:SS:FF, or with ; before FF for drop-frame."""
    audio_stream: int | None
    audio_codec: str | None
    audio_fault: SoundFault | None = None
    etag: str
    length_bytes: int

    @property
    def planned(self) -> Timeline:
        """The timeline as the container declares it."""
        return Timeline(self.rate, self.planned_frames)

    @property
    def display_size(self) -> tuple[int, int]:
        """(width, height) in square pixels, upright."""
        width = max(1, round(self.width * self.sample_aspect))
        return (self.height, width) if self.rotation in (90, 270) else (width, self.height)


class Choice(Contract):
    """choice.json: the profile and the models of a job as they were when it was planned, whatever is
    changed or uploaded while it runs."""

    schema_version: Version = 1
    profile: Profile
    models: dict[Name, ModelManifest]
    """By name, sorted."""
    cascade: bool

    def of(self, *, sound: bool | None = None, swept: bool | None = None) -> tuple[str, ...]:
        """Names, sorted: of models of the sound or of the picture, that a sweep scores or not."""
        return tuple(
            name
            for name in self.models
            if sound in (None, self.root(name).kind == "audio") and swept in (None, self._swept(name))
        )

    def run(self, name: str) -> Run:
        root = self.root(name)
        return self.profile.run.get(root.name, root.run)

    def root(self, name: str) -> ModelManifest:
        """The model itself, or a head's source: it decides when and on what the head runs."""
        manifest = self.models[name]
        return self.models[manifest.source] if manifest.source else manifest

    def _swept(self, name: str) -> bool:
        return self.root(name).sweepable and self.run(name) != "proposed"


class Unit(Contract):
    """One unit of fan-out: a segment of the picture, the whole of the sound, or a sweep: the whole of
    the sound and every key frame, in one pass.

    The core is [start_frame, end_frame) on the timeline. end_frame is None for the last
    segment, which runs to wherever decoding ends: the container's length is not trusted.
    """

    index: int
    kind: Literal["video", "audio", "sweep"]
    start_frame: int
    end_frame: int | None
    models: tuple[Name, ...]


class Plan(Contract):
    """plan.json. `job` is the run: names.run_id."""

    schema_version: Version = 1
    job: str
    video: VideoInfo
    profile: Name
    models: tuple[ModelRef, ...]
    cascade: bool = False
    """Whether the units are a sweep, after which only spans are looked at."""
    gathers: bool = False
    """Whether the segments keep the sound's packets on their way, for a unit of the second fan-out."""
    sound: tuple[Name, ...]
    """Models that hear."""
    sources: dict[Name, Name]
    """Head -> the model whose embedding it reads."""
    units: tuple[Unit, ...]
    """The first fan-out; Look has the second."""
    spent: StageTiming


class Look(Contract):
    """look.json: the second fan-out. In a cascade the spans to look at, in order; where the sweep failed,
    everything; of an exhaustive job, the sound that its segments gathered. `units` continue the plan's
    numbers."""

    schema_version: Version = 1
    job: str
    cascade: bool
    proposed_frames: int
    spans: tuple[LookedSpan, ...]
    seed: int
    models: tuple[Name, ...]
    """Those that see nothing but the spans."""
    units: tuple[Unit, ...]
    spent: StageTiming


class SpanFacts(Contract):
    """What decoding a core found; kept beside its scores, under a key of its own."""

    frames: int
    """Frames decoded in the core; key frames, in a sweep."""
    last_frame: int | None
    """Highest timeline frame decoded in the core (in a sweep: shown by any packet), None without one."""
    decode_errors: int
    heard_frame: int | None = None
    """Last timeline frame that is heard; None without sound."""
    sound_errors: int = 0


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
    spent: StageTiming
