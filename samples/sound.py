"""The sound of the broadcast: crowd, whistle and commentary, second by second.

48 kHz stereo. Crowd noise is drawn as spectra and joined by overlap-add with sine windows, whose
squares add up to one, so its level is even and no second repeats another. A second of sound is a
function of (script, rate, number) alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from samples.clock import TICKS_PER_S, draws, frames_in, samples_until
from samples.script import Quiet, Script, Speech, Swell, Whistle
from samples.world import HALF_LENGTH

Floats = npt.NDArray[np.float32]
Pcm = npt.NDArray[np.int16]

RATE_HZ = 48000
CHANNELS = 2
_CONTROL_HZ = 20
_BED_DBFS, _SPEECH_DBFS, _WHISTLE_DBFS = -31.0, -23.0, -22.0
_VOICE_HZ = 16000
_SPECTRA_DB: dict[str, tuple[tuple[float, float], ...]] = {
    "bed": ((40, -24), (125, -8), (250, 0), (500, 0), (1000, -6), (2000, -14), (4000, -24), (16000, -54)),
    "roar": ((80, -24), (250, -8), (500, 0), (900, 3), (1500, 0), (2500, -3), (4000, -12), (16000, -46)),
    "boo": ((60, -14), (160, 0), (320, 2), (500, -3), (800, -12), (2000, -26), (16000, -60)),
    "chant": ((80, -20), (180, 0), (300, 0), (600, 2), (1000, -6), (2600, -10), (16000, -50)),
}
"""Corner frequencies in Hz and levels in dB, joined by lines over the logarithm of frequency."""
_VOWELS_HZ = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
"""Formants of male vowels (Peterson and Barney, 1952)."""


def gain(level_db: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Amplitude of a level in dB."""
    return np.asarray(10 ** (np.asarray(level_db, np.float64) / 20))


def swell_shape(swell: Swell, time_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """0 before it starts, 1 while it holds, then falling by e each decay_s."""
    since = time_s - swell.start_s
    fall = np.exp(-np.maximum(since - swell.attack_s - swell.hold_s, 0) / swell.decay_s)
    return np.asarray(np.clip(since / swell.attack_s, 0, 1) * fall)


def _dip_db(quiet: tuple[Quiet, ...], time_s: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How far the crowd's bed is down, with slopes of a second."""
    down = np.zeros_like(time_s)
    for q in quiet:
        inside = np.clip(np.minimum(time_s - q.start_s, q.end_s - time_s), 0, 1)
        down = np.maximum(down, q.drop_db * inside)
    return down


def levels(script: Script) -> dict[str, npt.NDArray[np.float64]]:
    """Amplitude of each part of the crowd, _CONTROL_HZ times a second, over the whole match."""
    time_s = np.arange(script.seconds * _CONTROL_HZ + 2 * _CONTROL_HZ) / _CONTROL_HZ
    rng = draws(script.seed, 20)
    keep = float(np.exp(-1 / 15))
    drift, now = np.zeros(script.seconds + 3), 0.0
    for second in range(len(drift)):
        now = now * keep + float(rng.normal(0, 1.5)) * (1 - keep**2) ** 0.5
        drift[second] = now
    drift_db = np.interp(time_s, np.arange(len(drift)), drift)
    x = np.abs(script.world.ball[:, 0])
    near = np.clip((np.convolve(x, np.ones(11) / 11, "same") - 24) / (HALF_LENGTH - 24), 0, 1)
    near_db = 4 * np.interp(time_s, np.arange(len(x)) / TICKS_PER_S, near)
    out = {"bed": gain(_BED_DBFS + drift_db + near_db - _dip_db(script.quiet, time_s))}
    power = {kind: np.zeros_like(time_s) for kind in ("roar", "boo", "chant")}
    for swell in script.swells:
        loud = -35 + 23 * swell.strength if swell.kind == "roar" else -36 + 16 * swell.strength
        power[swell.kind] += (gain(loud) * swell_shape(swell, time_s)) ** 2
    for chant in script.chants:
        inside = np.clip(np.minimum(time_s - chant.start_s, chant.end_s - time_s), 0, 1)
        beat = np.sin(np.pi * chant.beats_hz * (time_s - chant.start_s)) ** 2
        power["chant"] += (gain(-36 + 16 * chant.strength) * inside * (0.25 + 0.75 * beat)) ** 2
    return out | {kind: np.sqrt(value) for kind, value in power.items()}


@lru_cache(maxsize=len(_SPECTRA_DB))
def _spectrum(kind: str) -> Floats:
    """Amplitude of each bin of a 2 s block so that the noise drawn from it has an RMS of 1."""
    hz = np.fft.rfftfreq(2 * RATE_HZ, 1 / RATE_HZ)
    corners = np.array(_SPECTRA_DB[kind])
    shape = gain(np.interp(np.log(np.maximum(hz, 1)), np.log(corners[:, 0]), corners[:, 1]))
    shape[hz < 30] = 0
    return np.asarray(shape * RATE_HZ * 2 / np.sqrt(4 * np.sum(shape**2)), np.float32)


class Soundtrack:
    """The sound of `frames` frames: seconds of int16 (n, 2), the last one shorter."""

    def __init__(self, script: Script, rate: Fraction) -> None:
        self.script = script
        self.samples = samples_until(frames_in(script.seconds, rate), rate, RATE_HZ)
        self.levels = levels(script)
        window = np.sin(np.pi * (np.arange(2 * RATE_HZ) + 0.5) / (2 * RATE_HZ))
        self._window = window.astype(np.float32)[:, None]
        self._noise = lru_cache(maxsize=10)(self._draw_noise)
        self._voice = lru_cache(maxsize=3)(self._draw_voice)

    def __iter__(self) -> Iterator[Pcm]:
        for second in range(-(-self.samples // RATE_HZ)):
            yield self.second(second)[: self.samples - second * RATE_HZ]

    def second(self, second: int) -> Pcm:
        """int16 (48000, 2): what is heard in [second, second + 1)."""
        mix = np.zeros((RATE_HZ, CHANNELS), np.float32)
        grid = np.arange(RATE_HZ) / RATE_HZ * _CONTROL_HZ
        for number, (kind, level) in enumerate(self.levels.items()):
            control = level[second * _CONTROL_HZ : (second + 1) * _CONTROL_HZ + 1]
            if control.max() > 1e-5:
                noise = (
                    self._noise(number, kind, second)[RATE_HZ:]
                    + self._noise(number, kind, second + 1)[:RATE_HZ]
                )
                mix += noise * np.interp(grid, np.arange(len(control)), control).astype(np.float32)[:, None]
        for whistle in self.script.whistles:
            if second - 1 - whistle.length_s < whistle.start_s < second + 1:
                _add(mix, _blow(whistle, self.script.seed), whistle.start_s - second)
        for speech in self.script.speech:
            if speech.start_s < second + 1 and speech.end_s > second - 1:
                _add(mix, self._voice(speech), speech.start_s - second)
        return np.asarray(np.round(np.tanh(mix) * 32000), np.int16)

    def _draw_noise(self, number: int, kind: str, block: int) -> Floats:
        """Windowed noise (96000, 2) over seconds block - 1 and block; the sides correlate by half."""
        rng, shape = draws(self.script.seed, 21, number, block), _spectrum(kind)
        drawn = rng.standard_normal((2, len(shape), 2), dtype=np.float32)
        left, other = (np.fft.irfft(shape * (d[:, 0] + 1j * d[:, 1])) for d in drawn)
        return np.asarray(np.column_stack([left, 0.5 * left + 0.75**0.5 * other]) * self._window, np.float32)

    def _draw_voice(self, speech: Speech) -> Floats:
        """A stretch of talk without words (n,): syllables of voiced vowels with hisses between."""
        rng = draws(self.script.seed, 22, speech.key)
        out = np.zeros(int((speech.end_s - speech.start_s) * _VOICE_HZ) + 1)
        at, pitch = 0, rng.uniform(105, 135) * (1 + 0.7 * speech.excited)
        while at < len(out):
            long = int(rng.uniform(0.1, 0.24) * _VOICE_HZ)
            t = np.arange(long) / _VOICE_HZ
            hz = pitch * rng.uniform(0.85, 1.25) * np.linspace(1.04, rng.uniform(0.8, 1.0), long)
            phase = 2 * np.pi * np.cumsum(hz) / _VOICE_HZ
            number = np.arange(1, int(3800 / hz.max()) + 1)
            formants = np.array(_VOWELS_HZ[int(rng.integers(len(_VOWELS_HZ)))])
            near = number[:, None] * pitch - formants
            strength = (np.array((1, 0.5, 0.25)) / (1 + (near / (60 + 0.05 * formants)) ** 2)).sum(1) + 0.01
            body = (strength[:, None] * np.sin(number[:, None] * phase)).sum(0) * np.sin(
                np.pi * (np.arange(long) + 0.5) / long
            ) ** 0.6
            if rng.random() < 0.45:
                hiss = np.diff(rng.normal(0, 0.4, long + 1)) * np.exp(-t / 0.03)
                body = body + hiss
            room = out[at : at + long]
            room += body[: len(room)] * rng.uniform(0.6, 1)
            at += long + int(rng.exponential(0.03) * _VOICE_HZ)
        out *= gain(_SPEECH_DBFS + 7 * speech.excited) / max(float(np.sqrt(np.mean(out**2))), 1e-6)
        fine = np.arange(len(out) * RATE_HZ // _VOICE_HZ) * (_VOICE_HZ / RATE_HZ)
        return np.asarray(np.interp(fine, np.arange(len(out)), out), np.float32)


def _blow(whistle: Whistle, seed: int) -> Floats:
    """A pea whistle (n,): a tone that trills, and its octave."""
    n = int(whistle.length_s * RATE_HZ)
    t = np.arange(n) / RATE_HZ
    trill = np.sin(2 * np.pi * draws(seed, 23, n).uniform(32, 44) * t)
    phase = 2 * np.pi * np.cumsum(whistle.pitch_hz + 70 * trill) / RATE_HZ
    edge = np.clip(np.minimum(t / 0.02, (whistle.length_s - t) / 0.05), 0, 1)
    tone = (np.sin(phase) + 0.15 * np.sin(2 * phase)) * (0.65 + 0.35 * trill) * edge
    return np.asarray(tone * gain(_WHISTLE_DBFS) * 2**0.5, np.float32)


def _add(mix: Floats, mono: Floats, start_s: float) -> None:
    """Lay a mono sound that starts start_s into the second over both channels."""
    start = round(start_s * RATE_HZ)
    low, high = max(start, 0), min(start + len(mono), len(mix))
    if low < high:
        mix[low:high] += mono[low - start : high - start, None]
