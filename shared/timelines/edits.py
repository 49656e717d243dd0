"""Events -> edits: roll, clamp, merge, number (pure)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal
from fractions import Fraction
from math import floor

from shared.contracts import CutDefaults, CutOptions, Edit, Event, Timeline


def cut_settings(profile: CutDefaults, request: CutOptions) -> CutDefaults:
    """The profile's numbers, but for those that the request names."""
    named = {name: getattr(request, name) for name in CutDefaults.model_fields}
    return profile.model_copy(update={name: value for name, value in named.items() if value is not None})


def seconds_to_frames(seconds: Decimal, rate: Fraction) -> int:
    """Frames nearest to a decimal number of seconds, halves up. Exact: no float takes part."""
    return floor(Fraction(seconds) * rate + Fraction(1, 2))


def make_edits(
    events: Sequence[Event],
    cut: CutDefaults,
    timeline: Timeline,
    silent: Collection[str] = (),
) -> tuple[Edit, ...]:
    """Numbered edits, in order of the source, half-open, inside the timeline.

    An event wants [start_frame - pre_roll, end_frame + post_roll), clamped to the source. Wants
    that overlap, or lie no further apart than merge_gap, become one edit: so any two edits are
    more than merge_gap apart, and every event is in exactly one, but for those whose label is silent.
    `events` need not be in order, but each must lie inside the source (spot sees to that).
    """
    before, after, gap = (
        seconds_to_frames(seconds, timeline.rate)
        for seconds in (cut.pre_roll_s, cut.post_roll_s, cut.merge_gap_s)
    )
    wants = sorted(
        (timeline.clip(event.start_frame - before), timeline.clip(event.end_frame + after), index)
        for index, event in enumerate(events)
        if event.label not in silent
    )
    spans: list[tuple[int, int, list[int]]] = []
    for start, end, index in wants:
        if spans and start - spans[-1][1] <= gap:
            first, last, held = spans.pop()
            held.append(index)
            spans.append((first, max(last, end), held))
        else:
            spans.append((start, end, [index]))
    return tuple(
        Edit(number=number, source_in_frame=start, source_out_frame=end, events=tuple(sorted(held)))
        for number, (start, end, held) in enumerate(spans, 1)
    )
