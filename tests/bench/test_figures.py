from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.figures import publish
from shared.settings import ROOT


def test_what_was_measured_takes_the_place_of_the_last_table(tmp_path: Path) -> None:
    page, results = tmp_path / "page.md", tmp_path / "load.json"
    page.write_text("before\n<!-- load: begin -->\nold\n<!-- load: end -->\nafter\n")
    entry = {"figure": "lost", "value": 0, "unit": "videos", "goal": "0", "met": True, "date": "2026-11-27"}
    results.write_text(json.dumps([entry, {**entry, "met": False}, {**entry, "goal": None, "met": None}]))
    publish(results, page)
    text = page.read_text()
    assert (
        "| lost | 0 videos | 0 | met |\n| lost | 0 videos | 0 | **missed** |\n| lost | 0 videos |  |  |"
        in text
    )
    assert (text.startswith("before\n"), text.endswith("after\n"), "old" in text) == (True, True, False)


@pytest.mark.parametrize(
    ("target", "page"),
    [("bench", "performance"), ("corpus", "reliability"), ("chaos", "reliability"), ("load", "reliability")],
)
def test_the_page_has_a_place_for_the_table(target: str, page: str) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text()
    assert text.index(f"<!-- {target}: begin -->") < text.index(f"<!-- {target}: end -->")
