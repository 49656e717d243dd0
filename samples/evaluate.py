"""How much of the truth a result finds: precision and recall, pure.

Edits are judged as a viewer would: an edit is right if it shows a shot being struck, a shot is found
if an edit shows it. Anchors and camera changes are matched one to one within a tolerance. All
frames are on the timeline; spans are half-open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from samples.truth import Truth
from shared.contracts import Result

ANCHOR_TOLERANCE_S = 5
"""How far an event's anchor may lie from the truth's, at most."""
CHANGE_TOLERANCE_FRAMES = 1


@dataclass(frozen=True)
class Score:
    """Of `predicted` things `right` were right, of `true` ones `found` were found."""

    predicted: int
    right: int
    true: int
    found: int

    @property
    def precision(self) -> Fraction | None:
        """None where nothing was predicted."""
        return Fraction(self.right, self.predicted) if self.predicted else None

    @property
    def recall(self) -> Fraction | None:
        """None where there was nothing to find."""
        return Fraction(self.found, self.true) if self.true else None


@dataclass(frozen=True)
class Evaluation:
    edits: Score
    anchors: Score
    changes: Score


def score_edits(edits: Iterable[tuple[int, int]], anchors: Iterable[int]) -> Score:
    """Edits [in, out) against true anchors, each a frame.

    An anchor belongs to the first edit, by in then out, that holds it, and to no other. An edit that
    owns at least one anchor is right, however many it owns: an edit may be the join of several.
    """
    spans = sorted(edits)
    true = sorted(anchors)
    owners = [next((k for k, (low, high) in enumerate(spans) if low <= a < high), None) for a in true]
    owned = [k for k in owners if k is not None]
    return Score(len(spans), len(set(owned)), len(true), len(owned))


def score_anchors(predicted: Iterable[int], true: Iterable[tuple[int, int]], tolerance_frames: int) -> Score:
    """Frames against true spans [start, end), one to one, nearest pairs first, then earliest.

    A frame is as far from a span as from its nearest frame; a single true frame is [f, f + 1).
    """
    guesses, spans = sorted(predicted), sorted(true)
    pairs = []
    for g, frame in enumerate(guesses):
        for t, (low, high) in enumerate(spans):
            far = max(low - frame, frame - (high - 1), 0)
            if far <= tolerance_frames:
                pairs.append((far, g, t))
    used_g: set[int] = set()
    used_t: set[int] = set()
    for _, g, t in sorted(pairs):
        if g not in used_g and t not in used_t:
            used_g.add(g)
            used_t.add(t)
    return Score(len(guesses), len(used_g), len(spans), len(used_t))


def evaluate(result: Result, truth: Truth, labels: Sequence[str] = ()) -> Evaluation:
    """A result against the truth of its video. `labels` limits the events judged; none means all.

    Only edits that show one of these events count. A wipe is found by a change anywhere within it.
    Raises ValueError where the two are of different rates.
    """
    if result.video.rate != truth.rate:
        raise ValueError(f"the result is at {result.video.rate} frames per second, the truth at {truth.rate}")
    chosen = {k for k, event in enumerate(result.events) if not labels or event.label in labels}
    anchors = [event.anchor_frame for event in truth.events]
    return Evaluation(
        edits=score_edits(
            [(e.source_in_frame, e.source_out_frame) for e in result.edits if chosen & set(e.events)], anchors
        ),
        anchors=score_anchors(
            [result.events[k].anchor_frame for k in chosen],
            [(a, a + 1) for a in anchors],
            int(ANCHOR_TOLERANCE_S * truth.rate),
        ),
        changes=score_anchors(
            result.shot_changes,
            [(t.start_frame, t.end_frame) for t in truth.transitions],
            CHANGE_TOLERANCE_FRAMES,
        ),
    )


def _share(value: Fraction | None) -> str:
    return "n/a" if value is None else f"{float(value):.2f}"


def summary(evaluation: Evaluation) -> str:
    """One sentence, for the last line of the demo."""
    edits, changes = evaluation.edits, evaluation.changes
    return (
        f"Against the sample's truth: {edits.right} of {edits.predicted} edits show a shot"
        f" (precision {_share(edits.precision)}), {edits.found} of {edits.true} shots are shown"
        f" (recall {_share(edits.recall)}); camera changes: precision {_share(changes.precision)},"
        f" recall {_share(changes.recall)}."
    )
