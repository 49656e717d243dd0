"""Broken files end as documented: a dozen of the corpus, and what the corpus is made of."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from bench.corpus import ENDINGS, RESULTS, some, table
from bench.corpus_job import Ending, Runner
from bench.mutations import MUTATIONS, Case, cases
from infra.local.azurite import Azurite
from shared.settings import ROOT

ALL = list(cases(9))
DOZEN = [
    case for case in some([case for case in ALL if case.kind != "original"], 20) if case.kind != "original"
]


def test_there_are_three_hundred_mutations_of_every_kind_the_issue_names() -> None:
    kinds = Counter(case.kind for case in ALL)
    assert sum(kinds.values()) - kinds["original"] >= 300
    assert {*MUTATIONS, "playlist", "bomb", "original"} == set(kinds)
    assert len(ALL) == len({case.name for case in ALL})


def test_the_same_seed_gives_the_same_bytes() -> None:
    again = {case.name: case for case in cases(9)}
    for case in DOZEN:
        assert case.make() == again[case.name].make()


@pytest.mark.azurite
def test_a_dozen_broken_files_end_as_a_result_or_a_documented_code(
    azurite: Azurite,
) -> None:
    endings = Runner(azurite.connection_string).run_all(DOZEN)
    assert 12 <= len(endings)
    assert [] == [ending for ending in endings if ending.end not in ENDINGS]
    assert [] == [e for e in endings if e.kind == "playlist" and e.end in RESULTS]
    assert max(ending.peak_bytes for ending in endings) < 2560 * 2**20


@pytest.mark.azurite
def test_one_that_does_not_end_in_time_is_ended_and_told(
    azurite: Azurite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.corpus_job.LIMIT_S", 0.01)
    case = Case("empty and late", "empty", "late.mp4", lambda: b"")
    (ending,) = Runner(azurite.connection_string).run_all([case])
    assert ending.end == "hung"
    assert ending.end not in ENDINGS


def test_what_has_run_is_not_run_again(azurite: Azurite, tmp_path: Path) -> None:
    kept = tmp_path / "kept.jsonl"
    kept.write_text(
        '{"name": "a", "kind": "k", "end": "Completed", "gaps": ["damaged"], "wall_s": 1.0, "cpu_s": 1.0, '
        '"peak_bytes": 5}\n'
    )

    def never() -> bytes:
        raise AssertionError("it ran again")

    (ending,) = Runner(azurite.connection_string, kept).run_all([Case("a", "k", "a.mp4", never)])
    assert ending == Ending("a", "k", "Completed", ("damaged",), 1.0, 1.0, 5)


def test_the_table_counts_by_kind_and_ending() -> None:
    endings = [
        Ending("a", "truncated", "not_a_video"),
        Ending("b", "truncated", "not_a_video"),
        Ending("c", "truncated", "Completed", ("damaged",)),
    ]
    assert "| truncated | 3 | `not_a_video` 2, Completed 1 |" in table(endings)
    assert "`damaged` 1" in table(endings)


def test_every_code_is_documented() -> None:
    text = (ROOT / "docs" / "api.md").read_text() + (ROOT / "docs" / "reliability.md").read_text()
    assert [] == sorted(code for code in ENDINGS - RESULTS if f"`{code}`" not in text)
