"""Reference histograms, and how far a track is from one."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from shared.errors import ModelRefused
from shared.models import (
    Grid,
    Reference,
    Track,
    measure_drift,
    measure_reference,
    read_manifest,
    read_reference,
    reference_json,
)
from shared.models.drift import BINS, MOST_LABELS, parse_reference
from shared.settings import ROOT

Scores = npt.NDArray[Any]
GRID = Grid(Fraction(1), 1, 1, 0)
MOTION = read_manifest(ROOT / "models" / "motion").model_copy(update={"reference": "sample/reference.json"})


def track(scores: Scores, labels: tuple[str, ...] = ("energy",)) -> Track:
    return Track(GRID, labels, 0, scores.reshape(len(scores), len(labels)).astype(np.float32))


def normal(seed: int, mean: float = 0.0, count: int = 20_000) -> Track:
    return track(np.random.default_rng(seed).normal(mean, 1, count))


def psi(reference: Reference, track: Track) -> float:
    moved = measure_drift(reference, track)
    assert moved is not None
    return moved.psi


FINITE = arrays(np.float32, st.integers(1, 200), elements=st.floats(-1e6, 1e6, width=32))


@given(FINITE)
def test_every_window_is_counted_once_and_a_track_has_not_drifted_from_itself(scores: Scores) -> None:
    reference = measure_reference(track(scores), "x")
    assert len(scores) == reference.windows == sum(reference.histograms[0].counts)
    assert psi(reference, track(scores)) == 0


@given(FINITE, FINITE)
def test_drift_is_never_negative(one: Scores, other: Scores) -> None:
    assert psi(measure_reference(track(one), "x"), track(other)) >= 0


def test_the_bins_are_of_equal_width_and_the_outer_ones_take_the_rest() -> None:
    (histogram,) = measure_reference(track(np.arange(0, 101)), "x").histograms
    assert (0.0, 100.0) == (histogram.low, histogram.high)
    assert [5] * (BINS - 1) + [6] == list(histogram.counts)
    assert [1] + [0] * (BINS - 2) + [2] == histogram.count(np.array([-1e9, 99.9, 1e9])).tolist()


def test_it_is_the_index_of_the_textbook() -> None:
    """Two bins are filled: 3/4 and 1/4 there, 1/4 and 3/4 here: ln 3 at the limit of many windows."""
    count = 1_000_000
    reference = measure_reference(track(np.repeat([0.0, 1.0], [3 * count, count])), "x")
    moved = psi(reference, track(np.repeat([0.0, 1.0], [count, 3 * count])))
    assert pytest.approx(np.log(3), rel=1e-3) == moved


@pytest.mark.parametrize("shift", [0.25, 0.5, 1.0])
def test_of_a_normal_distribution_it_is_the_square_of_the_shift(shift: float) -> None:
    """As Jeffreys' divergence, of which it is the discrete form."""
    reference = measure_reference(normal(1, count=500_000), "x")
    assert pytest.approx(shift**2, rel=0.1) == psi(reference, normal(2, shift, 500_000))
    assert psi(reference, normal(2)) < 0.01


def test_few_windows_drift_by_chance_as_much_as_the_docstring_says() -> None:
    reference = measure_reference(track(np.random.default_rng(1).uniform(0, 1, 100_000)), "x")
    drawn = [
        measure_drift(reference, track(np.random.default_rng(seed).uniform(0, 1, 400))) for seed in range(200)
    ]
    by_chance = {moved.by_chance for moved in drawn if moved is not None}
    assert by_chance == {(BINS - 1) * (1 / 400 + 1 / 100_000)}
    assert pytest.approx(by_chance.pop(), rel=0.1) == np.mean(
        [moved.psi for moved in drawn if moved is not None]
    )


def test_the_label_that_moved_most_counts() -> None:
    still, other = normal(1).scores, normal(2, 1.0).scores
    reference = measure_reference(track(np.hstack([still, still]), ("a", "b")), "x")
    alone = measure_drift(measure_reference(normal(1), "x"), normal(2, 1.0))
    assert alone == measure_drift(reference, track(np.hstack([still, other]), ("a", "b")))


def test_gaps_are_left_out() -> None:
    scores = normal(1).scores
    gappy = np.vstack([scores, np.full((50, 1), np.nan, np.float32)])
    assert measure_reference(track(scores), "x") == measure_reference(track(gappy), "x")
    assert 0 == psi(measure_reference(track(scores), "x"), track(gappy))


def test_nothing_to_compare_is_no_figure() -> None:
    reference = measure_reference(normal(1), "x")
    assert measure_drift(reference, track(np.full(3, np.nan))) is None
    assert measure_drift(reference, track(np.zeros(3), ("other",))) is None
    with pytest.raises(ValueError, match="no window"):
        measure_reference(track(np.empty(0)), "x")


def test_of_hundreds_of_labels_the_highest_are_kept() -> None:
    labels = tuple(f"class-{number}" for number in range(400))
    scores = np.tile(np.arange(400) % 37 / 37, (5, 1))
    kept = [histogram.label for histogram in measure_reference(track(scores, labels), "x").histograms]
    assert MOST_LABELS == len(kept)
    assert [label for label in labels if int(label[6:]) % 37 == 36] == kept


def test_the_file_reads_back(tmp_path: Path) -> None:
    reference = measure_reference(normal(1), "a sample match")
    text = reference_json(reference)
    assert 1 + 1 + 1 == len(text.splitlines())
    assert reference == parse_reference(text.encode(), MOTION)
    assert read_reference(tmp_path, MOTION.model_copy(update={"reference": None})) is None
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "reference.json").write_text(text)
    assert reference == read_reference(tmp_path, MOTION)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda told: told.update(windows=3), "must sum to windows"),
        (lambda told: told.update(histograms=[]), "histograms: Tuple should have at least 1"),
        (lambda told: told["histograms"][0].update(counts=[1]), "at least 20"),
        (lambda told: told["histograms"][0].update(high=-1e9), "low must be below high"),
        (lambda told: told["histograms"][0].update(label="speed"), "the model has no label speed"),
        (lambda told: told["histograms"].append(told["histograms"][0]), "a label stands there twice"),
    ],
)
def test_a_file_that_is_wrong_is_refused(change: object, says: str) -> None:
    told = json.loads(reference_json(measure_reference(normal(1), "x")))
    assert callable(change)
    change(told)
    with pytest.raises(ModelRefused, match=says):
        parse_reference(json.dumps(told).encode(), MOTION)


@pytest.mark.parametrize("path", ["sample/none.json", "../secret.json"])
def test_a_file_that_is_not_there_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret.json").write_text(reference_json(measure_reference(normal(1), "x")))
    (tmp_path / "model").mkdir()
    with pytest.raises(ModelRefused, match=r"cannot be read|must lie in the model's folder"):
        read_reference(tmp_path / "model", MOTION.model_copy(update={"reference": path}))
