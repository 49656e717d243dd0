"""Everything that the terminal shows. All of it passes `printable`, so no secret is printed."""

from __future__ import annotations

import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bar

from shared.contracts import JobStatus, Progress, Result
from shared.redact import redact
from shared.timelines import frame_to_timecode, timecode_to_frame

_QUERY = re.compile(r"([a-z][a-z0-9+.-]*://[^\s?#]*)[?#]\S*", re.IGNORECASE)
_USER = re.compile(r"([a-z][a-z0-9+.-]*://)[^\s/@]*@", re.IGNORECASE)


def printable(text: str) -> str:
    """The text without known secrets and keys, and without the query, fragment and user part of any URL."""
    for name in ("MATCHCUT_KEY", "MATCHCUT_STORAGE"):
        if secret := os.environ.get(name):
            text = text.replace(secret, f"[{name}]")
    return redact(_QUERY.sub(r"\1", _USER.sub(r"\1", text)))


def say(text: str = "") -> None:
    """Print a line of the command's answer to stdout."""
    print(printable(text), flush=True)


def note(text: str) -> None:
    """Print to stderr a line that is not the command's answer."""
    print(printable(text), file=sys.stderr, flush=True)


def complain(text: str) -> None:
    """Print to stderr the one line that ends a failed command."""
    note("error: " + " ".join(text.split()))


def duration(seconds: float) -> str:
    """`0:01:20`, rounded to whole seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def describe(progress: Progress) -> tuple[str, str, str]:
    """(units, speed, ETA) as texts; a value that is not known yet is an empty text."""
    factor, eta_s = progress.realtime_factor, progress.eta_s
    return (
        f"{progress.done}/{progress.total} units" if progress.total else "",
        f"{factor:.1f}x real time" if factor is not None else "",
        f"ETA {duration(eta_s)}" if eta_s is not None else "",
    )


def follow(statuses: Iterable[JobStatus], console: Console | None = None) -> JobStatus:
    """Show a job until it has ended: as a live bar, or as lines where stdout is no terminal.

    Returns the last status; there must be at least one.
    """
    console = console or Console(highlight=False)
    shown = _as_bar(statuses, console) if console.is_terminal else _as_lines(statuses)
    return deque(shown, maxlen=1).pop()


def _as_lines(statuses: Iterable[JobStatus]) -> Iterator[JobStatus]:
    before = ""
    for status in statuses:
        line = ", ".join(part for part in (status.state.value, *describe(status.progress)) if part)
        if line != before:
            say(line)
            before = line
        yield status


def _as_bar(statuses: Iterable[JobStatus], console: Console) -> Iterator[JobStatus]:
    columns = [TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in ("units", "speed", "eta")]
    with Bar(TextColumn("{task.description}", markup=False), BarColumn(), *columns, console=console) as bar:
        task = bar.add_task("", total=None, units="", speed="", eta="")
        for status in statuses:
            units, speed, eta = describe(status.progress)
            bar.update(
                task,
                description=f"{status.state.value:<9}",
                # No total yet: the bar pulses.
                total=status.progress.total or None,
                completed=status.progress.done,
                units=units,
                speed=speed,
                eta="" if status.state.ended else eta,
            )
            yield status


@contextmanager
def transfer(what: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """A function that takes the bytes done so far. A bar shows them on stderr if that is a terminal."""
    with _passing(DownloadColumn(), TransferSpeedColumn()) as bar:
        task = bar.add_task(printable(what), total=total_bytes)
        yield lambda done: bar.update(task, completed=done)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """A function that takes (done, total). A bar shows them on stderr if that is a terminal."""
    with _passing(TimeRemainingColumn(compact=True)) as bar:
        task = bar.add_task(printable(what), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _passing(*columns: ProgressColumn) -> Bar:
    """A bar that disappears at the end."""
    console = Console(stderr=True, highlight=False)
    text = TextColumn("{task.description}", markup=False)
    return Bar(text, BarColumn(), *columns, console=console, transient=True, disable=not console.is_terminal)


def gap_lines(result: Result) -> list[str]:
    """One line per gap, in the timecode of the source."""
    video = result.video
    start_frame = timecode_to_frame(video.start_timecode, video.rate, video.drop_frame)

    def timecode(frame: int) -> str:
        return frame_to_timecode(start_frame + frame, video.rate, video.drop_frame)

    return [
        f"gap     {timecode(gap.start_frame)} to {timecode(gap.end_frame)} "
        f"({float(Fraction(gap.end_frame - gap.start_frame) / video.rate):.1f} s): "
        f"no {', '.join(gap.models)} ({gap.code})"
        for gap in result.gaps
    ]


def cascade_lines(result: Result) -> list[str]:
    """One line: what a cascade looked at, and what it may have missed. No line for an exhaustive job."""
    found = result.cascade
    if found is None:
        return []
    audit, whole = found.audit, result.video.duration_frames
    seconds, share = float(found.looked_frames / result.video.rate), found.looked_frames / max(1, whole)
    checked = (
        f"{audit.hits} of {audit.spans} spans drawn at random from the rest held an event "
        f"(at most {audit.high:.0%} do)"
        if audit.spans
        else "the rest was too short to check at random"
    )
    return [f"cascade looked at {seconds:.0f} s ({share:.0%}); {checked}"]


def no_edit_lines(result: Result) -> list[str]:
    """One line where the result has no edit, else none."""
    if result.edits:
        return []
    return [
        f"No edit: nothing stood out in {float(result.video.duration_s):.0f} s of video. "
        "In less than about 30 s there is hardly a baseline to stand out from; "
        "a lower threshold (submit --threshold highlight=0.2) shows weaker moments."
    ]
