"""The floors: lower bounds of cost, measured as the bare work without a service around it.

python -m bench.floors VIDEO                        D and A: decoding the picture, and the sound
python -m bench.floors --runs '{"motion": 38}'      I: so many bare runs of each model's graph

D and A: ffmpeg with one thread, to null. I: onnxruntime's session.run alone, with the options that the
service uses, on tensors that are there already, as often and in the shape that a job ran it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.cpu import Spent, measure
from samples.match import EncoderFailed
from shared.contracts import ModelManifest
from shared.models import OnnxModel, load_model
from shared.settings import ROOT

SEED = 1


def bundled_ffmpeg() -> str:
    """imageio-ffmpeg's binary, so that every machine measures with the same build."""
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as missing:
        raise EncoderFailed("the package imageio-ffmpeg has no ffmpeg for this machine") from missing


def picture_floor(video: Path) -> Spent:
    """D: the cost of decoding every picture in one thread."""
    command = [bundled_ffmpeg(), "-v", "error", "-threads", "1", "-i", str(video), "-an", "-f", "null", "-"]
    return measure(command)[0]


def sound_floor(video: Path) -> Spent:
    """A: the cost of decoding the sound in one thread."""
    command = [bundled_ffmpeg(), "-v", "error", "-threads", "1", "-i", str(video), "-vn", "-f", "null", "-"]
    return measure(command)[0]


def inference_floor(runs: Mapping[str, int]) -> dict[str, float]:
    """I: CPU seconds of so many bare runs of each model's graph, in a process of its own, without loading."""
    told = json.dumps(dict(runs))
    _, out = measure([sys.executable, "-m", "bench.floors", "--runs", told])
    found: dict[str, float] = json.loads(out.splitlines()[-1])
    return found


def prepared(model: OnnxModel, sizes: Mapping[str, int | None]) -> npt.NDArray[Any]:
    """One batch as the graph takes it, of seeded noise in the range of a real input."""
    spec, rng = model.manifest.input, np.random.default_rng(SEED)
    shape = [sizes[axis] or 0 for axis in spec.layout]
    if spec.dtype == "uint8":
        return rng.integers(0, 256, shape, np.uint8)
    return rng.uniform(-1, 1, shape).astype(np.float32)


def axes(manifest: ModelManifest, source: ModelManifest | None = None) -> dict[str, int | None]:
    """Size of each axis of a full batch; that of a head's E is its source's embedding."""
    spec = manifest.input
    embedding = source.embedding.size if source and source.embedding else None
    return {
        "N": manifest.batch,
        "T": manifest.window,
        "S": manifest.window,
        "H": spec.height,
        "W": spec.width,
        "C": 1 if spec.colour == "gray" else 3,
        "E": embedding,
    }


def load(name: str) -> tuple[OnnxModel, dict[str, int | None]]:
    """A model and the axes of its batch."""
    folder = ROOT / "models"
    model = load_model(folder / name)
    assert isinstance(model, OnnxModel)  # another engine has no bare run
    source = model.manifest.source
    return model, axes(model.manifest, load_model(folder / source).manifest if source else None)


def _run_bare(runs: Mapping[str, int]) -> dict[str, float]:
    spent = {}
    for name, count in sorted(runs.items()):
        model, sizes = load(name)
        session, spec = model._session, model.manifest  # the very session that the service runs
        outputs = [spec.output.name, *([spec.embedding.name] if spec.embedding else [])]
        feed = {spec.input.name: prepared(model, sizes)}
        session.run(outputs, feed)
        before = time.process_time()
        for _ in range(count):
            session.run(outputs, feed)
        spent[name] = time.process_time() - before
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", type=Path, nargs="?")
    parser.add_argument("--runs", type=json.loads, help="JSON: model -> number of batches")
    chosen = parser.parse_args()
    if chosen.runs is not None:
        print(json.dumps(_run_bare(chosen.runs)))
    if chosen.video:
        for name, floor in (("D", picture_floor), ("A", sound_floor)):
            spent = floor(chosen.video)
            print(f"{name} {spent.cpu_s:.2f} s CPU, {spent.wall_s:.2f} s wall")


if __name__ == "__main__":
    main()
