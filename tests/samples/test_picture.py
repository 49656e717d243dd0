from __future__ import annotations

import hashlib
from fractions import Fraction

import numpy as np
import pytest

from samples.picture import Broadcast
from samples.script import write_script
from samples.truth import Parameters, truth_of

RATE = Fraction(25)


def _broadcast(seed: int, rate: Fraction = RATE, seconds: int = 90) -> Broadcast:
    return Broadcast(write_script(seed, seconds), 160, 90, rate)


def test_the_same_seed_gives_the_same_frames() -> None:
    digests = []
    for _ in range(2):
        broadcast, digest = _broadcast(17), hashlib.sha256()
        for frame in range(0, broadcast.frames, 30):
            digest.update(broadcast.frame(frame).tobytes())
        digests.append(digest.hexdigest())
    assert digests[0] == digests[1]


def test_a_frame_does_not_depend_on_what_was_drawn_before() -> None:
    one, two = _broadcast(17), _broadcast(17)
    for frame in range(700, 0, -70):
        one.frame(frame)
    assert np.array_equal(one.frame(900), two.frame(900))


def test_another_seed_gives_other_frames() -> None:
    assert not np.array_equal(_broadcast(1).frame(100), _broadcast(2).frame(100))


def test_pictures_differ_at_a_cut_and_hardly_within_a_take() -> None:
    broadcast = _broadcast(17)
    truth = truth_of(broadcast.script, RATE, Parameters(seconds=90, width=160, height=90))

    def step(frame: int) -> float:
        near = broadcast.frame(frame).astype(np.int16) - broadcast.frame(frame - 1)
        return float(np.abs(near).mean())

    cuts = [step(t.frame) for t in truth.transitions if t.kind == "cut"]
    within = [step(f) for f in range(40, 2250, 75) if all(abs(f - t.frame) > 20 for t in truth.transitions)]
    assert len(cuts) >= 5
    assert min(cuts) > 3 * max(within)


def test_a_wipe_covers_the_picture_where_the_take_changes() -> None:
    script = next(s for s in (write_script(k, 60) for k in range(100)) if any(t.wipe for t in s.takes))
    broadcast = Broadcast(script, 160, 90, RATE)
    start = next(s for s, take in zip(broadcast.starts, script.takes, strict=True) if take.wipe)
    colours = np.array(((96, 44, 20), (60, 200, 235)))
    for frame in (start - 1, start):
        off = np.abs(broadcast.frame(frame)[:, :, None].astype(int) - colours).max(3).min(2)
        assert (off < 30).mean() > 0.98


@pytest.mark.parametrize("rate", [Fraction(30000, 1001), Fraction(50), Fraction(60000, 1001)])
def test_the_last_frame_of_any_rate_is_drawn(rate: Fraction) -> None:
    broadcast = _broadcast(3, rate, seconds=30)
    assert (90, 160, 3) == broadcast.frame(broadcast.frames - 1).shape


def test_a_goal_is_seen_at_either_end_when_a_ball_is_struck() -> None:
    for seed in range(6):
        broadcast = _broadcast(seed)
        for strike in broadcast.script.world.strikes:
            take = broadcast.script.takes[broadcast.take_at(int(strike.tick * 2.5))]
            view = broadcast._view(take, strike.tick)
            (post,), _ = view.project([(strike.side * 52.5, 0, 1.2)])
            assert 0 <= post[0] < 160
            assert 0 <= post[1] < 90


@pytest.mark.parametrize("size", [(161, 90), (160, 91), (62, 62)])
def test_a_size_that_cannot_be_encoded_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="even"):
        Broadcast(write_script(1, 30), *size, RATE)
