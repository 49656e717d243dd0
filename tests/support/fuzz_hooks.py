"""For schemathesis: requests that name a video which is there, so that jobs begin (SCHEMATHESIS_HOOKS).

Of the bodies that are valid every other one gets the video of MATCHCUT_FUZZ_VIDEO, and models that score it
in no time; the others stay as they were made up.
"""

from __future__ import annotations

import os
from typing import Any

import schemathesis

from tests.support.in_process import LIGHT

_VIDEO = os.environ["MATCHCUT_FUZZ_VIDEO"]


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    made_to_fail = case.meta is not None and case.meta.generation.mode.is_negative
    if made_to_fail or not isinstance(case.body, dict) or len(str(case.body)) % 2:
        return
    if case.operation.label == "POST /api/jobs":
        case.body = {**LIGHT, "video": _VIDEO, "name": case.body.get("name")}
    elif case.operation.label == "POST /api/batches":
        case.body = {"videos": [_VIDEO], "options": LIGHT}
    elif case.operation.label == "POST /api/jobs/{id}/retry":
        case.body = {"video": _VIDEO}
