"""A profile of three models that the service has never seen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_profile(folder: Path) -> None:
    """Events where the new sound model is above its baseline; weights on all three."""

    def signal(name: str, model: str, label: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "model": model, "label": label, "low": 0.0, "high": 1.0, **more}

    document = {
        "schema_version": 1, "name": "novelty", "description": "Three models nobody knew.", "grid": "2/1",
        "models": ["new-brightness", "new-flicker", "new-level"],
        "signals": [
            signal("loud", "new-level", "rms", transform="baseline", baseline_s=60, high=4.0),
            signal("green", "new-brightness", "green"),
            signal("flicker", "new-flicker", "flicker"),
        ],
        "rules": [{
            "label": "surprise", "weights": {"loud": 4, "green": 0.5, "flicker": 0.5},
            "threshold": 0.4, "release": 0.2, "min_gap_s": 5,
        }],
        "shots": None, "cut": {"pre_roll_s": 2, "post_roll_s": 2, "merge_gap_s": 1},
    }  # fmt: skip
    path = folder / "profiles" / "novelty.json"
    path.parent.mkdir()
    path.write_text(json.dumps(document))
