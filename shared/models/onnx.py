"""The engine onnxruntime: model.onnx and its manifest -> a model that scores windows.

Nothing here knows a model by name. `load` picks the engine that a manifest names.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from shared.contracts import ModelManifest
from shared.errors import ModelRefused
from shared.models.manifest import channels_of
from shared.models.model import Windows, grid_of, join_scored
from shared.models.tracks import Grid, Scored, Scores

_ORT_TYPES = {"float32": "tensor(float)", "uint8": "tensor(uint8)"}


class OnnxModel:
    """An ONNX graph on the CPU in fp32, with the pre-processing that its manifest asks for.

    A graph must treat the rows of a batch independently. Then a window's scores do not depend on the
    windows scored beside it: every run has the shape of a full batch, and window j always lies in row
    j % batch. Kernels may sum in another order for another shape or row, but never for the same ones.
    """

    def __init__(self, manifest: ModelManifest, graph: bytes, threads: int = 1) -> None:
        """Raises ModelRefused where the graph does not load or contradicts the manifest."""
        self.manifest = manifest
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        options.use_deterministic_compute = True
        options.log_severity_level = 4
        try:
            # From memory: what was hashed is what runs, and no external data file can be named.
            self._session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as bad:  # onnxruntime has a class of its own for each kind of failure
            raise self._refused(f"model.onnx does not load: {_one_line(bad)}") from bad
        self._check_signature()

    def grid(self, rate: Fraction) -> Grid:
        return grid_of(self.manifest, rate)

    def score(self, windows: Windows, first: int = 0) -> Scores:
        """The scores that `see` gives, without the embeddings: float32 (n, n_classes)."""
        return self.see(windows, first).scores

    def see(self, windows: Windows, first: int = 0) -> Scored:
        """Scores and embeddings of consecutive windows.

        `windows`: uint8 (n, window, height, width, channels), or without the last axis for gray;
        float32 (n, window) for audio, (n, size) for a head. `first`: the first window's number on the
        global grid. Raises ModelRefused where a score or an embedding is NaN or infinite.
        """
        batch, done = self.manifest.batch, 0
        parts: list[Scored] = []
        while done < len(windows):
            row = (first + done) % batch
            count = min(batch - row, len(windows) - done)
            rows = np.zeros((batch, *windows.shape[1:]), windows.dtype)
            rows[row : row + count] = windows[done : done + count]
            scores, embedding = self.outputs(self._tensor(rows))
            parts.append(
                Scored(scores[row : row + count], None if embedding is None else embedding[row : row + count])
            )
            done += count
        scored = join_scored(parts, self.manifest)
        for what, values in (("score", scored.scores), ("embedding", scored.embedding)):
            if values is not None and not np.isfinite(values).all():
                bad = first + int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
                raise self._refused(f"the {what} of window {bad} is NaN or infinite")
        return scored

    def check_golden(self, folder: Path) -> None:
        """Run the golden sample: its `input`, one batch as the graph takes it, must give its scores
        `expected`, and its `embedding` where it has one, within the manifest's tolerance.
        Raises ModelRefused."""
        golden = self.manifest.golden
        path = (folder / golden.file).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise self._refused("the golden sample must lie in the model's folder")
        try:
            with np.load(path, allow_pickle=False) as archive:
                sample, golden_outputs = archive["input"], [archive["expected"]]
                if self.manifest.embedding and "embedding" in archive:
                    golden_outputs.append(archive["embedding"])
        except (OSError, KeyError, ValueError) as bad:
            raise self._refused(f"the golden sample cannot be read: {_one_line(bad)}") from bad
        for actual, expected in zip(self.outputs(sample), golden_outputs, strict=False):
            assert actual is not None  # the sample's embedding is compared only where the model has one
            if expected.shape != actual.shape:
                raise self._refused(f"the golden sample gives {actual.shape}, expected {expected.shape}")
            difference = float(np.abs(actual.astype(np.float32) - expected).max())
            if not difference <= golden.tolerance:  # NaN fails too
                raise self._refused(
                    f"the golden sample is off by {difference:g}, more than {golden.tolerance:g}"
                )

    def run(self, tensor: npt.NDArray[Any]) -> Scores:
        """The scores of `outputs`, without the embedding."""
        return self.outputs(tensor).scores

    def outputs(self, tensor: npt.NDArray[Any]) -> Scored:
        """Scores and embeddings of one batch, given in the graph's own layout. Raises ModelRefused."""
        spec, embedding = self.manifest.output, self.manifest.embedding
        outputs = [(spec.name, len(spec.labels))]
        if embedding:
            outputs.append((embedding.name, embedding.size))
        try:
            raw = self._session.run([name for name, _ in outputs], {self.manifest.input.name: tensor})
        except Exception as bad:  # see __init__
            raise self._refused(f"the graph does not run: {_one_line(bad)}") from bad
        for found, (name, size) in zip(raw, outputs, strict=True):
            if found.shape != (len(tensor), size):
                raise self._refused(f"{name} of the graph is {found.shape} for {len(tensor)} windows")
        with np.errstate(
            over="ignore"
        ):  # a value too large for float16 becomes infinite, which `see` refuses
            values = raw[1].astype(np.float16) if embedding else None
        return Scored(_activate(raw[0], spec.activation), values)

    def _tensor(self, windows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A full batch of windows in the graph's layout: normalised, axes in the manifest's order."""
        spec = self.manifest.input
        if self.manifest.kind in ("audio", "head"):
            return windows.astype(np.float32, copy=False)
        pictures = windows if windows.ndim == 5 else windows[..., None]
        if spec.dtype == "float32":
            mean, std = np.array(spec.mean, np.float32), np.array(spec.std, np.float32)
            pictures = (pictures.astype(np.float32) - mean) / std
        present = [axis for axis in "NTHWC" if axis in spec.layout]
        pictures = pictures.reshape(
            [n for n, axis in zip(pictures.shape, "NTHWC", strict=True) if axis in present]
        )
        return np.ascontiguousarray(pictures.transpose([present.index(axis) for axis in spec.layout]))

    def _check_signature(self) -> None:
        spec, output = self.manifest.input, self.manifest.output
        sizes = {"N": self.manifest.batch, "T": self.manifest.window, "S": self.manifest.window}
        sizes |= {"H": spec.height or 0, "W": spec.width or 0, "C": channels_of(self.manifest)}
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if [node.name for node in inputs] != [spec.name]:
            raise self._refused(
                f"the graph's inputs are {[node.name for node in inputs]}, not [{spec.name!r}]"
            )
        if inputs[0].type != _ORT_TYPES[spec.dtype]:
            raise self._refused(f"the graph's input is {inputs[0].type}, not {spec.dtype}")
        if not _fits(inputs[0].shape, [sizes.get(axis) for axis in spec.layout]):
            raise self._refused(
                f"the graph's input is {inputs[0].shape}, which is not {spec.layout} of the manifest"
            )
        by_name = {node.name: node for node in outputs}
        declared = [(output.name, len(output.labels), "labels")]
        if self.manifest.embedding:
            declared.append((self.manifest.embedding.name, self.manifest.embedding.size, "numbers"))
        for name, size, what in declared:
            if name not in by_name:
                raise self._refused(f"the graph's outputs are {sorted(by_name)}, without {name!r}")
            if by_name[name].type != _ORT_TYPES["float32"]:
                raise self._refused(f"the graph's output is {by_name[name].type}, not float32")
            if not _fits(by_name[name].shape, [self.manifest.batch, size]):
                raise self._refused(
                    f"the graph's output is {by_name[name].shape}, not (windows, {size} {what})"
                )

    def _refused(self, what: str) -> ModelRefused:
        return ModelRefused(f"model {self.manifest.name}: {what}")


def _fits(shape: list[Any], declared: Sequence[int | None]) -> bool:
    """Whether a graph's shape matches the manifest's. A dimension that the graph (a name or None) or the
    manifest (None) leaves open takes any size."""
    return len(shape) == len(declared) and all(
        not isinstance(size, int) or expected is None or size == expected
        for size, expected in zip(shape, declared, strict=True)
    )


def _activate(raw: Scores, activation: str) -> Scores:
    """Activate each row of float32 (n, n_classes); softmax subtracts the row's maximum against overflow."""
    if activation == "sigmoid":
        return np.asarray(0.5 * (1 + np.tanh(0.5 * raw)), np.float32)
    if activation == "softmax":
        powers = np.exp(raw - raw.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
    return raw


def _one_line(bad: BaseException) -> str:
    return " ".join(str(bad).split())[:300]
