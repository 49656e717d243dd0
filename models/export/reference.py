"""python -m models.export.reference [--models DIR]: write the reference histogram of every model.

Scores a sample match with each model below DIR (default: models/), writes the model's sample/reference.json,
and names that in the manifest. The match is made anew from its seed, so the same encoder and runtime give the
same files.
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
    """Write the references; returns their paths, one per model of the folder that runs without a request."""
    folders = sorted(path.parent for path in models.glob("*/model.json"))
    # A model that runs on request is for footage unlike the sample.
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
