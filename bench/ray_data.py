"""The same scoring as a data engineer would write it with Ray Data.

python -m bench.ray_data VIDEO WORKERS SEGMENT_S MODEL ...     in an environment with requirements-bench.txt

Segments are the rows of a dataset. A task decodes one and makes batches of windows of it; a pool of
actors, one per worker, holds the models and scores the batches; the scores are collected. Windows belong
to the segment in which their anchor lies, so each is scored once. One process more decodes the sound.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from shared.contracts import ModelManifest
from shared.models import Grid
from shared.settings import ROOT
from shared.video import snap_rate

Array = npt.NDArray[Any]
Row = dict[str, Any]
_FORMATS = {"rgb": "rgb24", "bgr": "bgr24", "gray": "gray"}


def manifest(name: str) -> ModelManifest:
    return ModelManifest.model_validate_json((ROOT / "models" / name / "model.json").read_bytes())


def _grid(spec: ModelManifest, rate: Fraction) -> Grid:
    own = rate if spec.rate == "native" else Fraction(spec.rate)
    return Grid(own, spec.window, spec.stride, spec.anchor)


class _Windows:
    """Windows of one model in one segment, from pictures that come in order."""

    def __init__(self, spec: ModelManifest, rate: Fraction, start: int, end: int | None) -> None:
        self.spec, self.grid = spec, _grid(spec, rate)
        self.first = self.grid.first_window_at(start / rate)
        self.end = None if end is None else self.grid.first_window_at(end / rate)
        self.step = rate / self.grid.rate
        self.sample = self.window = 0
        self.sample = self.first * spec.stride
        self.window = self.first
        self.images: dict[int, Array] = {}
        self.ready: list[Array] = []
        self.needed_from = int(self.sample * self.step)

    @property
    def done(self) -> bool:
        return self.end is not None and self.window >= self.end

    def push(self, number: int, frame: av.VideoFrame) -> Iterator[Row]:
        """`frame` is on screen from timeline frame `number` on."""
        spec, image = self.spec, None
        while not self.done and int(self.sample * self.step) <= number:
            if image is None:
                image = frame.reformat(
                    width=spec.input.width,
                    height=spec.input.height,
                    format=_FORMATS[str(spec.input.colour)],
                    interpolation="AREA",
                    threads=1,
                ).to_ndarray()
            self.images[self.sample] = image
            self.sample += 1
            start = self.window * spec.stride
            if self.sample == start + spec.window:
                self.ready.append(np.stack([self.images[k] for k in range(start, self.sample)]))
                self.window += 1
                for k in [k for k in self.images if k < self.window * spec.stride]:
                    del self.images[k]
                if len(self.ready) == spec.batch:
                    yield from self.flush()

    def flush(self) -> Iterator[Row]:
        if self.ready:
            batch, self.ready = np.stack(self.ready), []
            yield {"model": self.spec.name, "shape": list(batch.shape), "windows": batch.tobytes()}


def decode(segment: Row) -> Iterator[Row]:
    """Rows {model, shape, windows}: batches of what a segment of the picture, or the sound, holds."""
    specs = [manifest(name) for name in segment["models"]]
    if segment["sound"]:
        yield from _decode_sound(segment["video"], [spec for spec in specs if spec.kind == "audio"])
        return
    rate = Fraction(segment["rate"])
    end = None if segment["end"] < 0 else segment["end"]
    seen = [_Windows(s, rate, segment["start"], end) for s in specs if s.kind not in ("audio", "head")]
    needed = min(windows.needed_from for windows in seen)
    with av.open(segment["video"]) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        base, origin = Fraction(stream.time_base or 1), stream.start_time or 0
        if needed:
            container.seek(origin + int(needed / rate / base), stream=stream)
        for frame in container.decode(stream):
            number = round((int(frame.pts or 0) - origin) * base * rate)
            if number < needed:
                continue
            for windows in seen:
                yield from windows.push(number, frame)
            if all(windows.done for windows in seen):
                break
    for windows in seen:
        yield from windows.flush()


def _decode_sound(video: str, specs: Sequence[ModelManifest]) -> Iterator[Row]:
    for rate_hz in sorted({int(Fraction(spec.rate)) for spec in specs}):
        resampler = av.AudioResampler(format="flt", layout="mono", rate=rate_hz)
        with av.open(video) as container:
            stream = container.streams.audio[0]
            chunks = [
                chunk.to_ndarray().reshape(-1)
                for frame in container.decode(stream)
                for chunk in resampler.resample(frame)
            ]
        samples = np.concatenate(chunks)
        for spec in specs:
            if int(Fraction(spec.rate)) == rate_hz:
                starts = range(0, len(samples) - spec.window + 1, spec.stride)
                for k in range(0, len(starts), spec.batch):
                    batch = np.stack([samples[at : at + spec.window] for at in starts[k : k + spec.batch]])
                    yield {"model": spec.name, "shape": list(batch.shape), "windows": batch.tobytes()}


class Scorer:
    """An actor with every model loaded, one thread each."""

    def __init__(self, names: Sequence[str]) -> None:
        self._specs = {name: manifest(name) for name in names}
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._sessions = {
            name: ort.InferenceSession(str(ROOT / "models" / name / "model.onnx"), options) for name in names
        }
        self._heads: dict[str, list[str]] = defaultdict(list)
        for name, spec in self._specs.items():
            if spec.source:
                self._heads[spec.source].append(name)

    def __call__(self, rows: Mapping[str, Any]) -> dict[str, Any]:
        out: dict[str, list[Any]] = {"model": [], "scores": []}
        for name, shape, data in zip(rows["model"], rows["shape"], rows["windows"], strict=True):
            spec = self._specs[name]
            dtype = np.float32 if spec.kind == "audio" else np.uint8
            self._score(name, np.frombuffer(data, dtype).reshape([int(n) for n in shape]), out)
        return out

    def _score(self, name: str, windows: Array, out: dict[str, list[Any]]) -> None:
        spec, session = self._specs[name], self._sessions[name]
        fixed = session.get_inputs()[0].shape[0]
        tensor = self._tensor(spec, windows)
        if isinstance(fixed, int) and len(tensor) < fixed:
            filling = np.zeros((fixed - len(tensor), *tensor.shape[1:]), tensor.dtype)
            tensor = np.concatenate([tensor, filling])
        names = [spec.output.name, *([spec.embedding.name] if spec.embedding else [])]
        raw = [values[: len(windows)] for values in session.run(names, {spec.input.name: tensor})]
        out["model"].append(name)
        out["scores"].append(raw[0].astype(np.float32).tobytes())
        for head in self._heads[name]:
            self._score(head, raw[1], out)

    @staticmethod
    def _tensor(spec: ModelManifest, windows: Array) -> Array:
        if spec.kind in ("audio", "head"):
            return windows.astype(np.float32, copy=False)
        if windows.ndim == 4:
            windows = windows[..., None]
        if spec.input.dtype == "float32":
            mean, std = np.array(spec.input.mean, np.float32), np.array(spec.input.std, np.float32)
            windows = (windows.astype(np.float32) - mean) / std
        present = [axis for axis in "NTHWC" if axis in spec.input.layout]
        shape = [n for n, axis in zip(windows.shape, "NTHWC", strict=True) if axis in present]
        order = [present.index(axis) for axis in spec.input.layout]
        return np.ascontiguousarray(windows.reshape(shape).transpose(order))


def run(video: Path, workers: int, segment_s: int, names: Sequence[str]) -> dict[str, Any]:
    """{"windows": model -> scored}."""
    import ray

    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        rate = snap_rate(Fraction(stream.average_rate or 25))
        frames, hears = stream.frames, bool(container.streams.audio)
    length = round(segment_s * rate)
    starts = range(0, max(1, frames - length // 2), length)
    shared: Row = {"video": str(video.resolve()), "rate": str(rate), "models": list(names)}
    rows = [{**shared, "sound": True, "start": 0, "end": -1}] if hears else []
    for start in starts:
        end = -1 if start == starts[-1] else start + length
        rows.append({**shared, "sound": False, "start": start, "end": end})
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:
        ray.init(
            num_cpus=2 * workers,  # decoding tasks and actors take turns on as many cores as workers
            include_dashboard=False,
            object_store_memory=1 << 30,
            logging_level="ERROR",
            log_to_driver=False,
            _temp_dir=folder,
            runtime_env={"env_vars": {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}},
        )
        ray.data.DataContext.get_current().enable_progress_bars = False
        data = ray.data.from_items(rows, override_num_blocks=len(rows)).flat_map(
            decode, compute=ray.data.TaskPoolStrategy(size=workers)
        )
        scored = data.map_batches(
            Scorer,
            fn_constructor_args=(list(names),),
            batch_size=8,
            compute=ray.data.ActorPoolStrategy(size=workers),
        )
        windows: dict[str, int] = dict.fromkeys(names, 0)
        specs = {name: manifest(name) for name in names}
        for row in scored.iter_rows():
            windows[row["model"]] += len(row["scores"]) // (4 * len(specs[row["model"]].output.labels))
        ray.shutdown()
    return {"windows": windows}


def main(arguments: list[str]) -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    video, workers, segment_s, *names = arguments
    print(json.dumps(run(Path(video), int(workers), int(segment_s), names)))


if __name__ == "__main__":
    main(sys.argv[1:])
