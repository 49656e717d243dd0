"""The work of the activities, as functions of (settings, records, ...): plan, score, look, cut, close.

Each step is idempotent: its input determines the path of its output, it looks for the output before it works,
and it writes the output whole. `jobs` decides who may start a job, and reports its state to callers.
"""

from shared.steps.allowance import run_limited
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
    "run_limited",
    "run_look",
    "run_plan",
    "run_score",
    "segments",
    "settle_run",
]
