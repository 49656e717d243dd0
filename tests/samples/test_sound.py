from __future__ import annotations

import hashlib
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from samples.clock import TICKS_PER_S
from samples.script import Chant, Script, Swell, Whistle, write_script
from samples.sound import RATE_HZ, Soundtrack, levels, swell_shape

RATE = Fraction(25)
CALM = replace(write_script(1, 30), swells=(), chants=(), whistles=(), speech=(), quiet=())


def _db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean((samples / 32768) ** 2)))


def _heard(script: Script, second: int) -> np.ndarray:
    return Soundtrack(script, RATE).second(second).astype(float)


def test_the_same_seed_gives_the_same_sound() -> None:
    digests = []
    for _ in range(2):
        digest = hashlib.sha256()
        for second in Soundtrack(write_script(9, 30), RATE):
            digest.update(second.tobytes())
        digests.append(digest.hexdigest())
    assert digests[0] == digests[1]


def test_a_second_does_not_depend_on_what_was_heard_before() -> None:
    track = Soundtrack(write_script(9, 30), RATE)
    whole = list(track)
    assert np.array_equal(whole[20], _heard(write_script(9, 30), 20))


@pytest.mark.parametrize("rate", [RATE, Fraction(30000, 1001)])
def test_sound_is_as_long_as_the_picture(rate: Fraction) -> None:
    track = Soundtrack(CALM, rate)
    assert track.samples == sum(len(second) for second in track)


def test_the_bed_lies_at_its_level() -> None:
    assert -38 < _db(_heard(CALM, 5)) < -24


def test_a_strong_swell_is_heard_and_falls_again() -> None:
    loud = replace(CALM, swells=(Swell(10.0, 0.85, 0.4, 1.0, 1.5),))
    before, during, after = (_db(_heard(loud, second)) for second in (8, 11, 20))
    assert during > before + 8
    assert after < during - 8


def test_a_weak_swell_drowns_in_the_bed() -> None:
    weak = replace(CALM, swells=(Swell(10.0, 0.05, 0.4, 1.0, 1.5),))
    assert abs(_db(_heard(weak, 11)) - _db(_heard(CALM, 11))) < 3


def test_a_strong_reaction_is_heard_within_seconds_of_the_shot() -> None:
    rises = []
    for seed in range(20):
        script = replace(write_script(seed, 60), speech=(), whistles=(), chants=())
        track = Soundtrack(script, RATE)
        for strike, reaction in zip(script.world.strikes, script.reactions, strict=True):
            second = strike.tick // TICKS_PER_S
            if reaction > 0.6 and 5 < second < 55:
                before = _db(np.concatenate([track.second(second - k).astype(float) for k in (4, 3, 2)]))
                rises.append(max(_db(track.second(second + k).astype(float)) for k in range(1, 4)) - before)
    assert len(rises) >= 5
    assert min(rises) > 4


def test_a_whistle_is_a_tone_at_its_pitch() -> None:
    blown = replace(CALM, whistles=(Whistle(4.2, 0.6, 3500.0),))
    heard = _heard(blown, 4)[int(0.3 * RATE_HZ) : int(0.7 * RATE_HZ), 0]
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    hz = np.fft.rfftfreq(len(heard), 1 / RATE_HZ)
    high = hz > 1500
    assert abs(hz[high][np.argmax(spectrum[high])] - 3500) < 150


def test_a_chant_beats_at_its_rhythm() -> None:
    sung = replace(CALM, chants=(Chant(4.0, 14.0, 0.8, 2.0),))
    control = levels(sung)["chant"][6 * 20 : 12 * 20]
    spectrum = np.abs(np.fft.rfft(control - control.mean()))
    assert 2.0 == pytest.approx(np.argmax(spectrum) / 6)


def test_a_quiet_stretch_is_quiet() -> None:
    script = next(s for s in (write_script(k, 60) for k in range(50)) if s.quiet and s.quiet[0].end_s < 55)
    quiet, plain = levels(script)["bed"], levels(replace(script, quiet=()))["bed"]
    middle = int((script.quiet[0].start_s + script.quiet[0].end_s) / 2 * 20)
    assert quiet[middle] < plain[middle] * 10 ** (-4.9 / 20)


def test_a_swell_is_nothing_before_one_at_its_height_and_a_third_after_its_decay() -> None:
    swell = Swell(1.0, 0.5, 0.5, 1.0, 2.0)
    shape = swell_shape(swell, np.array((0.9, 1.5, 2.5, 4.5)))
    assert [0, 1, 1, np.exp(-1)] == pytest.approx(shape.tolist())
