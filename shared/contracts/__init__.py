"""What crosses a boundary: requests, plans, manifests, profiles, results (floor 1).

Every model is frozen and refuses unknown fields. Spans are half-open. Units stand in
names: _frames and _frame count frames of the timeline (see VideoInfo), _s are seconds.
"""

from shared.contracts.base import Contract, Name, Probability, Rate, Seconds, fraction_text
from shared.contracts.http import Health, JobAccepted, JobStatus, Problem, Progress
from shared.contracts.model import (
    CutDefaults,
    Golden,
    LabelRule,
    ModelInput,
    ModelManifest,
    ModelOutput,
    ModelRef,
    Profile,
    Provenance,
    ShotRule,
    Signal,
)
from shared.contracts.plan import Plan, SpanFacts, Unit, UnitSummary, VideoInfo
from shared.contracts.request import CutOptions, JobRequest, StoredRequest
from shared.contracts.result import (
    Edit,
    EndRecord,
    ErrorBody,
    Event,
    Evidence,
    Gap,
    Result,
    StageTiming,
    State,
    Timing,
    VideoResult,
)

__all__ = [
    "Contract",
    "CutDefaults",
    "CutOptions",
    "Edit",
    "EndRecord",
    "ErrorBody",
    "Event",
    "Evidence",
    "Gap",
    "Golden",
    "Health",
    "JobAccepted",
    "JobRequest",
    "JobStatus",
    "LabelRule",
    "ModelInput",
    "ModelManifest",
    "ModelOutput",
    "ModelRef",
    "Name",
    "Plan",
    "Probability",
    "Problem",
    "Profile",
    "Progress",
    "Provenance",
    "Rate",
    "Result",
    "Seconds",
    "ShotRule",
    "Signal",
    "SpanFacts",
    "StageTiming",
    "State",
    "StoredRequest",
    "Timing",
    "Unit",
    "UnitSummary",
    "VideoInfo",
    "VideoResult",
    "fraction_text",
]
