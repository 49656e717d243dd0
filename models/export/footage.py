"""python -m models.export.footage FOLDER: the heads' training data, from the clips of SoccerNet-MVFoul.

Writes models/<head>/training.npz: embeddings and labels, no picture. FOLDER holds action_<match>_clip_<k>.mp4
for matches and clips 0, 1 and 2.

Labels, by eye, shot by shot; the pictures of a wipe or a dissolve belong to none:

live-wide  the main camera, high at the side, while the ball is in play: clip 0 of each match.
close-up   people from near while play rests: they stand, walk or talk. Shown live, before a wipe or after.
replay     play itself from near, a run, a tackle, a fall, often legs and ball alone: between the wipes,
           in slow motion. Also one shot from above (match 2), the widest of them.

So the broadcast decides between close-up and replay, not the size of people: both have tight and wider shots.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from models.export.heads import HEADS, LABELS, MODELS, Head
from shared.models import Model, load_model
from shared.video import Picture, Pictures, RangeReader, probe

SHOTS = (
    (0, 0, 0, 126, "live-wide"),
    (0, 1, 0, 7, "close-up"),
    (0, 1, 7, 53, "close-up"),
    (0, 1, 60, 95, "replay"),
    (0, 1, 99, 126, "replay"),
    (0, 2, 0, 9, "close-up"),
    (0, 2, 16, 58, "replay"),
    (0, 2, 62, 97, "replay"),
    (0, 2, 104, 126, "close-up"),
    (1, 0, 0, 126, "live-wide"),
    (1, 1, 0, 28, "close-up"),
    (1, 1, 40, 108, "replay"),
    (1, 1, 113, 126, "replay"),
    (1, 2, 0, 43, "replay"),
    (1, 2, 48, 121, "replay"),
    (2, 0, 0, 126, "live-wide"),
    (2, 1, 0, 50, "close-up"),
    (2, 1, 60, 127, "replay"),
    (2, 2, 0, 21, "replay"),
    (2, 2, 25, 126, "replay"),
)
"""(match, clip, first frame, frame after the last, label) of each shot."""


def frames_of(path: Path) -> list[Picture]:
    """All pictures of a file, as the service decodes them."""
    data = path.read_bytes()

    def reader() -> RangeReader:
        return RangeReader(lambda offset, length: data[offset : offset + length], len(data))

    return list(Pictures(reader(), probe(reader(), "", len(data)).info, 0))


def embed(model: Model, pictures: list[Picture]) -> npt.NDArray[np.float16]:
    """Embedding float16 (size,) of one window, as the service makes it."""
    spec = model.manifest.input
    assert spec.width
    assert spec.height
    assert spec.colour
    window = np.stack([picture.image(spec.width, spec.height, spec.colour, spec.fit) for picture in pictures])
    embedding = model.see(window[None]).embedding
    assert embedding is not None
    return np.asarray(embedding[0])


def windows(head: Head, window: int) -> Iterator[tuple[int, int, int, int]]:
    """(match, clip, first frame, label) of every window that lies in one shot, `head.every` frames apart."""
    for match, clip, start, end, label in SHOTS:
        for frame in range(start, end - window + 1, head.every):
            yield match, clip, frame, LABELS.index(label)


def gather(head: Head, folder: Path) -> dict[str, Any]:
    """The arrays of training.npz: embedding float16 (n, size); label, match, clip, frame (n,)."""
    source = load_model(MODELS / head.source)
    length = source.manifest.window
    rows = list(windows(head, length))
    embeddings, shown, frames = [], (-1, -1), list[Picture]()
    for match, clip, frame, _ in rows:
        if shown != (match, clip):
            shown, frames = (match, clip), frames_of(folder / f"action_{match}_clip_{clip}.mp4")
        embeddings.append(embed(source, frames[frame : frame + length]))
    match, clip, frame, label = np.array(rows, np.uint8).T
    return {"embedding": np.stack(embeddings), "label": label, "match": match, "clip": clip, "frame": frame}


if __name__ == "__main__":
    for head in HEADS:
        arrays = gather(head, Path(sys.argv[1]))
        (MODELS / head.name).mkdir(exist_ok=True)
        np.savez_compressed(MODELS / head.name / "training.npz", **arrays)
        print(f"{head.name}: {len(arrays['label'])} windows, {np.bincount(arrays['label']).tolist()}")
