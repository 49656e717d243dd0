"""How often a job ran a model's graph, from what it left."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from bench.job import Run, batches
from shared.models import Grid, Track, find_models
from shared.settings import ROOT

MODELS = find_models(ROOT / "models").manifests
RATE = Fraction(25)


def track(rate: int, first: int, windows: int, unknown: tuple[int, ...] = ()) -> Track:
    scores = np.zeros((windows, 1), np.float32)
    scores[list(unknown)] = np.nan
    return Track(Grid(Fraction(rate), 1, 1, 0), ("x",), first, scores)


@pytest.mark.parametrize(
    ("first", "windows", "unknown", "runs"),
    [
        (0, 8, (), 1),
        (0, 9, (), 2),
        (7, 2, (), 2),
        (8, 8, (), 1),
        (0, 0, (), 0),
        (0, 16, tuple(range(8)), 1),  # a batch of which nothing is known is not run
        (0, 16, (0, 3), 2),
    ],
)
def test_batches_lie_on_the_global_grid(
    first: int, windows: int, unknown: tuple[int, ...], runs: int
) -> None:
    manifest = MODELS["motion"].model_copy(update={"batch": 8})
    assert runs == batches(manifest, track(5, first, windows, unknown), RATE, [])


def test_a_key_frame_is_run_once_however_many_samples_show_it() -> None:
    manifest = MODELS["pitch-share"].model_copy(update={"pictures": "key", "batch": 1})
    keys = [0, 50, 100, 130]
    # Samples at frames 0, 12, 25, 37, 50 and so on, up to 112.
    assert 3 == batches(manifest, track(2, 0, 10), RATE, keys)
    assert 1 == batches(manifest, track(2, 4, 4), RATE, keys)
    assert 4 == batches(manifest, track(2, 0, 12), RATE, keys)


def test_azurite_and_the_load_are_no_part_of_the_job() -> None:
    run = Run(
        host_cpu_s=1,
        worker_cpu_s=9,
        azurite_cpu_s=5,
        load_cpu_s=3,
        wall_s=10,
        peak_bytes=0,
        bytes_read=0,
        length_bytes=1,
        units=1,
        stage_cpu_s=8,
    )
    assert run.cpu_s == 10
    assert run.overhead_share == pytest.approx(0.2)
