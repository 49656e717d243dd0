"""Contracts: exact numbers in, the same out, and no text that costs more than it says."""

from __future__ import annotations

import json
import time
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from shared.contracts import JobRequest, Rate, fraction_text

RATE = TypeAdapter(Rate)


@given(st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=10**6))
def test_a_rate_survives_json(rate: Fraction) -> None:
    assert rate == RATE.validate_json(RATE.dump_json(rate))
    assert "/" in fraction_text(rate)


@pytest.mark.parametrize("text", ["25", "30000/1001", "25/1", "-1/2"])
def test_rates_are_read_as_numerator_and_denominator(text: str) -> None:
    assert Fraction(text) == RATE.validate_python(text)


@pytest.mark.parametrize(
    "value", ["", "1/0", "1e999999999", "1/00", "0x10", " 25", "25.0", 25.0, True, None, "9" * 50]
)
def test_anything_else_is_no_rate(value: Any) -> None:
    with pytest.raises(ValidationError):
        RATE.validate_python(value)


@pytest.mark.parametrize(
    "seconds", ["1e-999999999", "1e999999999", "0.0000001", "NaN", "Infinity", "-1", "601"]
)
def test_seconds_that_would_cost_or_mean_nothing_are_refused_at_once(seconds: str) -> None:
    before = time.process_time()
    body = {"video": "https://h/c/b.mp4", "cut": {"pre_roll_s": seconds}}
    with pytest.raises(ValidationError):
        JobRequest.model_validate_json(json.dumps(body))
    assert time.process_time() - before < 1


def test_a_tenth_of_a_second_is_a_tenth() -> None:
    request = JobRequest.model_validate_json('{"video": "https://h/c/b.mp4", "cut": {"pre_roll_s": 0.1}}')
    assert request.cut.pre_roll_s is not None
    assert Fraction(1, 10) == Fraction(request.cut.pre_roll_s)
