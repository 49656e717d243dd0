"""Measure how a model's scores are spread over footage: its reference histogram (shared/models/drift.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from client.check import BUILT_IN
from client.errors import ClientError
from shared.contracts import ModelManifest
from shared.errors import MatchcutError, ModelRefused
from shared.models import (
    REFERENCE,
    AudioScorer,
    Model,
    PictureScorer,
    Reference,
    Track,
    load_model,
    measure_reference,
    read_manifest,
    reference_json,
    score_head,
)
from shared.video import Pictures, RangeReader, probe, sound

_LIMIT_S = 4 * 3600


def write_references(folders: Sequence[Path], videos: Sequence[Path], measured_on: str = "") -> list[Path]:
    """Score the videos with each model, write the model's histogram, and name the file in its manifest.

    folders: of the models. measured_on: names the footage; the videos' file names without it. A head's source
    lies beside the head, or is built in. Each video is decoded once for all models. Returns the paths of the
    histograms. Raises ClientError.
    """
    try:
        manifests = {folder: read_manifest(folder) for folder in folders}
        models = {manifest.name: load_model(folder) for folder, manifest in manifests.items()}
        for folder, manifest in manifests.items():
            if manifest.source and manifest.source not in models:
                models[manifest.source] = load_model(_source(folder, manifest))
        parts = [score_video(models, video) for video in videos]
    except (MatchcutError, OSError) as failure:
        raise ClientError(failure.message if isinstance(failure, MatchcutError) else str(failure)) from None
    written = []
    for folder, manifest in manifests.items():
        tracks = [part[manifest.name] for part in parts if manifest.name in part]
        try:
            reference = measure_reference(_join(tracks), measured_on or _names(videos))
        except ValueError as nothing:
            raise ClientError(f"{manifest.name} scored nothing of the footage: {nothing}.") from None
        written.append(_write(folder, manifest, reference))
    return written


def score_video(models: Mapping[str, Model], video: Path) -> dict[str, Track]:
    """By model, its track over a whole file, as a job without gaps makes it. A model of the sound has none
    where the file has no sound. Raises NotAVideo and the other errors of reading a video, ModelRefused."""
    length = video.stat().st_size
    with video.open("rb") as file:

        def fetch(offset: int, count: int) -> bytes:
            file.seek(offset)
            return file.read(count)

        def reader() -> RangeReader:
            return RangeReader(fetch, length)

        info = probe(reader(), "", length).info
        seeing = {
            name: PictureScorer(model, info.rate, 0, None)
            for name, model in models.items()
            if model.manifest.kind not in ("audio", "head")
        }
        scorers: dict[str, PictureScorer | AudioScorer] = {**seeing}
        tracks: dict[str, Track] = {}
        if seeing:
            last = None
            for picture in Pictures(reader(), info, 0):
                last = picture.frame
                for scorer in seeing.values():
                    scorer.push(picture)
            tracks = {name: scorer.finish(last) for name, scorer in seeing.items()}
        for name, model in models.items():
            if model.manifest.kind == "audio" and info.audio_stream is not None:
                hearing = AudioScorer(model)
                rate_hz = int(model.grid(info.rate).rate)
                for chunk in sound(reader(), info, rate_hz, _LIMIT_S, []):
                    hearing.push(chunk)
                tracks[name], scorers[name] = hearing.finish(), hearing
    for name, model in models.items():
        source = model.manifest.source
        if source and source in scorers:
            embedding = scorers[source].embedding
            if embedding is None:
                raise ModelRefused(f"model {name}: its source {source} has no embedding")
            tracks[name] = score_head(model, embedding)
    return tracks


def _source(folder: Path, manifest: ModelManifest) -> Path:
    assert manifest.source is not None
    beside = folder.resolve().parent / manifest.source
    return beside if (beside / "model.json").exists() else BUILT_IN / manifest.source


def _join(tracks: Sequence[Track]) -> Track:
    """The windows of several videos, one after the other, which is enough for a histogram."""
    if not tracks:
        raise ValueError("it has no sound")
    return replace(tracks[0], first=0, scores=np.concatenate([track.scores for track in tracks]))


def _names(videos: Sequence[Path]) -> str:
    """The videos' file names and digests, without their folders."""
    return ", ".join(f"{path.name} (sha256 {sha256(path.read_bytes()).hexdigest()[:12]})" for path in videos)


def _write(folder: Path, manifest: ModelManifest, reference: Reference) -> Path:
    path = folder / (manifest.reference or REFERENCE)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ClientError(f"{manifest.name}: {manifest.reference} lies outside the model's folder.")
    named = manifest.model_copy(update={"reference": manifest.reference or REFERENCE})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(reference_json(reference), encoding="utf-8")
        if named != manifest:
            text = named.model_dump_json(indent=2) + "\n"
            (folder / "model.json").write_text(text, encoding="utf-8")
    except OSError as bad:
        raise ClientError(f"{path} cannot be written: {bad.strerror}.") from None
    return path
