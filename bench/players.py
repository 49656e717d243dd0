"""Whole picture or two tiles: how many people the players' detector finds, and what it costs.

python -m bench.players FOLDER [--beside MODEL]

FOLDER holds action_<match>_clip_0.mp4 of SoccerNet-MVFoul. --beside: the folder of another model of
pictures, such as an earlier version, timed as well. Everything runs on one thread and in turns; costs are
medians of CPU time: of the table the network and the places of its boxes, of models all that scoring a
window takes but its pictures.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
from onnx.utils import Extractor

from bench.people import PEOPLE, SIZE, Array, found, pictures
from models.export import players
from shared.models import Model, OnnxModel, load_model
from shared.settings import ROOT

LEAST = 0.2
"""Score from which on a box is compared with the people."""
ROUNDS = 60
BATCHES = (1, 2, 4)
"""Windows a run that are tried, whatever the manifest says."""


@dataclass(frozen=True)
class Layout:
    """The picture at width x height, cut into tiles of tile x height that begin at these columns."""

    width: int
    height: int
    tile: int
    starts: tuple[int, ...]

    def __str__(self) -> str:
        if len(self.starts) == 1:
            return f"{self.width} x {self.height}, whole"
        return f"{self.width} x {self.height}, {len(self.starts)} tiles of {self.tile} x {self.height}"

    def cut(self, picture: Array) -> Array:
        """uint8 (tiles, 2, height, tile, 3), each tile twice, as the graph takes pairs."""
        sized = _sized(picture, self.width, self.height)
        tiles = np.stack([sized[:, start : start + self.tile] for start in self.starts])
        return np.repeat(tiles[:, None], 2, axis=1)


LAYOUTS = (
    Layout(416, 416, 416, (0,)),
    Layout(512, 288, 512, (0,)),
    Layout(512, 288, 288, (0, 224)),
    Layout(640, 352, 640, (0,)),
    Layout(736, 416, 736, (0,)),
    Layout(736, 416, 416, (0, 320)),
    Layout(832, 480, 832, (0,)),
)
"""Tiles are square, as in training, and overlap by 64 and 96 pixels, wider than a player of the main
camera."""


def _sized(picture: Array, width: int, height: int) -> Array:
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))


def detector(layout: Layout) -> Any:
    """A session of the part of the graph that gives "person" and "place_boxes": onnxruntime would also run
    the parts whose outputs are not requested."""
    whole = Extractor(players.model(layout.tile, layout.height))
    graph = whole.extract_model(["frames"], ["person", "place_boxes"])
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])


def detect(session: Any, layout: Layout, picture: Array) -> tuple[Array, Array]:
    """Scores (n,), falling, and boxes (n, 4) in pixels of the picture, after suppression over all tiles."""
    person, boxes = session.run(["person", "place_boxes"], {"frames": layout.cut(picture)})
    boxes = boxes + np.array(layout.starts)[:, None, None] * (1, 0, 1, 0)
    scores, boxes = person.ravel(), boxes.reshape(-1, 4)
    best = np.argsort(-scores, kind="stable")[: players.CANDIDATES]
    best = best[scores[best] > players.DOUBTFUL]
    kept = best[suppress(boxes[best])]
    scale = np.array([SIZE[0] / layout.width, SIZE[1] / layout.height] * 2)
    return scores[kept], boxes[kept] * scale


def suppress(boxes: Array) -> list[int]:
    """Greedy non-maximum suppression of boxes (n, 4), best first: the numbers of those that stay."""
    kept: list[int] = []
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for number, box in enumerate(boxes):
        low, high = np.maximum(boxes[kept, :2], box[:2]), np.minimum(boxes[kept, 2:], box[2:])
        common = (high - low).clip(0).prod(axis=1)
        if not (common > players.OVERLAP * (areas[kept] + areas[number] - common)).any():
            kept.append(number)
    return kept


def judged(session: Any, layout: Layout, seen: Mapping[tuple[int, int], Array]) -> tuple[int, int, float]:
    """(people found, boxes, mean error of the count) over all pictures."""
    hits, boxes, errors = 0, 0, []
    for key, people in PEOPLE.items():
        scores, places = detect(session, layout, seen[key])
        sure = places[scores >= LEAST]
        hits, boxes = hits + found(sure, np.array(people)), boxes + len(sure)
        weights = ((scores - players.DOUBTFUL) / (players.SURE - players.DOUBTFUL)).clip(0, 1)
        errors.append(abs(weights.sum() - len(people)))
    return hits, boxes, float(np.mean(errors))


def costs_ms(works: Sequence[Callable[[], object]], rounds: int = ROUNDS) -> list[float]:
    """Median CPU milliseconds of each; they run in turns, after one turn of warming up."""
    spent: list[list[float]] = [[] for _ in works]
    for number in range(rounds + 1):
        for work, times in zip(works, spent, strict=True):
            before = time.process_time()
            work()
            if number:
                times.append((time.process_time() - before) * 1000)
    return [float(np.median(times)) for times in spent]


def windows_of(model: Model, picture: Array) -> Array:
    """A batch of windows that show the picture, moved by two pixels from sample to sample."""
    spec = model.manifest
    assert spec.input.width
    assert spec.input.height
    sized = _sized(picture, spec.input.width, spec.input.height)
    samples = [np.roll(sized, 2 * number, axis=1) for number in range(spec.window)]
    return np.stack([np.stack(samples)] * spec.batch)


def table(seen: Mapping[tuple[int, int], Array], some: Array) -> None:
    """Prints what each layout finds and costs."""
    sessions = [detector(layout) for layout in LAYOUTS]
    costs = costs_ms(
        [
            partial(session.run, ["person", "place_boxes"], {"frames": layout.cut(some)})
            for session, layout in zip(sessions, LAYOUTS, strict=True)
        ]
    )
    people = sum(len(each) for each in PEOPLE.values())
    print("| input | people found | precision | mean error of player_count | CPU ms |")
    print("| --- | --- | --- | --- | --- |")
    for session, layout, cost in zip(sessions, LAYOUTS, costs, strict=True):
        hits, boxes, error = judged(session, layout, seen)
        print(f"| {layout} | {hits} of {people} | {hits / boxes:.2f} | {error:.1f} | {cost:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.players")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--beside", type=Path)
    arguments = parser.parse_args()
    seen = pictures(arguments.folder)
    some = next(iter(seen.values()))
    table(seen, some)

    folder = ROOT / "models" / players.NAME
    spec, graph = load_model(folder).manifest, (folder / "model.onnx").read_bytes()
    models: list[Model] = [OnnxModel(spec.model_copy(update={"batch": size}), graph) for size in BATCHES]
    if arguments.beside:
        models.append(load_model(arguments.beside))
    costs = costs_ms([partial(model.see, windows_of(model, some)) for model in models])
    for told, cost in zip((model.manifest for model in models), costs, strict=True):
        name = f"{told.name} {told.version}, batch {told.batch}"
        print(f"{name}: {cost / told.batch:.1f} ms of CPU a window")


if __name__ == "__main__":
    main()
