"""Events become edits, and edits become files that editors open: EDL, JSON and any other registered format.

`spotting` decides which events there are.
"""

from shared.timelines.edits import cut_settings, make_edits
from shared.timelines.formats import FORMATS, write_timeline
from shared.timelines.timecode import frame_to_timecode, start_of_timeline, timecode_to_frame

__all__ = [
    "FORMATS",
    "cut_settings",
    "frame_to_timecode",
    "make_edits",
    "start_of_timeline",
    "timecode_to_frame",
    "write_timeline",
]
