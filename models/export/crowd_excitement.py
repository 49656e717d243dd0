"""crowd-excitement: loudness of the sound, loudness of the background behind the voices, and spectral shape.

Everything is measured on the power spectra of Hann frames that overlap by half. Loudness is the short-term
loudness of EBU Tech 3341 (3 s of ITU-R BS.1770-5, one channel); its K-weighting is a gain on each bin of the
spectrum. The background is the level that the frames exceed nine tenths of the time, L90 of ISO 1996-1: a
commentator pauses for breath, a crowd does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from models.export import Array, Build, constant, integers, parse, provenance
from shared.models import REFERENCE

NAME = "crowd-excitement"
RATE = 16000
FRAME = 1024
HOP = FRAME // 2
WINDOW = 96 * HOP
"""49152 samples, 3.072 s: 95 frames of 64 ms."""
FRAMES = WINDOW // HOP - 1
STRIDE = RATE // 2
BATCH = 8
QUIETEST = FRAMES // 10 + 1
"""L90 is the loudest of the quietest tenth of the frames."""
GATE_LKFS = -70.0
"""The absolute gate of BS.1770: the least loudness reported, also for digital silence."""
SHAPE_HZ = (100.0, 7000.0)
"""Band of centroid and flatness: it holds the crowd, but no mains hum."""
ALPHA_LOW_HZ, ALPHA_HIGH_HZ = (50.0, 1000.0), (1000.0, 5000.0)
WHISTLE_HZ, AROUND_HZ = (2000.0, 5000.0), (1500.0, 6000.0)
WHISTLE_FRAMES = 5
"""0.19 s: as long as a short blow of the whistle, and longer than most other tones stay the same."""

# The two biquads of BS.1770-5 annex 1, given for 48 kHz: (b0, b1, b2), (1, a1, a2).
_PRE_FILTER = (
    (1.53512485958697, -2.69169618940638, 1.19839281085285),
    (1.0, -1.69065929318241, 0.73248077421585),
)
_RLB_FILTER = ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621))


def k_weighting(hz: Array) -> Array:
    """Power gain of the K-weighting at each frequency, from the filters at their own 48 kHz."""
    z = np.exp(-2j * np.pi * hz[:, None] / 48000 * np.arange(3))
    gain = np.ones(len(hz))
    for b, a in (_PRE_FILTER, _RLB_FILTER):
        gain *= np.abs(z @ np.array(b)) ** 2 / np.abs(z @ np.array(a)) ** 2
    return gain


def _band(hz: Array, span: tuple[float, float]) -> Array:
    return np.where((hz >= span[0]) & (hz < span[1]), 1.0, 0.0)


def build() -> Build:
    """The graph, its manifest and a golden batch."""
    return Build(_graph(), _manifest(), _sample())


def _constants() -> dict[str, Array]:
    hz = np.fft.rfftfreq(FRAME, 1 / RATE)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FRAME) / FRAME)
    both_sides = np.where((hz == 0) | (hz == RATE / 2), 1.0, 2.0)
    shape, whistle, around = (_band(hz, span) for span in (SHAPE_HZ, WHISTLE_HZ, AROUND_HZ))
    columns = [k_weighting(hz), _band(hz, ALPHA_LOW_HZ), _band(hz, ALPHA_HIGH_HZ), shape, shape * hz / 1000]
    return {
        "hann": constant(hann[:, None]),
        # Parseval: the sum over all bins is then the mean square of the samples.
        "scale": constant(both_sides / (FRAME * (hann**2).sum())),
        "sums": constant(np.stack(columns, axis=1)),
        "k_weights": constant(k_weighting(hz)[:, None]),
        "quietest": integers(QUIETEST),
        "before_quietest": integers(QUIETEST - 1),
        "axis_2": integers(2),
        "shape_mean": constant((shape / shape.sum())[:, None]),
        "around_mean": constant((around / around.sum())[:, None]),
        "whistle": constant(whistle),
        "noise": constant(1e-12),
        "offset": constant([-0.691]),
        "gate": constant([GATE_LKFS]),
        "decibels": constant([10 / np.log(10)]),
        "kilo": constant([1000]),
        "framed": integers(0, WINDOW // HOP, HOP),
        "zero": integers(0),
        "one": integers(1),
        "two": integers(2),
        "three": integers(3),
        "four": integers(4),
        "five": integers(5),
        "last": integers(-1),
        "many": integers(WINDOW // HOP),
        "axis_1": integers(1),
        "axis_3": integers(3),
    }


def _graph() -> onnx.ModelProto:
    return parse(
        f"""
        crowd_excitement (float[N, {WINDOW}] samples) => (float[N, 6] scores) {{
          halves = Reshape (samples, framed)
          early = Slice (halves, zero, last, axis_1)
          late = Slice (halves, one, many, axis_1)
          frames = Concat <axis=2> (early, late)
          signal = Unsqueeze (frames, axis_3)
          direct = ReduceMean <axes=[2]> (signal)
          alternating = Sub (signal, direct)
          tapered = Mul (alternating, hann)
          spectrum = DFT <axis=2, onesided=1> (tapered)
          squares = Mul (spectrum, spectrum)
          raw_power = ReduceSum <keepdims=0> (squares, axis_3)
          power = Mul (raw_power, scale)
          clean = ReduceMean <axes=[1], keepdims=0> (power)
          mean_power = Add (clean, noise)

          totals = MatMul (mean_power, sums)
          k_power = Slice (totals, zero, one, axis_1)
          low = Slice (totals, one, two, axis_1)
          high = Slice (totals, two, three, axis_1)
          total = Slice (totals, three, four, axis_1)
          moment = Slice (totals, four, five, axis_1)

          k_log = Log (k_power)
          k_decibels = Mul (k_log, decibels)
          k_loudness = Add (k_decibels, offset)
          loudness = Max (k_loudness, gate)

          frame_sums = MatMul (power, k_weights)
          frame_power = Squeeze (frame_sums, axis_2)
          quiet, quiet_at = TopK <axis=1, largest=0, sorted=1> (frame_power, quietest)
          exceeded = Slice (quiet, before_quietest, quietest, axis_1)
          exceeded_noisy = Add (exceeded, noise)
          exceeded_log = Log (exceeded_noisy)
          exceeded_decibels = Mul (exceeded_log, decibels)
          exceeded_loudness = Add (exceeded_decibels, offset)
          background = Max (exceeded_loudness, gate)

          ratio = Div (high, low)
          ratio_log = Log (ratio)
          alpha = Mul (ratio_log, decibels)

          centroid_khz = Div (moment, total)
          centroid = Mul (centroid_khz, kilo)

          power_log = Log (mean_power)
          mean_log = MatMul (power_log, shape_mean)
          geometric = Exp (mean_log)
          arithmetic = MatMul (mean_power, shape_mean)
          flatness = Div (geometric, arithmetic)

          power_image = Unsqueeze (power, axis_1)
          held = AveragePool <kernel_shape=[{WHISTLE_FRAMES}, 1]> (power_image)
          held_noisy = Add (held, noise)
          in_band = Mul (held_noisy, whistle)
          peak = ReduceMax <axes=[3]> (in_band)
          surround = MatMul (held_noisy, around_mean)
          contrast = Div (peak, surround)
          strongest = ReduceMax <axes=[1, 2, 3], keepdims=0> (contrast)
          strongest_log = Log (strongest)
          strongest_decibels = Mul (strongest_log, decibels)
          tone = Unsqueeze (strongest_decibels, axis_1)

          scores = Concat <axis=1> (loudness, background, alpha, centroid, flatness, tone)
        }}""",
        _constants(),
    )


def _sample() -> Array:
    """Noise and tones from loud to quiet, and digital silence first: float32 (BATCH, WINDOW)."""
    random = np.random.default_rng(4)
    seconds = np.arange(WINDOW) / RATE
    noise = random.standard_normal((BATCH, WINDOW)) * 10.0 ** -np.linspace(0.5, 4, BATCH)[:, None]
    tones = np.sin(2 * np.pi * np.linspace(200, 4200, BATCH)[:, None] * seconds) * 0.05
    sample = (noise + tones * (np.arange(BATCH) % 2)[:, None]).clip(-1, 1)
    sample = (np.round(sample * 1024) / 1024).astype(np.float32)  # so that the file is small
    sample[0] = 0  # digital silence
    return sample


def _manifest() -> dict[str, Any]:
    return {
        "name": NAME,
        "version": "1.1.0",
        "kind": "audio",
        "rate": f"{RATE}/1",
        "window": WINDOW,
        "stride": STRIDE,
        "anchor": WINDOW // 2,
        "batch": BATCH,
        "input": {"name": "samples", "layout": "NS"},
        "output": {
            "name": "scores",
            "labels": ["loudness", "background", "alpha", "centroid", "flatness", "whistle"],
        },
        "golden": {"tolerance": 0.05},
        "reference": REFERENCE,
        "provenance": provenance(
            "Loudness: ITU-R BS.1770-5, annex 1, over the 3 s of EBU Tech 3341. Background: percentile level "
            "L90, ISO 1996-1. Centroid and flatness: Peeters, 'A large set of audio "
            "features for sound description', IRCAM 2004. Alpha ratio: Eyben et al., 'The Geneva "
            "minimalistic acoustic parameter set', IEEE Trans. Affective Computing 7(2), 2016. Loudness as "
            "excitement: Hanjalic, 'Adaptive extraction of highlights from a sport video based on "
            "excitement modeling', IEEE Trans. Multimedia 7(6), 2005."
        ),
    }
