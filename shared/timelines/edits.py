"""Events -> edits: add the rolls, clamp to the source, merge, number."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal
from fractions import Fraction
from math import floor

from shared.contracts import CutDefaults, CutOptions, Edit, Event, Timeline


def cut_settings(profile: CutDefaults, request: CutOptions) -> CutDefaults:
    """The profile's numbers, with those that the request gives in their place."""
    overrides = {name: getattr(request, name) for name in CutDefaults.model_fields}
    return profile.model_copy(update={name: value for name, value in overrides.items() if value is not None})


def seconds_to_frames(seconds: Decimal, rate: Fraction) -> int:
    """The number of frames nearest to so many seconds, halves rounded up. Exact, since it uses no floats."""
    return floor(Fraction(seconds) * rate + Fraction(1, 2))


def make_edits(
    events: Sequence[Event],
    cut: CutDefaults,
    timeline: Timeline,
    silent: Collection[str] = (),
) -> tuple[Edit, ...]:
    """Edits, numbered from 1 in the order of the source; each is half-open and lies inside the timeline.

    Each event asks for the span [start_frame - pre_roll, end_frame + post_roll), clamped to the source. Spans
    that overlap, or that are at most merge_gap apart, become one edit. So any two edits are more than
    merge_gap apart, and every event is in exactly one edit.

    events: in any order; each must lie inside the source, as those of `spot` do.
    silent: labels whose events ask for no edit.
    """
    before, after, gap = (
        seconds_to_frames(seconds, timeline.rate)
        for seconds in (cut.pre_roll_s, cut.post_roll_s, cut.merge_gap_s)
    )
    asked = sorted(
        (timeline.clip(event.start_frame - before), timeline.clip(event.end_frame + after), index)
        for index, event in enumerate(events)
        if event.label not in silent
    )
    spans: list[tuple[int, int, list[int]]] = []
    for start, end, index in asked:
        if spans and start - spans[-1][1] <= gap:
            first, last, indices = spans.pop()
            indices.append(index)
            spans.append((first, max(last, end), indices))
        else:
            spans.append((start, end, [index]))
    return tuple(
        Edit(number=number, source_in_frame=start, source_out_frame=end, events=tuple(sorted(indices)))
        for number, (start, end, indices) in enumerate(spans, 1)
    )
