"""python -m samples [--seconds 90] [--seed 17] [--width 640] [--height 360] [--rate 25] OUT.mp4"""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path
from typing import Annotated

import typer

from samples.match import EncoderFailed, truth_path, write_match
from samples.truth import DEFAULT_SEED


def _rate(text: str) -> Fraction:
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError) as bad:
        raise typer.BadParameter('give a number or a fraction, such as "25" or "30000/1001"') from bad
    if not 1 <= rate <= 120:
        raise typer.BadParameter("give a rate from 1 to 120 frames per second")
    return rate


def main(
    out: Annotated[
        Path, typer.Argument(metavar="OUT.mp4", help="Where to write; OUT.truth.json goes beside it.")
    ],
    seconds: Annotated[int, typer.Option(min=30, max=5400)] = 90,
    seed: Annotated[int, typer.Option(min=0)] = DEFAULT_SEED,
    width: Annotated[int, typer.Option(min=64)] = 640,
    height: Annotated[int, typer.Option(min=64)] = 360,
    rate: Annotated[Fraction, typer.Option(parser=_rate, metavar="FRACTION")] = Fraction(25),
    bitrate: Annotated[
        str | None, typer.Option(help='As ffmpeg has it ("5M"); else constant quality.')
    ] = None,
    timecode: Annotated[str | None, typer.Option(help="Embedded for frame 0, HH:MM:SS:FF.")] = None,
) -> None:
    """Make a sample match with its truth file."""
    began = time.monotonic()
    try:
        truth = write_match(
            out,
            seconds=seconds,
            seed=seed,
            width=width,
            height=height,
            rate=rate,
            bitrate=bitrate,
            timecode=timecode,
        )
    except (EncoderFailed, ValueError, OSError) as failed:
        typer.echo(f"no sample match: {failed}", err=True)
        raise typer.Exit(1) from failed
    took = time.monotonic() - began
    typer.echo(
        f"{out}: {truth.frames} frames, {len(truth.events)} shots, {len(truth.decoys)} decoys, {took:.1f} s"
    )
    typer.echo(f"{truth_path(out)}")


if __name__ == "__main__":
    typer.run(main)
