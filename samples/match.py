"""Write a sample match: H.264 and AAC through one ffmpeg child each, frame by frame."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import ffmpeg
import numpy as np
import numpy.typing as npt

from samples.picture import Broadcast
from samples.script import write_script
from samples.sound import CHANNELS, RATE_HZ, Soundtrack
from samples.truth import Parameters, Truth, truth_of
from shared.contracts import fraction_text
from shared.timelines import timecode_to_frame

GOP_S = 2


class EncoderFailed(RuntimeError):
    """There is no ffmpeg, or it ended with an error; the text says which."""


def find_ffmpeg() -> str:
    """The system's ffmpeg, else the one of the package imageio-ffmpeg; EncoderFailed without either."""
    if on_path := shutil.which("ffmpeg"):
        return on_path
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as missing:
        raise EncoderFailed("no ffmpeg on PATH, and the package imageio-ffmpeg has none") from missing


def truth_path(out: Path) -> Path:
    """OUT.truth.json beside OUT.mp4."""
    return out.with_name(out.stem + ".truth.json")


def write_match(
    out: Path,
    *,
    seconds: int,
    seed: int,
    width: int,
    height: int,
    rate: Fraction,
    bitrate: str | None = None,
    timecode: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Truth:
    """Write OUT (mp4 or mov) and its truth file, and return the truth.

    `bitrate` as ffmpeg has it ("5M"), else constant quality; `timecode` of frame 0 ("10:00:00:00",
    with ; before the frames for drop-frame); `progress` is called with frames done and all frames.
    Memory does not grow with the length, but for the course of the match: some 5 kB a second.
    Raises ValueError for a length, size or timecode that cannot be, EncoderFailed where ffmpeg fails.
    """
    if timecode:
        timecode_to_frame(timecode, rate)  # raises ValueError for one that the rate does not have
    script = write_script(seed, seconds)
    broadcast = Broadcast(script, width, height, rate)
    parameters = Parameters(seconds=seconds, width=width, height=height, timecode=timecode, bitrate=bitrate)
    exe = find_ffmpeg()
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".sample-") as scratch:
        sound = Path(scratch) / "sound.m4a"
        _encode(exe, _sound_command(sound), Soundtrack(script, rate))
        shown = _counted(broadcast, broadcast.frames, progress)
        draft = Path(scratch) / out.name
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            _encode(exe, _match_command(draft, sound, width, height, rate, bitrate, timecode), shown)
        finally:
            cv2.setNumThreads(threads)
        truth = truth_of(script, rate, parameters)
        truth_path(out).write_text(truth.model_dump_json(indent=1) + "\n")
        draft.replace(out)
    return truth


def _counted(
    frames: Iterable[npt.NDArray[np.uint8]], total: int, progress: Callable[[int, int], None] | None
) -> Iterable[npt.NDArray[np.uint8]]:
    for done, frame in enumerate(frames, 1):
        yield frame
        if progress:
            progress(done, total)


def _sound_command(out: Path) -> Any:
    source = ffmpeg.input("pipe:0", format="s16le", ar=RATE_HZ, ac=CHANNELS)
    return ffmpeg.output(source, str(out), acodec="aac", audio_bitrate="128k")


def _match_command(
    out: Path, sound: Path, width: int, height: int, rate: Fraction, bitrate: str | None, timecode: str | None
) -> Any:
    """Frames on stdin, sound copied. Long-GOP 4:2:0 in BT.709, as broadcasters deliver it."""
    size, gop = f"{width}x{height}", round(GOP_S * rate)
    source = ffmpeg.input(
        "pipe:0",
        format="rawvideo",
        pix_fmt="bgr24",
        s=size,
        framerate=fraction_text(rate),
        thread_queue_size=8,
    )
    picture = source.filter("scale", out_color_matrix="bt709", out_range="tv").filter("format", "yuv420p")
    # The encoder takes its tags from the frames, which come out of raw BGR without any.
    tags = {"color_primaries": "bt709", "color_trc": "bt709", "colorspace": "bt709", "range": "tv"}
    picture = picture.filter("setparams", **tags)
    quality = {"video_bitrate": bitrate} if bitrate else {"crf": 23}
    more = {"timecode": timecode} if timecode else {}
    return ffmpeg.output(
        picture,
        ffmpeg.input(str(sound)).audio,
        str(out),
        vcodec="libx264",
        acodec="copy",
        preset="veryfast",
        g=gop,
        bf=3,
        movflags="+faststart",
        **quality,
        **more,
    )


def _encode(exe: str, command: Any, chunks: Iterable[npt.NDArray[Any]]) -> None:
    """Feed chunks to an ffmpeg child; it is gone when this returns or raises."""
    arguments = command.global_args("-hide_banner", "-loglevel", "error", "-nostats").compile(
        exe, overwrite_output=True
    )
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(arguments, stdin=subprocess.PIPE, stderr=errors) as child,
    ):
        assert child.stdin is not None
        try:
            for chunk in chunks:
                child.stdin.write(np.ascontiguousarray(chunk).data)
            child.stdin.close()
        except BrokenPipeError:
            pass
        except BaseException:
            child.kill()
            raise
        if child.wait() != 0:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
            raise EncoderFailed(f"ffmpeg failed: {said[-1] if said else f'exit status {child.returncode}'}")
