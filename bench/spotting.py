"""`make spotting-bench`: what the soccer profile finds in sample matches.

Six matches of five minutes at 320x180, of seeds that nobody looked at while the profile was made
(models/profiles/soccer.md names those that were). It measures the machinery, not the models' worth on
real footage: docs/sample-match.md says why.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

from bench.figures import Figure, write
from samples.evaluate import Score, score_anchors, score_edits
from samples.match import write_match
from shared.contracts import Timeline
from shared.models import AudioScorer, PictureScorer, Track, find_models, load_model, load_profile, score_head
from shared.settings import ROOT
from shared.spotting import Basis, shot_changes, spot
from shared.timelines import make_edits
from shared.video import Pictures, RangeReader, probe, sound

SEEDS = (21, 22, 23, 24, 25, 26)
SECONDS = 300
PROFILE = load_profile(ROOT / "models", "soccer")


def tracks_of(path: Path) -> tuple[dict[str, Track], Timeline]:
    """(tracks by model, timeline) of a local file, scored in one piece."""
    data = path.read_bytes()

    def reader() -> RangeReader:
        return RangeReader(lambda offset, length: data[offset : offset + length], len(data))

    info = probe(reader(), "", len(data)).info
    there = find_models(ROOT / "models").manifests
    models = [load_model(ROOT / "models" / name) for name in PROFILE.models if there[name].run != "request"]
    pictures = {
        m.manifest.name: PictureScorer(m, info.rate, 0, None)
        for m in models
        if m.manifest.kind not in ("audio", "head")
    }
    last = 0
    for picture in Pictures(reader(), info, 0):
        last = picture.frame
        for scorer in pictures.values():
            scorer.push(picture)
    tracks = {name: scorer.finish(last) for name, scorer in pictures.items()}
    for model in models:
        if model.manifest.kind == "audio":
            listener = AudioScorer(model)
            for chunk in sound(reader(), info, int(model.grid(info.rate).rate), 3600, []):
                listener.push(chunk)
            tracks[model.manifest.name] = listener.finish()
    for model in models:
        if source := model.manifest.source:
            embedding = pictures[source].embedding
            assert embedding is not None  # models check sees to that
            tracks[model.manifest.name] = score_head(model, embedding)
    return tracks, Timeline(info.rate, last + 1)


def total(scores: Iterable[Score]) -> Score:
    several = list(scores)
    return Score(
        *(sum(getattr(s, name) for s in several) for name in ("predicted", "right", "true", "found"))
    )


def main() -> None:
    edits, changes = [], []
    for seed in SEEDS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "match.mp4"
            truth = write_match(path, seconds=SECONDS, seed=seed, width=320, height=180, rate=Fraction(25))
            tracks, timeline = tracks_of(path)
        events = spot(Basis(PROFILE, tracks, timeline))
        cut = make_edits(events, PROFILE.cut, timeline)
        edits.append(
            score_edits(
                [(edit.source_in_frame, edit.source_out_frame) for edit in cut],
                [event.anchor_frame for event in truth.events],
            )
        )
        found = shot_changes(PROFILE.shots, tracks, timeline)
        changes.append(score_anchors(found, [(t.start_frame, t.end_frame) for t in truth.transitions], 1))
        print(f"seed {seed}: edits {edits[-1]}, changes {changes[-1]}")
    figures = []
    for name, score in (
        ("edits that show a shot", total(edits)),
        ("camera changes within 1 frame", total(changes)),
    ):
        for what, value in (("precision", score.precision), ("recall", score.recall)):
            figures.append(Figure(f"{name}: {what}", round(float(value or 0), 3), "share"))
    write("spotting-bench", figures)


if __name__ == "__main__":
    main()
