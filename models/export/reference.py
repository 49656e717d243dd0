"""python -m models.export.reference [--models DIR]: how every model scores a sample match.

Writes sample/reference.json of each folder below DIR that has a model.json (default: of models/), and names
it in the manifest. The match is made anew from its seed, so the same encoder and runtime give the same files.
"""

from __future__ import annotations

import argparse
import tempfile
from fractions import Fraction
from pathlib import Path

from client.histogram import write_references
from samples.match import write_match
from shared.models import read_manifest

SEED, SECONDS, WIDTH, HEIGHT, RATE = 17, 90, 640, 360, Fraction(25)
MEASURED_ON = f"the sample match of seed {SEED}: {SECONDS} s, {WIDTH} x {HEIGHT}, {RATE} frames per second"


def write_all(models: Path) -> list[Path]:
    """The files written, one per model in the folder."""
    folders = sorted(path.parent for path in models.glob("*/model.json"))
    # A model that runs on request is for footage that the sample is not.
    folders = [folder for folder in folders if read_manifest(folder).run != "request"]
    with tempfile.TemporaryDirectory() as scratch:
        video = Path(scratch) / "match.mp4"
        write_match(video, seconds=SECONDS, seed=SEED, width=WIDTH, height=HEIGHT, rate=RATE)
        return write_references(folders, [video], MEASURED_ON)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m models.export.reference", description="Writes the reference histograms."
    )
    parser.add_argument("--models", type=Path, default=Path(__file__).resolve().parent.parent)
    for path in write_all(parser.parse_args().models):
        print(path)
