"""`python -m bench.picture`: draw the result of the sample match as docs/pictures/demo.svg.

Runs the job of `make demo` and draws its records on one time axis: the crowd's score track, the spans that
the large networks saw, the events, the edits, and the first lines of the EDL. The sample's truth stands above
them. Two runs differ in the spans of the audit, which are drawn with a seed made of the video's ETag.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from client.api import Api
from client.demo import EDL_FILE, Demo, embedded_host, sample_match
from client.jobs import RESULT_FILE, fetch_files, parse_result, wait_for
from client.upload import upload_to_account
from samples.evaluate import evaluate
from samples.match import truth_path
from samples.truth import Truth
from shared.contracts import JobRequest, Result, Timeline
from shared.models import Track
from shared.settings import ROOT, Settings
from shared.steps import load_tracks
from shared.storage import BlobStore, Records

PICTURE = ROOT / "docs" / "pictures" / "demo.svg"
SAMPLE = Demo(video=None, out=None, segment_s=None, seconds=90, seed=17, workers=None, keep=False)
"""The match that `make demo` makes."""
MODEL, LABEL = "crowd-excitement", "background"
EDL_LINES = 9

WIDTH, LEFT, RIGHT = 960, 190, 24
_INK, _FAINT, _PAPER = "#1f2328", "#d0d7de", "#ffffff"
_CROWD, _PROPOSED, _DRAWN, _EVENT, _EDIT = "#0969da", "#bf8700", "#eac54f", "#8250df", "#1a7f37"
_TEXT, _CODE = "font-family='sans-serif'", "font-family='monospace' xml:space='preserve'"


@dataclass(frozen=True)
class Drawn:
    """The data of the picture."""

    result: Result
    truth: Truth
    crowd: Track
    """Its column LABEL is drawn, in dB."""
    edl: str


def run(demo: Demo = SAMPLE) -> Drawn:
    """Run the demo's job; returns the picture's data. Raises ClientError where the job cannot run."""
    video = sample_match(demo)
    with embedded_host(demo.workers, demo.keep) as host, Api(host.base_url) as api:
        url = upload_to_account(video, host.connection_string, lambda _: None)
        job = api.submit(JobRequest(video=url, name=video.name)).id
        status = wait_for(api, job)
        with tempfile.TemporaryDirectory() as folder:
            fetch_files(api, status, Path(folder))
            result = parse_result((Path(folder) / RESULT_FILE).read_bytes())
            edl = (Path(folder) / EDL_FILE).read_text()
        store = BlobStore.from_settings(Settings(storage=host.connection_string))
        records = Records(store, job)
        units = records.plan.units + records.look.units
        tracks = load_tracks(store, [records.summary(unit.index) for unit in units])
    truth = Truth.model_validate_json(truth_path(video).read_bytes())
    return Drawn(result, truth, tracks[MODEL], edl)


def draw(drawn: Drawn) -> str:
    """The picture as SVG."""
    result = drawn.result
    timeline = Timeline(result.video.rate, result.video.duration_frames)
    x = _Axis(timeline)
    rows: list[str] = []
    rows += _name("shots in the match", "from the sample's truth", 78)
    for shot in drawn.truth.events:
        rows += _mark(x, shot.anchor_frame, 70, f"{_clock(timeline, shot.anchor_frame)} {shot.outcome}")
    rows += _name("loudness of the crowd", "a model's score track, in dB", 128)
    rows += _curve(x, drawn.crowd, 100, 166)
    rows += _name("seen by the networks", "dark: proposed; light: at random", 190)
    for span in result.cascade.spans if result.cascade else ():
        colour = _PROPOSED if span.why == "proposed" else _DRAWN
        rows.append(_box(x, span.start_frame, span.end_frame, 182, 18, colour))
    y = 220
    rows += _name("events", "label and confidence", y + 8)
    for event in result.events:
        rows.append(_box(x, event.start_frame, event.end_frame, y, 22, _EVENT))
        rows.append(_label(x, event.start_frame, y + 16, f"{event.label} {event.confidence:.2f}"))
        y += 26
    y += 12
    rows += _name("edits", "with handles, merged", y + 8)
    for edit in result.edits:
        rows.append(_box(x, edit.source_in_frame, edit.source_out_frame, y, 22, _EDIT))
        rows.append(_label(x, edit.source_in_frame, y + 16, f"edit {edit.number}"))
    y += 34
    ruler = _ruler(x, 52, y)
    lines = [*drawn.edl.splitlines()[:EDL_LINES], "..."]
    y += 26
    rows += _listing(lines, y)
    height = y + 17 * len(lines)
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' role='img'>"
    )
    paper = f"<rect width='{WIDTH}' height='{height}' rx='8' fill='{_PAPER}' stroke='{_FAINT}'/>"
    title = _text(24, 30, _headline(drawn), size=15, weight="bold")
    name = f"<title>{escape(result.title)}</title>"
    return "\n".join([head, name, paper, title, *ruler, *rows, "</svg>", ""])


def _headline(drawn: Drawn) -> str:
    found = evaluate(drawn.result, drawn.truth).edits
    length_s, edits = round(drawn.result.video.duration_s), len(drawn.result.edits)
    return (
        f"make demo: {length_s} s of a sample match, {edits} edit{'s' * (edits != 1)}, "
        f"{found.found} of {found.true} shots shown"
    )


class _Axis:
    """Frame -> x."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline

    def at(self, frame: float | Fraction) -> float:
        return round(LEFT + float(frame) / self.timeline.frames * (WIDTH - LEFT - RIGHT), 1)


def _name(text: str, what: str, y: int) -> Iterator[str]:
    yield _text(LEFT - 12, y - 2, text, anchor="end", size=12)
    yield _text(LEFT - 12, y + 12, what, anchor="end", size=10)


def _ruler(x: _Axis, top: int, bottom: int) -> Iterator[str]:
    """A line every ten seconds."""
    for second in range(0, int(x.timeline.duration_s) + 1, 10):
        frame = second * x.timeline.rate
        yield f"<line x1='{x.at(frame)}' x2='{x.at(frame)}' y1='{top + 6}' y2='{bottom}' stroke='{_FAINT}'/>"
        yield _text(x.at(frame), top, _clock(x.timeline, int(frame)), anchor="middle", size=10)


def _mark(x: _Axis, frame: int, y: int, text: str) -> Iterator[str]:
    at = x.at(frame)
    yield f"<path d='M{at - 5} {y}h10l-5 9z' fill='{_INK}'/>"
    right = at > WIDTH - 110
    yield _text(at - 9 if right else at + 9, y + 9, text, size=11, anchor="end" if right else "start")


def _curve(x: _Axis, track: Track, top: int, bottom: int) -> Iterator[str]:
    """A column of a track, its lowest value at the bottom."""
    column = track.scores[:, track.labels.index(LABEL)].astype(float)
    there = np.isfinite(column)
    low, high = column[there].min(), column[there].max()
    points = []
    for window in np.flatnonzero(there).tolist():
        frame = track.grid.anchor_s(track.first + window) * x.timeline.rate
        y = bottom - (column[window] - low) / max(high - low, 1e-9) * (bottom - top)
        points.append(f"{x.at(frame)},{y:.1f}")
    yield f"<polyline points='{' '.join(points)}' fill='none' stroke='{_CROWD}' stroke-width='1.6'/>"
    for y, value in ((top + 4, high), (bottom, low)):
        yield _text(LEFT - 12, y, f"{value:.0f}", anchor="end", size=10, colour=_CROWD)


def _box(x: _Axis, start_frame: int, end_frame: int, y: int, height: int, colour: str) -> str:
    left, right = x.at(start_frame), x.at(end_frame)
    return f"<rect x='{left}' y='{y}' width='{right - left:.1f}' height='{height}' rx='2' fill='{colour}'/>"


def _label(x: _Axis, start_frame: int, y: int, text: str) -> str:
    return _text(x.at(start_frame) + 6, y, text, size=12, colour=_PAPER)


def _listing(lines: Sequence[str], y: int) -> Iterator[str]:
    yield _text(LEFT - 12, y, "cut.edl", anchor="end", size=12)
    yield _text(LEFT - 12, y + 14, "its first lines", anchor="end", size=10)
    for line in lines:
        yield f"<text x='{LEFT}' y='{y}' {_CODE} font-size='12' fill='{_INK}'>{escape(line)}</text>"
        y += 17


def _text(
    x: float,
    y: float,
    text: str,
    *,
    size: int,
    anchor: str = "start",
    weight: str = "normal",
    colour: str = _INK,
) -> str:
    return (
        f"<text x='{x}' y='{y}' {_TEXT} font-size='{size}' font-weight='{weight}' "
        f"text-anchor='{anchor}' fill='{colour}'>{escape(text)}</text>"
    )


def _clock(timeline: Timeline, frame: int) -> str:
    minutes, seconds = divmod(int(timeline.time_s(frame)), 60)
    return f"{minutes}:{seconds:02d}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=PICTURE)
    out: Path = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(draw(run()))
    print(out)


if __name__ == "__main__":
    main()
