"""How far a model's scores have moved from where they were when it was made (pure).

A reference is a histogram per label over known footage: sample/reference.json of a model. A model that
meets other footage than it was made for scores it elsewhere, long before anybody misses an event.
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
"""Of a model with more labels than it can be told by, those with the highest mean are kept."""
MANY_LABELS = 100


class Histogram(Contract):
    """Of one label: BINS bins of equal width from low to high; what lies outside is in the outer ones."""

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
        """int64 (BINS,): how many of the values (n,) lie in each bin."""
        scaled = (np.asarray(values, np.float64) - self.low) / (self.high - self.low) * BINS
        return np.bincount(np.floor(scaled).clip(0, BINS - 1).astype(np.int64), minlength=BINS)


class Reference(Contract):
    schema_version: Literal[1] = 1
    measured_on: str
    windows: Annotated[int, Field(ge=1)]
    histograms: Annotated[tuple[Histogram, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Reference:
        if any(sum(histogram.counts) != self.windows for histogram in self.histograms):
            raise ValueError("the counts of every label must sum to windows")
        return self


def measure(track: Track, measured_on: str) -> Reference:
    """The reference that a track gives; gaps are left out. Of MANY_LABELS or more labels only the
    MOST_LABELS with the highest mean. Raises ValueError for a track without a score."""
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
    psi: float
    by_chance: float


def drift(reference: Reference, track: Track) -> Moved | None:
    """The population stability index of the label that moved most, and what chance would give; None where
    nothing can be compared.

    PSI = sum over bins of (a - e) ln(a / e), a and e the shares of the track and of the reference
    (Siddiqi, "Credit risk scorecards", Wiley 2006; its rule of thumb: below 0.1 nothing, above 0.25
    another population). Half a count is added to each bin, so that an empty one is finite. Samples of n and m
    windows of the same footage give about (BINS - 1)(1/n + 1/m) by chance (Yurdakul and Naranjo, "Statistical
    properties of the population stability index", J. Risk Model Validation 14(4), 2020); windows that
    overlap or follow each other are alike, so real footage gives more.
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
    scores = track.scores.astype(np.float64)
    return scores[np.isfinite(scores).all(axis=1)]


def read_reference(folder: Path, manifest: ModelManifest) -> Reference | None:
    """What the manifest names; None where it names none. Raises ModelRefused."""
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
    """Raises ModelRefused where it is malformed, or about labels that the model has not."""
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
    """The file: a line per label, so that a change of one is seen as such."""
    head = reference.model_dump_json(exclude={"histograms"})[:-1]
    lines = chain([f'{head},"histograms":['], [",\n".join(h.model_dump_json() for h in reference.histograms)])
    return "\n".join([*lines, "]}", ""])
