"""What the activities do, as functions of (settings, store, ...): plan, score, look, cut, close.

Each is idempotent. Who may start a job, and what callers are told, is in `jobs`.
"""

from shared.steps.allowance import within
from shared.steps.begun import Step
from shared.steps.close import close_job, settle
from shared.steps.cut import run_cut
from shared.steps.look import run_look
from shared.steps.plan import run_plan
from shared.steps.score import run_score
from shared.steps.scores import load_tracks
from shared.steps.segments import segments

__all__ = [
    "Step",
    "close_job",
    "load_tracks",
    "run_cut",
    "run_look",
    "run_plan",
    "run_score",
    "segments",
    "settle",
    "within",
]
