"""A video on its timeline, and the units of work into which a run divides it."""

from __future__ import annotations

from typing import Literal

from shared.contracts.base import Contract, Name, Rate, Version
from shared.contracts.cost import StageTiming
from shared.contracts.model import ModelManifest, ModelRef, RunWhen
from shared.contracts.profile import Profile
from shared.contracts.result import LookedSpan, SoundFault
from shared.contracts.timeline import Timeline


class VideoInfo(Contract):
    """One video stream on its timeline.

    The timeline frame of a decoded frame is floor((pts - origin_pts) * time_base * rate + 1/2). So frame 0 is
    the first frame that decodes, and a variable frame rate falls on the grid of `rate`.
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
    """Size of the decoded frame in samples, before rotation."""
    sample_aspect: Rate
    rotation: int
    """Degrees counter-clockwise (0, 90, 180 or 270) that turn the frame upright."""
    numbering: Literal["pts", "count"] = "pts"
    """"pts": time stamps place every frame. "count": they are missing or start again, so timeline frame k is
    the (k + 1)-th frame that decodes."""
    planned_frames: int
    """Length of the timeline as the container declares it; decoding may end elsewhere."""
    missing_picture: tuple[int, int] | None = None
    """[start, end) in timeline frames: the part that the index of a cut-off file lists but the file lacks. It
    is taken from decoding times, so the file may hold a few of these pictures; `end` is the intended end."""
    missing_sound: tuple[int, int] | None = None
    """The same for the sound."""
    start_timecode: str | None
    """As the file has it: HH:MM:SS:FF, or HH:MM:SS;FF for drop-frame."""
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
    """choice.json: the profile and the manifests of a run as they were when it was planned. The run uses
    these, even if an operator changes or uploads others meanwhile."""

    schema_version: Version = 1
    profile: Profile
    models: dict[Name, ModelManifest]
    """By name, sorted."""
    cascade: bool

    def of(self, *, sound: bool | None = None, swept: bool | None = None) -> tuple[str, ...]:
        """Names of models, sorted. sound: True for models of the sound, False for those of the picture.
        swept: True for models that a sweep scores, False for the others. None: both."""
        return tuple(
            name
            for name in self.models
            if sound in (None, self.root(name).kind == "audio") and swept in (None, self._swept(name))
        )

    def run(self, name: str) -> RunWhen:
        """When the model runs: by the profile, else by its manifest."""
        root = self.root(name)
        return self.profile.run.get(root.name, root.run)

    def root(self, name: str) -> ModelManifest:
        """The model itself, or a head's source, which decides when and on what the head runs."""
        manifest = self.models[name]
        return self.models[manifest.source] if manifest.source else manifest

    def _swept(self, name: str) -> bool:
        return self.root(name).sweepable and self.run(name) != "proposed"


class Unit(Contract):
    """What one activity scores: a segment or a looked span of the picture ("video"), all the sound ("audio"),
    or all the sound and every key frame in one pass ("sweep").

    The core is [start_frame, end_frame) on the timeline. end_frame is None for the last segment: it ends
    where decoding ends, since the container's length may be wrong.
    """

    index: int
    kind: Literal["video", "audio", "sweep"]
    start_frame: int
    end_frame: int | None
    models: tuple[Name, ...]


class Plan(Contract):
    """plan.json: the video, the models and the first fan-out. `job` holds the run's id (names.run_id)."""

    schema_version: Version = 1
    job: str
    video: VideoInfo
    profile: Name
    models: tuple[ModelRef, ...]
    cascade: bool = False
    """Whether the first fan-out is a sweep, after which the look scores only some spans."""
    gathers: bool = False
    """Whether segments keep the sound's packets that they read, for a unit of the second fan-out."""
    sound: tuple[Name, ...]
    """Models of the sound."""
    sources: dict[Name, Name]
    """Head -> the model whose embedding it reads."""
    units: tuple[Unit, ...]
    """The first fan-out; Look has the second."""
    spent: StageTiming


class Look(Contract):
    """look.json: the second fan-out. In a cascade it scores the proposed spans, in order, or everything where
    the sweep failed; in an exhaustive job, the sound that the segments gathered.

    The numbers of `units` continue those of the plan. `job` holds the run's id (names.run_id).
    """

    schema_version: Version = 1
    job: str
    cascade: bool
    proposed_frames: int
    spans: tuple[LookedSpan, ...]
    seed: int
    models: tuple[Name, ...]
    """Models that score only the spans."""
    units: tuple[Unit, ...]
    spent: StageTiming


class SpanFacts(Contract):
    """What decoding found in a unit's core. Stored beside the core's scores, under a key of its own."""

    frames: int
    """Frames decoded in the core; key frames, in a sweep."""
    last_frame: int | None
    """Highest timeline frame that was decoded in the core (in a sweep: that any packet shows); None without
    one."""
    decode_errors: int
    heard_frame: int | None = None
    """Last timeline frame with sound; None without sound."""
    sound_errors: int = 0


class UnitSummary(Contract):
    """segments/<unit>.json: the results and the cost of scoring one unit."""

    unit: int
    facts: SpanFacts
    scores: dict[str, str]
    """Model name -> key of its score file."""
    refused: dict[str, str]
    """Model name -> why it did not score this unit."""
    cached: bool
    """Whether all scores existed before, so that nothing was decoded."""
    spent: StageTiming
