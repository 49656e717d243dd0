from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samples.evaluate import Evaluation, Score, evaluate, score_anchors, score_edits, summary
from samples.truth import Parameters, Transition, TrueEvent, Truth
from shared.contracts import Edit, Event, Result
from tests.support.results import a_result, a_video


def _points(*frames: int) -> list[tuple[int, int]]:
    return [(frame, frame + 1) for frame in frames]


def test_an_edit_is_right_if_it_holds_a_shot_and_its_end_is_outside() -> None:
    assert Score(3, 1, 2, 1) == score_edits([(0, 100), (200, 300), (400, 500)], [250, 500])


def test_an_edit_of_two_shots_is_one_right_edit_and_two_found_shots() -> None:
    score = score_edits([(0, 300), (400, 450)], [50, 250, 700])
    assert Score(2, 1, 3, 2) == score
    assert (Fraction(1, 2), Fraction(2, 3)) == (score.precision, score.recall)


def test_a_shot_is_counted_for_one_edit_only() -> None:
    assert Score(2, 1, 1, 1) == score_edits([(0, 100), (50, 150)], [60])


def test_nothing_predicted_and_nothing_true_have_no_share() -> None:
    assert (None, Fraction(0)) == (score_edits([], [5]).precision, score_edits([], [5]).recall)
    assert (Fraction(0), None) == (score_edits([(0, 9)], []).precision, score_edits([(0, 9)], []).recall)


def test_nearest_anchors_are_matched_first_and_each_once() -> None:
    assert Score(3, 2, 2, 2) == score_anchors([90, 104, 300], _points(100, 310), 25)
    assert Score(2, 1, 1, 1) == score_anchors([99, 101], _points(100), 1)
    assert Score(1, 0, 1, 0) == score_anchors([102], _points(100), 1)


def test_a_change_anywhere_in_a_wipe_finds_it() -> None:
    assert Score(2, 1, 1, 1) == score_anchors([93, 107], [(94, 106)], 1)


@given(
    st.lists(st.integers(0, 500), max_size=12), st.lists(st.integers(0, 500), max_size=12), st.integers(0, 30)
)
def test_as_many_are_right_as_are_found_and_none_twice(a: list[int], b: list[int], tolerance: int) -> None:
    score = score_anchors(a, _points(*b), tolerance)
    assert score.right == score.found <= min(len(a), len(b))
    assert score == score_anchors(a[::-1], _points(*b[::-1]), tolerance)


@given(st.lists(st.integers(0, 500), max_size=12, unique=True))
def test_the_truth_itself_scores_full_marks(anchors: list[int]) -> None:
    n = len(anchors)
    assert Score(n, n, n, n) == score_edits(_points(*anchors), anchors)
    assert Score(n, n, n, n) == score_anchors(anchors, _points(*anchors), 0)


def _event(label: str, frame: int) -> Event:
    return Event(
        label=label,
        anchor_frame=frame,
        anchor_s=Fraction(frame, 25),
        start_frame=frame,
        end_frame=frame + 1,
        confidence=1,
        evidence=(),
    )


def _result(rate: Fraction = Fraction(25)) -> Result:
    return a_result(
        a_video(rate=rate, frames_decoded=2250, duration_frames=2250, duration_s=Fraction(90)),
        events=(_event("highlight", 510), _event("break", 900), _event("highlight", 1600)),
        edits=(
            Edit(number=1, source_in_frame=400, source_out_frame=600, events=(0,)),
            Edit(number=2, source_in_frame=850, source_out_frame=1000, events=(1,)),
            Edit(number=3, source_in_frame=1500, source_out_frame=1700, events=(2,)),
        ),
        shot_changes=(101, 700, 1200),
    )


def _truth() -> Truth:
    return Truth(
        generator_version="1",
        seed=1,
        parameters=Parameters(seconds=90, width=640, height=360),
        rate=Fraction(25),
        frames=2250,
        events=tuple(
            TrueEvent(anchor_frame=f, start_frame=f - 20, end_frame=f + 20, outcome="wide", reaction=0.5)
            for f in (500, 950, 2000)
        ),
        decoys=(),
        shot_changes=(100, 702, 1205),
        transitions=(
            Transition(kind="cut", frame=100, start_frame=100, end_frame=101, replay=False),
            Transition(kind="cut", frame=702, start_frame=702, end_frame=703, replay=False),
            Transition(kind="wipe", frame=1205, start_frame=1198, end_frame=1212, replay=True),
        ),
    )


def test_a_result_is_judged_by_its_edits_anchors_and_changes() -> None:
    expected = Evaluation(edits=Score(3, 2, 3, 2), anchors=Score(3, 2, 3, 2), changes=Score(3, 2, 3, 2))
    assert expected == evaluate(_result(), _truth())


def test_labels_limit_what_is_judged() -> None:
    judged = evaluate(_result(), _truth(), labels=["highlight"])
    assert (Score(2, 1, 3, 1), Score(2, 1, 3, 1)) == (judged.edits, judged.anchors)


def test_a_result_of_another_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="frames per second"):
        evaluate(_result(Fraction(50)), _truth())


def test_the_summary_is_one_sentence_with_both_shares() -> None:
    expected = (
        "Against the sample's truth: 2 of 3 edits show a shot (precision 0.67), 2 of 3 shots are shown"
        " (recall 0.67); camera changes: precision 0.67, recall 0.67."
    )
    assert expected == summary(evaluate(_result(), _truth()))
    none = Evaluation(edits=Score(0, 0, 2, 0), anchors=Score(0, 0, 2, 0), changes=Score(0, 0, 0, 0))
    assert "(precision n/a)" in summary(none)
