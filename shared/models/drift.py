"""How far a model's scores on a video lie from its scores on known footage. Pure.

A model's reference, sample/reference.json, holds one histogram of scores per label, measured on known
footage. On footage of another kind a model's scores shift, long before anybody misses an event.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError, model_validator

from shared.contracts import Contract, ModelManifest
from shared.errors import ModelRefused
from shared.models.tracks import Track

REFERENCE = "sample/reference.json"
"""Where a model's reference lies in its folder, unless its manifest says otherwise."""
BINS = 20
MOST_LABELS = 10
"""A model with MANY_LABELS or more keeps histograms only of the labels with the highest mean score."""
MANY_LABELS = 100


class Histogram(Contract):
    """One label's scores in BINS bins of equal width from low to high; the outer bins also hold outliers."""

    label: str
    low: float
    high: float
    counts: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=BINS, max_length=BINS)]

    @model_validator(mode="after")
    def _consistent(self) -> Histogram:
        if not self.low < self.high:
            raise ValueError("low must be below high")
        return self

    def count(self, values: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
        """How many of the values (n,) lie in each bin: int64 (BINS,)."""
        scaled = (np.asarray(values, np.float64) - self.low) / (self.high - self.low) * BINS
        return np.bincount(np.floor(scaled).clip(0, BINS - 1).astype(np.int64), minlength=BINS)


class Reference(Contract):
    """How a model's scores are spread over known footage. `windows`: how many were scored."""

    schema_version: Literal[1] = 1
    measured_on: str
    windows: Annotated[int, Field(ge=1)]
    histograms: Annotated[tuple[Histogram, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Reference:
        if any(sum(histogram.counts) != self.windows for histogram in self.histograms):
            raise ValueError("the counts of every label must sum to windows")
        return self


def measure_reference(track: Track, measured_on: str) -> Reference:
    """The reference that a track gives, gaps left out. `measured_on`: names the footage.

    A track of MANY_LABELS or more labels keeps the MOST_LABELS with the highest mean score.
    Raises ValueError for a track without a score.
    """
    scores = _scored(track)
    if not len(scores):
        raise ValueError("no window was scored")
    columns = list(range(len(track.labels)))
    if len(columns) >= MANY_LABELS:
        columns = sorted(np.argsort(-scores.mean(axis=0), kind="stable")[:MOST_LABELS].tolist())
    histograms = []
    for column in columns:
        values = scores[:, column]
        # Six digits: the last ones of a score may differ between machines.
        low, high = (float(f"{value:.6g}") for value in (values.min(), values.max()))
        empty = Histogram(
            label=track.labels[column], low=low, high=high if low < high else low + 1, counts=(0,) * BINS
        )
        histograms.append(empty.model_copy(update={"counts": tuple(empty.count(values).tolist())}))
    return Reference(measured_on=measured_on, windows=len(scores), histograms=tuple(histograms))


class Moved(NamedTuple):
    """A population stability index, and the one that chance alone would give."""

    psi: float
    by_chance: float


def measure_drift(reference: Reference, track: Track) -> Moved | None:
    """The population stability index (PSI) of the label that moved most; None where reference and track share
    no label, or the track has no score.

    PSI = sum over bins of (a - e) ln(a / e), a and e the shares of the track and of the reference
    (Siddiqi, "Credit risk scorecards", Wiley 2006; its rule of thumb: below 0.1 no change, above 0.25
    another population). Each bin gets half a count more, so that an empty bin stays finite. Samples of n and
    m windows of the same footage give about (BINS - 1)(1/n + 1/m) by chance (Yurdakul and Naranjo,
    "Statistical properties of the population stability index", J. Risk Model Validation 14(4), 2020). Windows
    that overlap or follow each other are alike, so real footage gives more.
    """
    scores = _scored(track)
    column = {label: number for number, label in enumerate(track.labels)}
    known = [histogram for histogram in reference.histograms if histogram.label in column]
    if not len(scores) or not known:
        return None
    most = max(
        _stability(np.array(histogram.counts), histogram.count(scores[:, column[histogram.label]]))
        for histogram in known
    )
    return Moved(most, (BINS - 1) * (1 / len(scores) + 1 / reference.windows))


def _stability(expected: npt.NDArray[np.int64], actual: npt.NDArray[np.int64]) -> float:
    a, e = ((counts + 0.5) / (counts.sum() + 0.5 * BINS) for counts in (actual, expected))
    return float(np.sum((a - e) * np.log(a / e)))


def _scored(track: Track) -> npt.NDArray[np.float64]:
    """float64 (n, n_classes): the track's rows without its gaps."""
    scores = track.scores.astype(np.float64)
    return scores[np.isfinite(scores).all(axis=1)]


def read_reference(folder: Path, manifest: ModelManifest) -> Reference | None:
    """The reference that the manifest names; None where it names none. Raises ModelRefused."""
    if manifest.reference is None:
        return None
    path = (folder / manifest.reference).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ModelRefused(f"model {manifest.name}: the reference must lie in the model's folder")
    try:
        return parse_reference(path.read_bytes(), manifest)
    except OSError as bad:
        raise ModelRefused(
            f"model {manifest.name}: {manifest.reference} cannot be read ({bad.strerror})"
        ) from bad


def parse_reference(data: bytes, manifest: ModelManifest) -> Reference:
    """Read reference.json. Raises ModelRefused if it is malformed or names a label that the model lacks."""
    where = f"model {manifest.name}: {manifest.reference}"
    try:
        reference = Reference.model_validate_json(data)
    except ValidationError as bad:
        first = bad.errors(include_url=False, include_input=False)[0]
        at = ".".join(str(part) for part in first["loc"]) or "file"
        raise ModelRefused(f"{where}: {at}: {first['msg']}") from bad
    labels = [histogram.label for histogram in reference.histograms]
    if strange := sorted(set(labels) - set(manifest.output.labels)):
        raise ModelRefused(f"{where}: the model has no label {', '.join(strange)}")
    if len(set(labels)) != len(labels):
        raise ModelRefused(f"{where}: a label stands there twice")
    return reference


def reference_json(reference: Reference) -> str:
    """The text of reference.json: one line per label, so that a diff shows which label changed."""
    head = reference.model_dump_json(exclude={"histograms"})[:-1]
    lines = chain([f'{head},"histograms":['], [",\n".join(h.model_dump_json() for h in reference.histograms)])
    return "\n".join([*lines, "]}", ""])
