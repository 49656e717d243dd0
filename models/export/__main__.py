"""python -m models.export [--out DIR]: builds every built-in model (default: into models/)."""

from __future__ import annotations

import argparse
from pathlib import Path

from models.export import crowd_excitement, motion, pitch_share, shot_change, write

BUILDERS = (crowd_excitement.build, motion.build, pitch_share.build, shot_change.build)


def build_all(out: Path) -> None:
    for build in BUILDERS:
        manifest = write(build(), out)
        print(f"{manifest.name} {manifest.version} {manifest.digest}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m models.export", description="Builds the built-in models."
    )
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent)
    build_all(parser.parse_args().out)
