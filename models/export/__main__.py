"""python -m models.export [--out DIR]: builds every built-in model (default: into models/)."""

from __future__ import annotations

from models.export import command, crowd_excitement, motion, pitch_share, shot_change

BUILDERS = (crowd_excitement.build, motion.build, pitch_share.build, shot_change.build)

if __name__ == "__main__":
    command("models.export", *BUILDERS)
