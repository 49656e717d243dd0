"""The heads: the same from the kept embeddings each time, as good as their cards say on matches left out."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from models.export import write
from models.export.footage import SHOTS, gather
from models.export.heads import (
    HEADS,
    LABELS,
    MODELS,
    PENALTIES,
    Head,
    Numbers,
    Training,
    best_penalty,
    build,
    confusion,
    fit,
    left_out,
    log_loss,
    losses,
    probabilities,
    read_training,
    shares,
)
from shared.models import find_models, load_model
from shared.settings import ROOT

MEDIA = ROOT.parent / "shared" / "media" / "sn-mvfoul"
heads = pytest.mark.parametrize("head", HEADS, ids=lambda head: head.name)


def _told(head: Head, what: str) -> float:
    """A figure of the card."""
    card = (MODELS / head.name / "CARD.md").read_text(encoding="utf-8")
    found = re.search(rf"{what}: (\d\.\d+)", card)
    assert found, what
    return float(found[1])


def _training(head: Head) -> Training:
    return read_training(MODELS / head.name / "training.npz")


@pytest.fixture(scope="module", autouse=True)
def _each_fit_once() -> Iterator[None]:
    """The same rows and penalty are fitted by several of these tests, some eighty times in all."""
    found: dict[tuple[bytes, bytes, float], tuple[Numbers, Numbers]] = {}

    def fit_once(training: Training, penalty: float) -> tuple[Numbers, Numbers]:
        key = (training.embedding.tobytes(), training.label.tobytes(), penalty)
        if key not in found:
            found[key] = fit(training, penalty)
        return found[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.export.heads.fit", fit_once)
        yield


@heads
def test_a_head_loads_its_golden_sample_holds_and_its_source_has_the_embedding(head: Head) -> None:
    manifest = load_model(MODELS / head.name).manifest
    source = find_models(MODELS).manifests[head.source]
    assert ("head", head.source, LABELS) == (manifest.kind, manifest.source, manifest.output.labels)
    assert source.embedding
    assert source.embedding.size == _training(head).embedding.shape[1]


@heads
def test_building_again_from_the_kept_embeddings_gives_the_committed_head(head: Head, tmp_path: Path) -> None:
    write(build(head), tmp_path)
    for file in ("model.onnx", "model.json"):
        assert (MODELS / head.name / file).read_bytes() == (tmp_path / head.name / file).read_bytes(), file


@heads
def test_on_matches_left_out_it_is_as_good_as_its_card_says(head: Head) -> None:
    training = _training(head)
    scores = left_out(training, best_penalty(training))
    table = confusion(scores, training.label)
    assert _told(head, "left-out accuracy") <= np.trace(table) / table.sum()
    assert _told(head, "mean over the classes") <= (np.diag(table) / table.sum(axis=1)).mean()
    assert log_loss(scores, training.label) <= _told(head, "log loss")
    assert table.sum(axis=1)[0] == table[0, 0]  # the main camera, always


@heads
def test_the_graph_computes_what_was_fitted(head: Head) -> None:
    training = _training(head)
    weights, bias = fit(training, best_penalty(training))
    expected = probabilities(training.embedding @ weights + bias)
    actual = load_model(MODELS / head.name).score(training.embedding.astype(np.float32))
    assert np.abs(expected - actual).max() < 1e-3


@heads
def test_the_penalty_is_the_strongest_within_one_standard_error_of_the_best(head: Head) -> None:
    training = _training(head)
    chosen = best_penalty(training)
    table = {penalty: losses(training, penalty) for penalty in PENALTIES}
    least = min(table.values(), key=np.mean)
    bound = np.mean(least) + np.std(least, ddof=1) / np.sqrt(3)
    assert np.mean(table[chosen]) <= bound
    assert all(np.mean(loss) > bound for penalty, loss in table.items() if penalty > chosen)


@heads
def test_every_match_has_every_label(head: Head) -> None:
    training = _training(head)
    assert 9 == len(Counter(zip(training.match.tolist(), training.label.tolist(), strict=True)))


def test_shots_do_not_overlap_and_wipes_lie_between_them() -> None:
    for (match, clip, _, end, _), (next_match, next_clip, start, _, _) in pairwise(SHOTS):
        assert (match, clip, end) <= (next_match, next_clip, start)
    assert {label for *_, label in SHOTS} == set(LABELS)


# ---------------------------------------------------------------- the fit


def _clouds(seed: int, apart: float, counts: tuple[int, int, int] = (30, 20, 10)) -> Training:
    random = np.random.default_rng(seed)
    label = np.repeat(np.arange(3), counts)
    centres = random.normal(size=(3, 50)) * apart
    match = np.arange(len(label)) % 3
    return Training(centres[label] + random.normal(size=(len(label), 50)), label, match)


@pytest.mark.parametrize("penalty", [1e-3, 0.1])
def test_no_other_weights_have_a_lower_loss(penalty: float) -> None:
    training = _clouds(1, 0.5)
    weights, bias = fit(training, penalty)
    share = shares(training.label)
    centred = training.embedding - share @ training.embedding
    scale = share @ (centred**2).sum(axis=1)

    def loss(values: np.ndarray, offset: np.ndarray) -> float:
        scores = probabilities(training.embedding @ values + offset)
        return log_loss(scores, training.label) + float(penalty * scale * (values**2).sum()) / 2

    least, random = loss(weights, bias), np.random.default_rng(2)
    for _ in range(50):
        other = weights + 1e-3 * random.normal(size=weights.shape)
        assert loss(other, bias + 1e-3 * random.normal(size=3)) > least


def test_copies_of_one_class_change_nothing() -> None:
    training = _clouds(3, 0.5)
    more = np.concatenate([np.arange(60), np.flatnonzero(training.label == 2)])
    twice = Training(training.embedding[more], training.label[more], training.match[more])
    for once, again in zip(fit(training, 0.01), fit(twice, 0.01), strict=True):
        assert np.abs(once - again).max() < 1e-9


def test_more_features_than_rows_and_the_order_of_rows_change_nothing() -> None:
    training = _clouds(4, 0.5, (8, 7, 6))
    order = np.random.default_rng(5).permutation(21)
    mixed = Training(training.embedding[order], training.label[order], training.match[order])
    for once, again in zip(fit(training, 0.001), fit(mixed, 0.001), strict=True):
        assert np.abs(once - again).max() < 1e-9


def test_labels_without_meaning_are_not_learned() -> None:
    training = _clouds(6, 0.0)
    scores = left_out(training, best_penalty(training))
    assert log_loss(scores, training.label) == pytest.approx(np.log(3), abs=0.1)


# ---------------------------------------------------------------- real footage


@pytest.mark.media
def test_the_kept_embeddings_are_those_of_the_clips() -> None:
    if not MEDIA.exists():
        pytest.skip("no footage beside the checkout")
    head = HEADS[0]
    new = gather(head, MEDIA)
    with np.load(MODELS / head.name / "training.npz", allow_pickle=False) as kept:
        for name in ("label", "match", "clip", "frame"):
            assert kept[name].tolist() == new[name].tolist()
        difference = np.abs(kept["embedding"].astype(float) - new["embedding"].astype(float))
    assert difference.max() < 0.05
