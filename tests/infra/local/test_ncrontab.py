"""NCRONTAB against what Functions documents, what the .NET library does, and a clock that ticks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.local.timers._ncrontab import Schedule


def after(text: str, moment: str, count: int = 3) -> list[str]:
    schedule, found = Schedule.parse(text), [datetime.fromisoformat(moment).replace(tzinfo=UTC)]
    for _ in range(count):
        found.append(schedule.after(found[-1]))
    return [f"{each:%Y-%m-%d %H:%M:%S}" for each in found[1:]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The examples of the documentation of the timer trigger.
        ("0 */5 * * * *", ["2030-01-31 23:55:00", "2030-02-01 00:00:00", "2030-02-01 00:05:00"]),
        ("0 0 * * * *", ["2030-02-01 00:00:00", "2030-02-01 01:00:00", "2030-02-01 02:00:00"]),
        ("0 0 */2 * * *", ["2030-02-01 00:00:00", "2030-02-01 02:00:00", "2030-02-01 04:00:00"]),
        ("0 0 9-17 * * *", ["2030-02-01 09:00:00", "2030-02-01 10:00:00", "2030-02-01 11:00:00"]),
        ("0 30 9 * * *", ["2030-02-01 09:30:00", "2030-02-02 09:30:00", "2030-02-03 09:30:00"]),
        ("0 30 9 * * 1-5", ["2030-02-01 09:30:00", "2030-02-04 09:30:00", "2030-02-05 09:30:00"]),
        ("0 30 9 * Jan Mon", ["2031-01-06 09:30:00", "2031-01-13 09:30:00", "2031-01-20 09:30:00"]),
        # Lists, steps from a value, steps in a range.
        ("5,10 1/29 * * * *", ["2030-01-31 23:59:05", "2030-01-31 23:59:10", "2030-02-01 00:01:05"]),
        ("0 0 1-9/4,20 * * *", ["2030-02-01 01:00:00", "2030-02-01 05:00:00", "2030-02-01 09:00:00"]),
        ("*/20 * * * * *", ["2030-01-31 23:51:00", "2030-01-31 23:51:20", "2030-01-31 23:51:40"]),
        # Five fields: on the minute.
        ("15 8 * * *", ["2030-02-01 08:15:00", "2030-02-02 08:15:00", "2030-02-03 08:15:00"]),
        # Both day fields must suit: Friday the 13th. Cron would take every Friday and every 13th.
        ("0 0 0 13 * 5", ["2030-09-13 00:00:00", "2030-12-13 00:00:00", "2031-06-13 00:00:00"]),
        # Backwards is turned round. Names in full, in any case; Sunday is 0.
        ("0 0 3-1 * * *", ["2030-02-01 01:00:00", "2030-02-01 02:00:00", "2030-02-01 03:00:00"]),
        ("0 0 0 * february SUNDAY", ["2030-02-03 00:00:00", "2030-02-10 00:00:00", "2030-02-17 00:00:00"]),
        ("0 0 0 * * 0", ["2030-02-03 00:00:00", "2030-02-10 00:00:00", "2030-02-17 00:00:00"]),
        # Short months, leap years, and a leap day on a Thursday.
        ("0 0 0 31 * *", ["2030-03-31 00:00:00", "2030-05-31 00:00:00", "2030-07-31 00:00:00"]),
        ("0 0 0 29 2 *", ["2032-02-29 00:00:00", "2036-02-29 00:00:00", "2040-02-29 00:00:00"]),
        ("59 59 23 29 2 Thu", ["2052-02-29 23:59:59", "2080-02-29 23:59:59", "2120-02-29 23:59:59"]),
    ],
)
def test_the_moments_of_an_expression(text: str, expected: list[str]) -> None:
    assert expected == after(text, "2030-01-31 23:50:40.500000")


def test_a_moment_of_the_schedule_is_followed_by_the_next_one() -> None:
    assert ["2030-01-01 00:05:00"] == after("0 */5 * * * *", "2030-01-01 00:00:00", 1)


def test_other_time_zones_are_turned_into_utc() -> None:
    found = Schedule.parse("0 0 9 * * *").after(datetime.fromisoformat("2030-01-01T09:30:00+02:00"))
    assert "2030-01-01T09:00:00+00:00" == found.isoformat()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("* * * *", "has 4 fields"),
        ("* * * * * * *", "has 7 fields"),
        ("00:05:00", "has 1 fields"),
        ("60 * * * * *", "60 is not from 0 to 59 in the field second"),
        ("0 0 24 * * *", "24 is not from 0 to 23 in the field hour"),
        ("0 0 0 0 * *", "0 is not from 1 to 31 in the field day"),
        ("0 0 0 * * 7", "7 is not from 0 to 6 in the field day of week"),
        ("0 */0 * * * *", "'\\*/0' is no value of the field minute"),
        ("0 1,,2 * * * *", "'' is no value of the field minute"),
        ("0 0 0 L * *", "'l' is no name in the field day"),
        ("0 0 0 ? * *", "'\\?' is no value of the field day"),
        ("0 0 0 * * 1#2", "'1#2' is no value of the field day of week"),
        ("0 0 0 * Foo *", "'foo' is no name in the field month"),
        ("0 -5 * * * *", "'-5' is no value of the field minute"),
        ("0 0 0 30 2 *", "never comes"),
    ],
)
def test_what_is_not_ncrontab_is_refused_with_the_field(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Schedule.parse(text)


def _numbers(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    step = st.one_of(st.just(""), st.integers(1, high).map(lambda n: f"/{n}"))
    base = st.one_of(
        st.just("*"), number.map(str), st.tuples(number, number).map(lambda p: f"{min(p)}-{max(p)}")
    )
    item = st.tuples(base, step).map("".join)
    return st.lists(item, min_size=1, max_size=3).map(",".join)


_EXPRESSION = st.tuples(_numbers(0, 59), _numbers(0, 59), _numbers(0, 23)).map(
    lambda f: f"{' '.join(f)} * * *"
)


def _holds(text: str, value: int, high: int) -> bool:
    """Whether a field holds for a value, read item by item and without making a set."""
    for item in text.split(","):
        base, _, step = item.partition("/")
        low, _, last = base.partition("-")
        first, end = (0, high) if base == "*" else (int(low), int(last or (high if step else low)))
        if first <= value <= end and (value - first) % int(step or 1) == 0:
            return True
    return False


@given(_EXPRESSION, st.integers(0, 86_399))
def test_the_next_moment_is_the_first_second_at_which_every_field_holds(text: str, start: int) -> None:
    second, minute, hour, *_ = text.split()
    moment = datetime(2030, 5, 5, tzinfo=UTC) + timedelta(seconds=start)
    expected = moment + timedelta(seconds=1)
    while not _holds(hour, expected.hour, 23):
        expected = expected.replace(minute=0, second=0) + timedelta(hours=1)
    while not (_holds(hour, expected.hour, 23) and _holds(minute, expected.minute, 59)):
        expected = expected.replace(second=0) + timedelta(minutes=1)
    while not all(
        _holds(field, value, high)
        for field, value, high in (
            (hour, expected.hour, 23),
            (minute, expected.minute, 59),
            (second, expected.second, 59),
        )
    ):
        expected += timedelta(seconds=1)
    assert expected == Schedule.parse(text).after(moment)
