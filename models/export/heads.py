"""python -m models.export.heads [--out DIR]: camera and play, linear heads on other models' embeddings.

Each is softmax regression with an L2 penalty, fitted by Newton's method in float64 on the embeddings
kept in models/<head>/training.npz (made by models.export.footage). All classes have the same weight. The
penalty is the strongest whose log loss on a match left out of the fit is within one standard error of the
least (Breiman et al., "Classification and regression trees", 1984), since a head fitted on few matches is too
confident.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.export import Array, Build, command, parse
from shared.contracts import Provenance
from shared.models import REFERENCE, read_manifest

MODELS = Path(__file__).resolve().parent.parent
LABELS = ("live-wide", "close-up", "replay")
BATCH = 16
PENALTIES = tuple(base * 10.0**power for power in range(-4, 0) for base in (1, 2, 5))
STEP = 2.0**-18
"""Weights are rounded to multiples of this: coarse enough that differences between machines' linear algebra
vanish, fine enough that no logit moves by more than about 0.0001."""
_ITERATIONS, _STILL = 100, 1e-12

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Head:
    """A head, its source, and its training windows. `sees`: names them in the manifest."""

    name: str
    source: str
    every: int
    """Frames from one window of the training footage to the next."""
    sees: str


HEADS = (
    Head("camera", "frame-features", 10, "still pictures"),
    Head("play", "action", 8, "windows of 16 pictures"),
)


@dataclass(frozen=True)
class Training:
    """A head's training data."""

    embedding: Numbers
    """(n, size), of float16 precision."""
    label: npt.NDArray[np.int64]
    """(n,), indices into LABELS."""
    match: npt.NDArray[np.int64]
    """(n,), the number of each row's match."""

    def part(self, rows: npt.NDArray[np.bool_]) -> Training:
        return Training(self.embedding[rows], self.label[rows], self.match[rows])


def read_training(path: Path) -> Training:
    with np.load(path, allow_pickle=False) as kept:
        label, match = (kept[name].astype(np.int64) for name in ("label", "match"))
        return Training(kept["embedding"].astype(np.float64), label, match)


def probabilities(logits: Numbers) -> Numbers:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def shares(label: npt.NDArray[np.int64]) -> Numbers:
    """Weight of each row (n,): all classes have the same total, and all weights sum to 1."""
    counts = np.bincount(label, minlength=len(LABELS))
    return np.asarray(1 / (np.count_nonzero(counts) * counts[label]))


def fit(training: Training, penalty: float) -> tuple[Numbers, Numbers]:
    """The weights (size, classes) and bias (classes,) that minimise

        sum over rows of share * -log(probability of its label) + penalty / 2 * |scale * weights|^2

    where scale is the root mean square distance of embeddings from their mean. The best weights are weighted
    sums of training rows, so Newton's steps need as many unknowns as rows, not as features.
    """
    share, known = shares(training.label), np.eye(len(LABELS))[training.label]
    mean = share @ training.embedding
    centred = training.embedding - mean
    scale = np.sqrt(share @ (centred**2).sum(axis=1))
    left, sizes, right = np.linalg.svd(centred / scale, full_matrices=False)
    rows = np.column_stack([left * sizes, np.ones(len(left))])
    unknowns, classes = rows.shape[1], len(LABELS)
    ridge = np.append(np.full(unknowns - 1, penalty), 0.0)[:, None]
    # Adding one number to all biases changes nothing: this holds their sum at 0.
    fixed = np.kron(np.ones((classes, classes)), np.diag(np.append(np.zeros(unknowns - 1), 1.0)))
    found = np.zeros((unknowns, classes))

    def loss(values: Numbers) -> float:
        likely = (probabilities(rows @ values) * known).sum(axis=1)
        return float(-share @ np.log(likely) + (ridge * values**2).sum() / 2)

    for _ in range(_ITERATIONS):
        likely = probabilities(rows @ found)
        slope = rows.T @ (share[:, None] * (likely - known)) + ridge * found
        if np.abs(slope).max() < _STILL:
            break
        spread = share[:, None, None] * (
            likely[:, :, None] * np.eye(classes) - likely[:, :, None] * likely[:, None]
        )
        curve = np.einsum("nu,nij,nv->iujv", rows, spread, rows, optimize=True)
        curve = curve.reshape(fixed.shape) + fixed + np.diag(np.tile(ridge[:, 0], classes))
        step = np.linalg.solve(curve, slope.T.ravel()).reshape(classes, unknowns).T
        size = 1.0
        while loss(found - size * step) > loss(found) + 1e-15 and size > 1e-6:
            size /= 2
        found = found - size * step
    weights = right.T @ found[:-1] / scale
    return weights, found[-1] - mean @ weights


def left_out(training: Training, penalty: float) -> Numbers:
    """Probabilities (n, classes) of each row, by a head fitted on the other matches."""
    scores = np.empty((len(training.label), len(LABELS)))
    for match in np.unique(training.match):
        own = training.match == match
        weights, bias = fit(training.part(~own), penalty)
        scores[own] = probabilities(training.embedding[own] @ weights + bias)
    return scores


def log_loss(scores: Numbers, label: npt.NDArray[np.int64]) -> float:
    """Mean over the classes of their mean -log(probability of the right label)."""
    return float(-shares(label) @ np.log(scores[np.arange(len(label)), label]))


def confusion(scores: Numbers, label: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """(classes, classes): how many rows of label i have their highest score at j."""
    table = np.zeros((len(LABELS), len(LABELS)), np.int64)
    np.add.at(table, (label, scores.argmax(axis=1)), 1)
    return table


def losses(training: Training, penalty: float) -> Numbers:
    """(matches,): the log loss of each match, by a head fitted on the others."""
    scores, matches = left_out(training, penalty), np.unique(training.match)
    own = [training.match == match for match in matches]
    return np.array([log_loss(scores[rows], training.label[rows]) for rows in own])


def best_penalty(training: Training) -> float:
    """The one of PENALTIES that the module's docstring describes."""
    table = np.array([losses(training, penalty) for penalty in PENALTIES])
    mean, matches = table.mean(axis=1), table.shape[1]
    least = int(mean.argmin())
    bound = mean[least] + table[least].std(ddof=1) / np.sqrt(matches)
    return max(penalty for penalty, loss in zip(PENALTIES, mean, strict=True) if loss <= bound)


def build(head: Head) -> Build:
    """The head, from its kept embeddings."""
    training = read_training(MODELS / head.name / "training.npz")
    source = read_manifest(MODELS / head.source)
    weights, bias = fit(training, best_penalty(training))
    constants: dict[str, Array] = {
        name: np.asarray(np.round(values / STEP) * STEP, np.float32)
        for name, values in (("weights", weights), ("bias", bias))
    }
    size = training.embedding.shape[1]
    graph = parse(
        f"""
        {head.name} (float[N, {size}] embedding) => (float[N, {len(LABELS)}] logits) {{
          logits = Gemm (embedding, weights, bias)
        }}""",
        constants,
    )
    manifest = {
        "name": head.name,
        "version": "1.0.0",
        "kind": "head",
        "source": head.source,
        "rate": "source",
        "window": 1,
        "stride": 1,
        "anchor": 0,
        "batch": BATCH,
        "input": {"name": "embedding", "layout": "NE"},
        "output": {"name": "logits", "labels": LABELS, "activation": "softmax"},
        "run": source.run,
        "reference": REFERENCE,
        "provenance": Provenance(
            origin=f"matchcut, models/export, on the embedding of {head.source}",
            licence="MIT",
            training_data=f"SoccerNet-MVFoul: {len(training.label)} {head.sees} of nine clips of three "
            "matches, labelled by matchcut; their embeddings are in training.npz",
            source="Softmax regression with an L2 penalty. Held et al., 'VARS: Video assistant referee "
            "system for automated soccer decision making from multiple views', CVPR workshops 2023 "
            "(the clips).",
        ).model_dump(),
    }
    chosen = np.linspace(0, len(training.label) - 1, BATCH).astype(int)
    return Build(graph, manifest, training.embedding[chosen].astype(np.float32))


if __name__ == "__main__":
    command("models.export.heads", *(partial(build, head) for head in HEADS))
