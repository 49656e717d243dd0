"""Models and profiles as data: find, check, load and run them; and the score tracks that models make.

`spotting` decides what scores mean.
"""

from shared.models.catalogue import Catalogue
from shared.models.choice import choose_models
from shared.models.drift import (
    REFERENCE,
    Reference,
    measure_drift,
    measure_reference,
    read_reference,
    reference_json,
)
from shared.models.load import load_model
from shared.models.manifest import find_models, name_fault, read_manifest
from shared.models.model import Model, grid_of
from shared.models.onnx import OnnxModel
from shared.models.profiles import list_profiles, load_profile
from shared.models.scoreboard import LABELS
from shared.models.tracks import Grid, Scores, Track, from_npz, stitch_tracks, to_npz
from shared.models.windows import AudioScorer, PictureScorer, score_head

__all__ = [
    "LABELS",
    "REFERENCE",
    "AudioScorer",
    "Catalogue",
    "Grid",
    "Model",
    "OnnxModel",
    "PictureScorer",
    "Reference",
    "Scores",
    "Track",
    "choose_models",
    "find_models",
    "from_npz",
    "grid_of",
    "list_profiles",
    "load_model",
    "load_profile",
    "measure_drift",
    "measure_reference",
    "name_fault",
    "read_manifest",
    "read_reference",
    "reference_json",
    "score_head",
    "stitch_tracks",
    "to_npz",
]
