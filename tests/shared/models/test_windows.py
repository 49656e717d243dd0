"""The law of the scorer: however the work is divided, the track is the same, bit for bit."""

from __future__ import annotations

from bisect import bisect_right
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.models import AudioScorer, Model, PictureScorer, Track, load_model, score_head, stitch_tracks
from shared.settings import ROOT
from tests.support.pictures import Shown, clip_model, feed, head_model, image_of, score_segment

FILM, NTSC = Fraction(25), Fraction(30000, 1001)
SETTINGS = settings(max_examples=25)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    """Frame at 2/s, pair at the native rate, pair at 5/s, clips that overlap, clips with gaps between."""
    folder = tmp_path_factory.mktemp("models")
    clip_model(folder / "overlap")
    clip_model(folder / "gaps", rate="native", window=3, stride=7, anchor=0)
    clip_model(folder / "embedding", embedding={"name": "positive", "size": 50})
    head_model(folder)
    one = {"kind": "frame", "window": 1, "stride": 1, "anchor": 0, "batch": 1, "pictures": "key"}
    clip_model(folder / "key", **one)
    return {
        "frame": load_model(ROOT / "models" / "pitch-share"),
        "native-pair": load_model(ROOT / "models" / "shot-change"),
        "pair": load_model(ROOT / "models" / "motion"),
        "clip": load_model(folder / "overlap" / "tiny-clip"),
        "sparse-clip": load_model(folder / "gaps" / "tiny-clip"),
        "embedding": load_model(folder / "embedding" / "tiny-clip"),
        "head": load_model(folder / "tiny-head"),
        "key": load_model(folder / "key" / "tiny-clip"),
    }


KINDS = ("frame", "native-pair", "pair", "clip", "sparse-clip")
steps = st.lists(st.sampled_from([1, 1, 1, 1, 2, 3, 11]), min_size=0, max_size=120)
cuts = st.sets(st.integers(1, 260), max_size=6)


@pytest.mark.parametrize("rate", [FILM, NTSC])
@pytest.mark.parametrize("kind", KINDS)
@SETTINGS
@given(steps=steps, cuts=cuts)
def test_any_segments_give_the_track_of_one_segment(
    models: dict[str, Model], kind: str, rate: Fraction, steps: list[int], cuts: set[int]
) -> None:
    frames = [0, *np.cumsum(steps).tolist()]  # VFR with holes
    whole, _ = score_segment(models[kind], rate, frames, 0, None)
    edges = [0, *sorted(cuts), None]
    parts = [score_segment(models[kind], rate, frames, a or 0, b)[0] for a, b in pairwise(edges)]
    joined = stitch_tracks(parts)
    assert whole.first == joined.first == 0
    assert whole.grid == joined.grid
    assert whole.scores.tobytes() == joined.scores.tobytes()
    assert np.isfinite(whole.scores).all()


@SETTINGS
@given(steps=steps, cuts=cuts)
def test_any_segments_give_the_embedding_and_the_head_of_one_segment(
    models: dict[str, Model], steps: list[int], cuts: set[int]
) -> None:
    frames = [0, *np.cumsum(steps).tolist()]
    edges = [0, *sorted(cuts), None]
    spans = [(0, None), *[(a or 0, b) for a, b in pairwise(edges)]]
    embeddings = [feed(models["embedding"], FILM, frames, a, b)[0][1] for a, b in spans]
    heads = [score_head(models["head"], embedding) for embedding in embeddings if embedding]
    for whole, *parts in (embeddings, heads):
        assert whole is not None
        assert whole.scores.tobytes() == stitch_tracks([part for part in parts if part]).scores.tobytes()


@SETTINGS
@given(steps=steps, cuts=cuts, gop=st.integers(1, 60))
def test_key_frames_give_the_same_track_in_segments_and_in_a_sweep(
    models: dict[str, Model], steps: list[int], cuts: set[int], gop: int
) -> None:
    frames = [0, *np.cumsum(steps).tolist()]
    keys = frames[::gop]
    whole, pushed = score_segment(models["key"], NTSC, frames, 0, None, keys)
    edges = [0, *sorted(cuts), None]
    parts = [score_segment(models["key"], NTSC, frames, a or 0, b, keys)[0] for a, b in pairwise(edges)]
    sweep = PictureScorer(models["key"], NTSC, 0, None)
    for frame in keys:
        sweep.push(Shown(frame))
    assert whole.scores.tobytes() == stitch_tracks(parts).scores.tobytes()
    assert whole.scores.tobytes() == sweep.finish(frames[-1]).scores.tobytes()
    assert np.isfinite(whole.scores).all()
    assert all(picture.key for picture in pushed if picture.conversions)


def test_a_head_says_nothing_where_its_source_saw_nothing(models: dict[str, Model]) -> None:
    values = np.ones((3, 50), np.float16)
    values[1] = np.nan
    track = score_head(models["head"], Track(models["embedding"].grid(FILM), (), 6, values))
    assert (6, ("yes", "no")) == (track.first, track.labels)
    assert [False, True, False] == np.isnan(track.scores).any(axis=1).tolist()


@pytest.mark.parametrize("rate", [FILM, NTSC])
@pytest.mark.parametrize("kind", KINDS)
def test_each_window_holds_the_pictures_on_screen_at_its_samples(
    models: dict[str, Model], kind: str, rate: Fraction
) -> None:
    model, frames = models[kind], [*range(40), *range(57, 90, 2), 120, 121]
    grid, spec = model.grid(rate), model.manifest.input
    samples: list[int] = []
    while (frame := int(len(samples) * rate / grid.rate)) <= frames[-1]:
        samples.append(frames[bisect_right(frames, frame) - 1])
    starts = range(0, len(samples) - grid.window + 1, grid.stride)
    size = (spec.width or 0, spec.height or 0, str(spec.colour))
    windows = [np.stack([image_of(f, *size) for f in samples[s : s + grid.window]]) for s in starts]
    expected = np.concatenate([model.score(window[None], j) for j, window in enumerate(windows)])
    track, _ = score_segment(model, rate, frames, 0, None)
    assert len(windows) > 2
    assert expected.tobytes() == track.scores.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_only_pictures_that_become_a_sample_are_converted_and_only_once(
    models: dict[str, Model], kind: str
) -> None:
    grid = models[kind].grid(FILM)
    frames = [*range(60), *range(90, 130)]  # a hold of 30 frames
    _, pushed = score_segment(models[kind], FILM, frames, 0, None)
    samples = {int(k * FILM / grid.rate) for k in range(200) if k % grid.stride < grid.window}
    on_screen = {frames[bisect_right(frames, frame) - 1] for frame in samples if frame <= frames[-1]}
    counts = {picture.frame: len(picture.conversions) for picture in pushed}
    assert max(counts.values()) == 1
    assert {frame for frame, count in counts.items() if count} <= on_screen


def test_a_segment_asks_for_its_halo_and_no_more(models: dict[str, Model]) -> None:
    scorer = PictureScorer(models["clip"], FILM, 100, 200)  # 5/s: window j is frames 15 j to 15 j + 35
    assert (90, 201) == (scorer.first_needed, scorer.end_needed)  # windows 6 to 11, anchors 110 to 185
    scorer = PictureScorer(models["native-pair"], FILM, 100, None)
    assert (99, None) == (scorer.first_needed, scorer.end_needed)


def test_a_segment_after_the_end_of_the_video_has_an_empty_track_at_0(models: dict[str, Model]) -> None:
    track, _ = score_segment(models["frame"], FILM, list(range(50)), 75, None)
    assert (0, 0) == (track.first, len(track.scores))


def test_of_two_pictures_with_one_number_the_second_is_on_screen(models: dict[str, Model]) -> None:
    scorer = PictureScorer(models["frame"], FILM, 0, 1)
    first, second = Shown(0), Shown(0)
    for picture in (first, second, Shown(1)):
        scorer.push(picture)
    assert 1 == len(scorer.finish(None).scores)
    assert ([], [0]) == (first.conversions, second.conversions)


def test_a_picture_out_of_order_is_an_error(models: dict[str, Model]) -> None:
    scorer = PictureScorer(models["frame"], FILM, 0, None)
    scorer.push(Shown(5))
    with pytest.raises(ValueError, match="picture 4 came after picture 5"):
        scorer.push(Shown(4))


def test_windows_without_a_picture_are_rows_of_nan(models: dict[str, Model]) -> None:
    scorer = PictureScorer(models["frame"], FILM, 0, None)
    scorer.push(Shown(30))  # samples 0, 1, 2 lie at 0, 12, 25
    track = scorer.finish(40)
    assert [True, True, True, False] == np.isnan(track.scores).any(axis=1).tolist()


@SETTINGS
@given(lengths=st.lists(st.integers(0, 30000), max_size=12))
def test_any_chunks_of_sound_give_the_same_track(lengths: list[int]) -> None:
    model = load_model(ROOT / "models" / "crowd-excitement")
    sound = np.random.default_rng(5).normal(0, 0.1, 120_001).astype(np.float32)
    window, stride = model.manifest.window, model.manifest.stride
    expected = [
        model.score(sound[None, s : s + window], j)[0]
        for j, s in enumerate(range(0, len(sound) - window + 1, stride))
    ]
    scorer = AudioScorer(model)
    for chunk in np.split(sound, np.minimum(np.cumsum([0, *lengths]), len(sound))):
        scorer.push(chunk)
    track = scorer.finish()
    assert np.array(expected).tobytes() == track.scores.tobytes()


def test_broken_samples_of_sound_are_silence_and_loud_ones_are_clipped() -> None:
    model = load_model(ROOT / "models" / "crowd-excitement")
    tracks = []
    for odd, meant in ((np.nan, 0), (np.inf, 0), (7.5, 1)):
        for value in (odd, meant):
            scorer = AudioScorer(model)
            scorer.push(np.full(20_000, value, np.float32))
            tracks.append(scorer.finish().scores.tobytes())
    assert tracks[::2] == tracks[1::2]


def test_sound_shorter_than_a_window_has_an_empty_track() -> None:
    scorer = AudioScorer(load_model(ROOT / "models" / "crowd-excitement"))
    scorer.push(np.zeros(100, np.float32))
    assert (0, 6) == scorer.finish().scores.shape
