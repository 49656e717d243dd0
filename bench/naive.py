"""The naive way: one process, every frame, one window at a time (the shape that the original had).

python -m bench.naive VIDEO MODEL ...

It reads the same manifests and runs the same graphs on the same windows of the same samples. It wastes
nothing on purpose: a frame is converted once for each size and colour that some model wants, only where
it becomes a sample, and overlapping windows share their pictures. It lacks batches, a second
process, a way to decode only key frames, storage, and resuming.
"""

from __future__ import annotations

import json
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from shared.contracts import ModelManifest
from shared.settings import ROOT
from shared.video import snap_rate

Array = npt.NDArray[Any]
_COLOURS = {"rgb": cv2.COLOR_BGR2RGB, "gray": cv2.COLOR_BGR2GRAY}


class Network:
    """One model: its manifest, and a session with one thread."""

    def __init__(self, name: str) -> None:
        folder = ROOT / "models" / name
        self.spec = ModelManifest.model_validate_json((folder / "model.json").read_bytes())
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = str(folder / "model.onnx")
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._fixed = self._session.get_inputs()[0].shape[0]
        self.heads: list[Network] = []
        self.windows: deque[Array] = deque(maxlen=self.spec.window)
        self.samples = 0
        self.scores: list[Array] = []

    def push(self, sample: Array) -> None:
        """One picture after the other; each that completes a window has it scored."""
        self.windows.append(sample)
        self.samples += 1
        start = self.samples - self.spec.window
        if start >= 0 and start % self.spec.stride == 0:
            self.score(np.stack(self.windows))

    def score(self, window: Array) -> None:
        """(T, H, W, C) pictures, (S,) sound or (E,) of an embedding."""
        spec = self.spec
        tensor = window.astype(np.float32) if spec.input.dtype == "float32" else window
        if spec.kind not in ("audio", "head"):
            if tensor.ndim == 3:
                tensor = tensor[..., None]
            if spec.input.dtype == "float32":
                mean, std = np.array(spec.input.mean, np.float32), np.array(spec.input.std, np.float32)
                tensor = (tensor - mean) / std
            present = [axis for axis in "THWC" if axis in spec.input.layout]
            shape = [n for n, axis in zip(tensor.shape, "THWC", strict=True) if axis in present]
            order = [present.index(axis) for axis in spec.input.layout[1:]]
            tensor = tensor.reshape(shape).transpose(order)
        # A graph with a fixed batch takes no single window: the rest of the batch is empty then.
        batch = np.zeros((self._fixed if isinstance(self._fixed, int) else 1, *tensor.shape), tensor.dtype)
        batch[0] = tensor
        names = [spec.output.name, *([spec.embedding.name] if spec.embedding else [])]
        raw = self._session.run(names, {spec.input.name: batch})
        self.scores.append(_activated(raw[0][0], spec.output.activation))
        for head in self.heads:
            head.score(raw[1][0])


def _activated(raw: Array, activation: str) -> Array:
    if activation == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-raw)))
    if activation == "softmax":
        powers = np.exp(raw - raw.max())
        return np.asarray(powers / powers.sum())
    return raw


def load(names: Sequence[str]) -> list[Network]:
    """The networks, each head below its source; heads alone are not listed."""
    networks = {name: Network(name) for name in names}
    for network in networks.values():
        if network.spec.source:
            networks[network.spec.source].heads.append(network)
    return list(networks.values())


def watch(video: Path, networks: Sequence[Network]) -> int:
    """Read every frame, and give each network its samples; returns the number of frames."""
    capture = cv2.VideoCapture(str(video))
    rate = snap_rate(Fraction(capture.get(cv2.CAP_PROP_FPS)).limit_denominator(1001))
    steps = {id(n): rate / (rate if n.spec.rate == "native" else Fraction(n.spec.rate)) for n in networks}
    frames = 0
    while True:
        there, frame = capture.read()
        if not there:
            break
        converted: dict[tuple[Any, ...], Array] = {}
        for network in networks:
            step, taken = steps[id(network)], 0
            # The samples that show this frame: those at frame floor(k * step).
            while int((network.samples + taken) * step) <= frames:
                taken += 1
            for _ in range(taken):
                network.push(_picture(frame, network.spec, converted))
        frames += 1
    capture.release()
    return frames


def _picture(frame: Array, spec: ModelManifest, converted: dict[tuple[Any, ...], Array]) -> Array:
    wanted = (spec.input.width, spec.input.height, spec.input.colour, spec.input.fit)
    if wanted not in converted:
        width, height = int(spec.input.width or 0), int(spec.input.height or 0)
        scale = min(width / frame.shape[1], height / frame.shape[0])
        inner = (width, height)
        if spec.input.fit == "letterbox":
            inner = (max(1, round(frame.shape[1] * scale)), max(1, round(frame.shape[0] * scale)))
        small = cv2.resize(frame, inner, interpolation=cv2.INTER_AREA)
        if inner != (width, height):
            left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
            right, bottom = width - inner[0] - left, height - inner[1] - top
            small = cv2.copyMakeBorder(small, top, bottom, left, right, cv2.BORDER_CONSTANT)
        if spec.input.colour in _COLOURS:
            small = cv2.cvtColor(small, _COLOURS[spec.input.colour])
        converted[wanted] = small
    return converted[wanted]


def listen(video: Path, networks: Sequence[Network]) -> None:
    """Decode the sound once for each sample rate, and give each network its windows."""
    for rate_hz in sorted({int(Fraction(network.spec.rate)) for network in networks}):
        hearing = [network for network in networks if int(Fraction(network.spec.rate)) == rate_hz]
        buffers = {id(network): np.empty(0, np.float32) for network in hearing}
        for samples in _sound(video, rate_hz):
            for network in hearing:
                spec, buffer = network.spec, np.concatenate([buffers[id(network)], samples])
                while len(buffer) >= max(spec.window, spec.stride):
                    network.score(buffer[: spec.window])
                    buffer = buffer[spec.stride :]
                buffers[id(network)] = buffer


def _sound(video: Path, rate_hz: int) -> Iterator[npt.NDArray[np.float32]]:
    resampler = av.AudioResampler(format="flt", layout="mono", rate=rate_hz)
    with av.open(str(video)) as container:
        if not container.streams.audio:
            return
        stream = container.streams.audio[0]
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            frame.pts = None
            for chunk in resampler.resample(frame):
                yield chunk.to_ndarray().reshape(-1).astype(np.float32, copy=False)


def run(video: Path, names: Sequence[str]) -> dict[str, Any]:
    """{"frames", "windows": model -> scored, "cpu_s": of the process so far}."""
    cv2.setNumThreads(1)
    networks = load(names)
    frames = watch(video, [n for n in networks if n.spec.kind not in ("audio", "head")])
    listen(video, [n for n in networks if n.spec.kind == "audio"])
    windows = {network.spec.name: len(network.scores) for network in networks}
    return {"frames": frames, "windows": windows, "cpu_s": time.process_time()}


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), sys.argv[2:])))
