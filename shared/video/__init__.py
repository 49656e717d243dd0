"""The caller's video: its blob, its container, and exactly decoded pictures and sound.

Nothing here knows about models.
"""

from shared.video.hearing import Samples
from shared.video.key_frames import Sweep
from shared.video.limits import MediaLimits
from shared.video.packets import Gather, Joined, Part, gathered_sound, part_of_npz
from shared.video.pictures import Picture, Pictures
from shared.video.probe import probe
from shared.video.ranges import RangeReader
from shared.video.rates import snap_rate
from shared.video.sound import sound
from shared.video.source import BlobFacts, look_up, open_source, open_video, parse_source, read_ranges

__all__ = [
    "BlobFacts",
    "Gather",
    "Joined",
    "MediaLimits",
    "Part",
    "Picture",
    "Pictures",
    "RangeReader",
    "Samples",
    "Sweep",
    "gathered_sound",
    "look_up",
    "open_source",
    "open_video",
    "parse_source",
    "part_of_npz",
    "probe",
    "read_ranges",
    "snap_rate",
    "sound",
]
