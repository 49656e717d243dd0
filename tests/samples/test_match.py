from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from samples.match import EncoderFailed, find_ffmpeg, truth_path, write_match
from samples.truth import Truth
from tests.support.sample import Sample

NTSC = Fraction(30000, 1001)


def test_the_file_decodes_to_the_promised_frames(ntsc_sample: Sample) -> None:
    with av.open(str(ntsc_sample.path)) as container:
        stream = container.streams.video[0]
        assert (160, 90, NTSC) == (stream.width, stream.height, stream.average_rate)
        assert stream.time_base is not None
        times = [frame.pts * stream.time_base for frame in container.decode(stream) if frame.pts is not None]
    assert ntsc_sample.truth.frames == len(times) == 899
    assert [k / NTSC for k in range(899)] == [time - times[0] for time in times]


def test_the_picture_is_tagged_and_coded_like_a_broadcast(ntsc_sample: Sample) -> None:
    with av.open(str(ntsc_sample.path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert ("h264", "yuv420p") == (context.name, context.pix_fmt)
        assert (1, 1, 1) == (context.color_primaries, context.color_trc, context.colorspace)
        frames = list(container.decode(stream))
    keys = [k for k, frame in enumerate(frames) if frame.key_frame]
    assert max(b - a for a, b in zip(keys, [*keys[1:], 899], strict=True)) <= 60
    assert av.video.frame.PictureType.B in {frame.pict_type for frame in frames}


def test_sound_is_there_and_as_long_as_the_picture(ntsc_sample: Sample) -> None:
    with av.open(str(ntsc_sample.path)) as container:
        stream = container.streams.audio[0]
        blocks = [frame.to_ndarray() for frame in container.decode(stream)]
    sound = np.concatenate(blocks, axis=1).astype(np.float64)
    assert (48000, 2) == (stream.rate, sound.shape[0])
    assert abs(sound.shape[1] - 1439838) <= 2048
    assert 20 * np.log10(np.sqrt(np.mean(sound**2))) > -40


def test_the_start_timecode_is_embedded(ntsc_sample: Sample) -> None:
    with av.open(str(ntsc_sample.path)) as container:
        assert "10:00:00;00" == container.streams.video[0].metadata["timecode"]


def test_the_truth_file_says_what_was_returned_and_fits_the_video(ntsc_sample: Sample) -> None:
    truth = Truth.model_validate_json(truth_path(ntsc_sample.path).read_text())
    assert ntsc_sample.truth == truth
    assert NTSC == truth.rate
    assert truth.events
    assert all(0 <= e.start_frame <= e.anchor_frame < e.end_frame <= truth.frames for e in truth.events)
    assert all(0 <= d.start_frame < d.end_frame <= truth.frames for d in truth.decoys)
    assert all(0 < frame < truth.frames for frame in truth.shot_changes)
    assert sorted(truth.shot_changes) == list(truth.shot_changes)


def test_the_command_writes_a_match_and_a_wrong_size_is_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "samples", "--width", "161", "--height", "90", str(tmp_path / "x.mp4")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert 1 == done.returncode
    assert "no sample match: 161x90: width and height must be even, and at least 64\n" == done.stderr
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("timecode", "sentence"),
    [
        ("10:00:00;00", "drop-frame is defined at 30000/1001 and 60000/1001, not at 25"),
        ("10:00:00:25", "out of range"),
        ("ten", "timecode"),
    ],
)
def test_a_timecode_that_the_rate_does_not_have_is_refused(
    tmp_path: Path, timecode: str, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        write_match(
            tmp_path / "x.mp4", seconds=30, seed=1, width=64, height=64, rate=Fraction(25), timecode=timecode
        )
    assert [] == list(tmp_path.iterdir())


def test_an_encoder_that_fails_is_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(EncoderFailed, match="ffmpeg failed"):
        write_match(tmp_path / "x.unknown", seconds=30, seed=1, width=64, height=64, rate=Fraction(1))
    assert [] == list(tmp_path.iterdir())


def test_without_an_ffmpeg_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(EncoderFailed, match="no ffmpeg"):
        find_ffmpeg()
