"""What the activities do, as functions of (settings, records, ...): plan, score, look, cut, close.

Each is idempotent: its output lies under a path that its input determines, it looks there before it works,
and it writes whole. Who may start a job, and what callers are told, is in `jobs`.
"""

from shared.steps.allowance import within
from shared.steps.begun import Step
from shared.steps.close import close_run, settle_run
from shared.steps.cut import run_cut
from shared.steps.look import run_look
from shared.steps.plan import run_plan
from shared.steps.score import run_score
from shared.steps.scores import load_tracks
from shared.steps.segments import segments

__all__ = [
    "Step",
    "close_run",
    "load_tracks",
    "run_cut",
    "run_look",
    "run_plan",
    "run_score",
    "segments",
    "settle_run",
    "within",
]
