"""NCRONTAB, the expressions of timer triggers: `{second} {minute} {hour} {day} {month} {day of week}`.

Behaves as NCrontab, the .NET library that the Functions host uses. It differs from cron: a day must match
both its fields, day of month and day of week (cron: either); a range that is written backwards is reversed;
and Sunday is 0, never 7. Five fields mean second 0.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

_MONTHS = tuple(calendar.month_name)[1:]
_DAYS = ("Sunday", *tuple(calendar.day_name)[:6])
_ITEM = re.compile(
    r"(?:(?P<all>\*)|(?P<first>[0-9]+|[a-z]+)(?:-(?P<last>[0-9]+|[a-z]+))?)(?:/(?P<step>[0-9]+))?"
)
_FAR = timedelta(days=50 * 366)
"""29 February on a given day of the week is at most 40 years away, so a schedule without a moment before this
has none at all."""


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def values(self, text: str) -> tuple[int, ...]:
        """The numbers that a field stands for, in order. Raises ValueError."""
        return tuple(sorted({number for item in text.split(",") for number in self._item(item)}))

    def _item(self, item: str) -> range:
        found = _ITEM.fullmatch(item.lower())
        step = int(found["step"] or 1) if found else 0
        if found is None or step == 0:
            raise ValueError(f"{item!r} is no value of the field {self.name}")
        if found["all"]:
            return range(self.low, self.high + 1, step)
        first = self._number(found["first"])
        last = self._number(found["last"]) if found["last"] else self.high if found["step"] else first
        return range(min(first, last), max(first, last) + 1, step)

    def _number(self, text: str) -> int:
        """The value of a number, or of an English name's first three letters or more. Raises ValueError."""
        if not text.isdigit():
            known = [n for n, name in enumerate(self.names, self.low) if name.lower().startswith(text)]
            if len(text) < 3 or not known:
                raise ValueError(f"{text!r} is no name in the field {self.name}")
            return known[0]
        if not self.low <= int(text) <= self.high:
            raise ValueError(f"{text} is not from {self.low} to {self.high} in the field {self.name}")
        return int(text)


_FIELDS = (
    _Field("second", 0, 59),
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 6, _DAYS),
)


@dataclass(frozen=True)
class Schedule:
    """The moments of one expression, in UTC, on whole seconds."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    @staticmethod
    def parse(text: str) -> Schedule:
        """The schedule of an expression. Raises ValueError, also where it has no moment, such as 30
        February."""
        parts = text.split()
        if len(parts) == 5:
            parts = ["0", *parts]
        if len(parts) != len(_FIELDS):
            raise ValueError(
                f"{text!r} has {len(parts)} fields; a schedule has six, or five without the second"
            )
        schedule = Schedule(*(field.values(part) for field, part in zip(_FIELDS, parts, strict=True)))
        schedule.after(datetime(2000, 1, 1, tzinfo=UTC))
        return schedule

    def after(self, moment: datetime) -> datetime:
        """The schedule's first moment later than `moment` (aware). Raises ValueError where there is none."""
        moment = moment.astimezone(UTC)
        day, clock = moment.date(), (moment.hour, moment.minute, moment.second)
        if self._suits(day) and (found := self._later_than(clock)):
            return datetime.combine(day, found, UTC)
        first = time(self.hours[0], self.minutes[0], self.seconds[0])
        for ahead in range(1, _FAR.days):
            if self._suits(later := day + timedelta(days=ahead)):
                return datetime.combine(later, first, UTC)
        raise ValueError("the schedule never comes")

    def _suits(self, day: date) -> bool:
        weekday = day.isoweekday() % 7
        return day.month in self.months and day.day in self.days and weekday in self.weekdays

    def _later_than(self, clock: tuple[int, int, int]) -> time | None:
        for hour in self.hours:
            for minute in self.minutes:
                if (hour, minute) < clock[:2]:
                    continue
                for second in self.seconds:
                    if (hour, minute, second) > clock:
                        return time(hour, minute, second)
        return None
