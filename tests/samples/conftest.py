from __future__ import annotations

from fractions import Fraction

import pytest

from samples.match import write_match
from tests.support.sample import Sample


@pytest.fixture(scope="session")
def ntsc_sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """30 s at 29.97, as small as it goes, with a start timecode."""
    path = tmp_path_factory.mktemp("sample") / "ntsc.mp4"
    truth = write_match(
        path, seconds=30, seed=4, width=160, height=90, rate=Fraction(30000, 1001), timecode="10:00:00;00"
    )
    return Sample(path, truth)
