"""Score tracks become signals, signals become events; and which spans are worth an expensive model.

Pure: no storage, no video, no model.
"""

from shared.spotting.audit import audit_of
from shared.spotting.board import board_of, settled
from shared.spotting.events import Basis, spot
from shared.spotting.proposals import NOTHING, propose
from shared.spotting.shots import shot_changes

__all__ = ["NOTHING", "Basis", "audit_of", "board_of", "propose", "settled", "shot_changes", "spot"]
