"""How far data walks: the places that a submit, a unit and a cut pass, counted in the code that runs.

    python -m tests.support.walk [-v]

A place is a function of shared/ that runs. What every step stands on is not counted: names, paths,
settings, errors, contracts, and the transport of blobs. A visit is a function that calls into another file,
however many functions it calls there; a return is a visit to a file that was visited before. The figures
stand in docs/decisions/0009-packages.md.
"""

from __future__ import annotations

import base64
import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from infra.local.azurite import Azurite
from shared.jobs import accept
from shared.settings import ROOT
from shared.steps import run_cut, run_look, run_plan, run_score
from shared.storage import Records
from tests.support.clips import make_clip
from tests.support.in_process import InProcessService

CORE = f"{ROOT / 'shared'}/"
GROUND = (
    "errors.py",
    "fan_out.py",
    "names.py",
    "redact.py",
    "settings.py",
    "contracts/",
    "network/deadlines.py",
    "network/outbound.py",
    "storage/clients.py",
    "storage/paths.py",
    "storage/store.py",
)
RECEIVER = "93.184.216.34"
"""An address that a callback may have: nothing is sent to it here."""


@dataclass
class Walk:
    """What was passed, each once, in the order of the first call."""

    places: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    returns: list[str] = field(default_factory=list)
    """The place by which a file was entered again."""
    reads: list[str] = field(default_factory=list)
    """Paths of the blobs that were read, as often as they were."""
    _visits: set[tuple[CodeType | None, str]] = field(default_factory=set)

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        """The profile function of sys.setprofile."""
        if event != "call":
            return
        code, caller = frame.f_code, frame.f_back
        if code.co_qualname == "BlobStore.get":
            self.reads.append(frame.f_locals["path"])
        if not _counts(code):
            return
        while caller is not None and not _counts(caller.f_code):
            caller = caller.f_back
        file = code.co_filename.removeprefix(CORE)
        place = f"{file}: {code.co_qualname}"
        if place not in self.places:
            self.places.append(place)
        visit = (caller.f_code if caller else None, file)
        if visit in self._visits:
            return
        self._visits.add(visit)
        if file not in self.files:
            self.files.append(file)
        elif caller is None or caller.f_code.co_filename != code.co_filename:
            self.returns.append(place)


def _counts(code: CodeType) -> bool:
    if not code.co_filename.startswith(CORE):
        return False
    file, name = code.co_filename.removeprefix(CORE), code.co_name
    return not file.startswith(GROUND) and not name.startswith(("<", "__"))


def follow(work: Callable[[], object]) -> Walk:
    """The walk of work(), in this thread."""
    walk = Walk()
    sys.setprofile(walk)
    try:
        work()
    finally:
        sys.setprofile(None)
    return walk


def walks(service: InProcessService) -> dict[str, Walk]:
    """Of one job: a clip of two seconds with sound, three small models, a callback."""
    url = service.upload(make_clip(50, sound_from_s=Fraction(0), sound_s=Fraction(2)))
    body = {
        "video": service.sas(url),
        "callback": f"https://{RECEIVER}/hook",
        "profile": "soccer",
        "models": ["crowd-excitement", "pitch-share", "shot-change"],
    }
    runs: list[str] = []

    def submit() -> None:
        runs.append(accept(service.settings, service.store, json.dumps(body).encode(), None).run)

    def records() -> Records:
        return Records(service.store, runs[0])

    found = {"submit": follow(submit)}
    run_plan(service.settings, records())
    found["score_segment"] = follow(lambda: run_score(service.settings, records(), 0))
    for unit in run_look(service.settings, records(), ()).units:
        run_score(service.settings, records(), unit.index)
    found["write_cut"] = follow(lambda: run_cut(service.settings, records(), {}))
    return found


def main() -> None:
    secret = "whsec_" + base64.b64encode(bytes(32)).decode()
    with tempfile.TemporaryDirectory() as folder:
        azurite = Azurite(Path(folder), None)
        azurite.start()
        try:
            azurite.wait_ready()
            service = InProcessService(
                azurite.connection_string, callback_hosts=(RECEIVER,), callback_secrets=(secret,)
            )
            for name, walk in walks(service).items():
                print(
                    f"{name}: {len(walk.places)} places in {len(walk.files)} files, "
                    f"{len(walk.returns)} returns; {len(walk.reads)} reads of {len(set(walk.reads))} blobs"
                )
                if "-v" in sys.argv:
                    print(*(f"  {place}" for place in walk.places), sep="\n")
                    print(*(f"  again {place}" for place in walk.returns), sep="\n")
        finally:
            azurite.stop()


if __name__ == "__main__":
    main()
