"""The picture of a job is drawn from its records, and the committed one is whole."""

from __future__ import annotations

from fractions import Fraction
from xml.etree import ElementTree

import numpy as np

from bench.picture import LABEL, PICTURE, Drawn, draw
from samples.truth import Parameters, TrueEvent, Truth
from shared.contracts import Event
from shared.models import Grid, Track
from tests.support.small_result import a_result

LEVELS = np.array([[-30.0], [np.nan], [-12.0]], np.float32)


def drawn() -> Drawn:
    event = Event(
        label="shot",
        anchor_frame=3250,
        anchor_s=Fraction(130),
        start_frame=3200,
        end_frame=3300,
        confidence=0.875,
        evidence=(),
    )
    shot = TrueEvent(anchor_frame=3240, start_frame=3200, end_frame=3260, outcome="goal <1>", reaction=0.5)
    truth = Truth(
        generator_version="1",
        seed=1,
        parameters=Parameters(seconds=360, width=64, height=64),
        rate=Fraction(25),
        frames=9000,
        events=(shot,),
        decoys=(),
        shot_changes=(),
        transitions=(),
    )
    result = a_result().model_copy(update={"events": (event,)})
    crowd = Track(Grid(Fraction(1), 1, 1, 0), (LABEL,), 0, LEVELS)
    return Drawn(result, truth, crowd, "TITLE: a & b\nFCM: NON-DROP FRAME\n")


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter() if "text" in element.tag]


def test_a_picture_names_the_shots_the_events_the_edits_and_the_lines_of_the_edl() -> None:
    told = texts(draw(drawn()))
    for text in ("2:09 goal <1>", "shot 0.88", "edit 1", "edit 2", "TITLE: a & b", "-12", "-30"):
        assert text in told


def test_a_window_without_a_score_is_left_out_of_the_curve() -> None:
    root = ElementTree.fromstring(draw(drawn()))
    (line,) = (element for element in root.iter() if element.tag.endswith("polyline"))
    assert 2 == len(line.attrib["points"].split())


def test_the_picture_in_the_readme_is_whole() -> None:
    assert "cut.edl" in texts(PICTURE.read_text())
