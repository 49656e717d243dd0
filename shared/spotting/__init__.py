"""Score tracks -> signals -> events; and the spans of a video that are worth an expensive model.

Pure: no storage, no video, no model.
"""

from shared.spotting.audit import make_audit
from shared.spotting.board import make_board, steady_board
from shared.spotting.events import Basis, spot
from shared.spotting.proposals import NOTHING, propose_spans
from shared.spotting.shots import shot_changes

__all__ = [
    "NOTHING",
    "Basis",
    "make_audit",
    "make_board",
    "propose_spans",
    "shot_changes",
    "spot",
    "steady_board",
]
