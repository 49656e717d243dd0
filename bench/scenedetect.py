"""PySceneDetect on the same video: what it costs to find shot changes, and how exact they are.

python -m bench.scenedetect VIDEO content|adaptive     in an environment with requirements-bench.txt
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def changes(video: Path, detector: str) -> list[int]:
    """Frames that begin a new scene, with the detector's own defaults, as its guide shows it."""
    from scenedetect import AdaptiveDetector, ContentDetector, detect

    made = {"content": ContentDetector, "adaptive": AdaptiveDetector}[detector]()
    return [scene[0].frame_num for scene in detect(str(video), made)[1:]]


if __name__ == "__main__":
    print(json.dumps(changes(Path(sys.argv[1]), sys.argv[2])))
