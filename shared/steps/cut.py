"""The step that turns scores into the result and its timelines, and ends the job."""

from __future__ import annotations

from collections.abc import Mapping

from shared.contracts import EndRecord, ErrorBody, Result, State
from shared.errors import Incomplete
from shared.settings import Settings
from shared.steps._cost import Meter
from shared.steps._result import make_result
from shared.steps.close import close_run
from shared.steps.scores import read_scored
from shared.storage import Records, paths
from shared.timelines import FORMATS, write_timeline


def run_cut(settings: Settings, records: Records, failed: Mapping[int, str]) -> EndRecord:
    """Read the scores, make the result, write every timeline and the run's end record.

    failed: unit -> error code of the units that were given up. These units and refused models become declared
    gaps. Raises SegmentFailed where no unit of the picture was scored, and storage's errors.
    """
    meter = Meter()
    scored = read_scored(records, failed)
    result = make_result(settings, scored, meter)
    files = []
    for name in dict.fromkeys(("json", *scored.stored.request.cut.formats)):
        form = FORMATS[name]
        path = paths.file_path(records.run, form.file_name)
        records.store.put(path, write_timeline(result, name), form.media_type)
        files.append(form.file_name)
    return close_run(records, result.state, _error(result), files)


def _error(result: Result) -> ErrorBody | None:
    """The error of a strict job that failed although it has a result; None for any other."""
    if result.state is not State.FAILED:
        return None
    spans = f"{len(result.gaps)} gap{'s' if len(result.gaps) > 1 else ''}"
    return ErrorBody(**Incomplete(f"The job is strict, and its result has {spans}.").record())
