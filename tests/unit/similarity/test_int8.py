"""Models in 8 bits: near what they were in float32, or refused. How fast they are depends on the machine:
here, the tests say it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from hayloft.errors import InvalidRequest
from hayloft.similarity.embedders import int8
from hayloft.similarity.embedders.int8 import Comparison, shrink
from hayloft.similarity.embedders.library import ModelLibrary
from hayloft.similarity.embedders.onnx import OnnxEmbedder
from similarity_samples import jpeg

SIDE = 16
PHOTOS = 40


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Soft blobs of colour, in folders, and files that are no photos."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(1)
    (folder / "some").mkdir()
    for i in range(PHOTOS):
        coarse = rng.integers(0, 256, (4, 4, 3)).repeat(16, axis=0).repeat(16, axis=1)
        noisy = np.clip(coarse + rng.normal(0, 12, coarse.shape), 0, 255).astype(np.uint8)
        (folder / ("some" if i % 2 else ".") / f"{i}.jpg").write_bytes(jpeg(noisy))
    (folder / "notes.txt").write_text("no photo")
    return folder


@pytest.fixture
def faster(monkeypatch: pytest.MonkeyPatch) -> None:
    _timed(monkeypatch, before=9.0, after=4.0)


def _timed(monkeypatch: pytest.MonkeyPatch, *, before: float, after: float) -> None:
    taken = iter([before, after])
    monkeypatch.setattr(int8, "timed_ms", lambda *_: next(taken))


class Network:
    """A network with random weights, node by node."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(2)
        self._nodes: list[Any] = []
        self._weights: list[Any] = []

    def add(self, kind: str, *inputs: str, out: str, **attributes: Any) -> None:
        self._nodes.append(helper.make_node(kind, list(inputs), [out], **attributes))

    def weights(self, name: str, *sides: int) -> str:
        values: NDArray[Any] = self._rng.normal(size=sides) / np.sqrt(np.prod(sides) / max(sides))
        self._weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def save(self, path: Path, length: int) -> Path:
        pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])
        vector = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["n", length])
        graph = helper.make_graph(self._nodes, "random", [pixels], [vector], self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, path)
        path.with_suffix(".json").write_text(json.dumps({"name": "tried", "side": SIDE}))
        return path


def convolutional(path: Path) -> Path:
    network = Network()
    network.add("Conv", "pixels", network.weights("w1", 32, 3, 3, 3), out="a", strides=[2, 2])
    network.add("Relu", "a", out="b")
    network.add("Conv", "b", network.weights("w2", 96, 32, 3, 3), out="c")
    network.add("Relu", "c", out="d")
    network.add("GlobalAveragePool", "d", out="e")
    network.add("Flatten", "e", out="vector")
    return network.save(path, 96)


def of_matrices(path: Path) -> Path:
    network = Network()
    network.add("Flatten", "pixels", out="a")
    network.add("MatMul", "a", network.weights("w1", 3 * SIDE * SIDE, 64), out="b")
    network.add("Relu", "b", out="c")
    network.add("MatMul", "c", network.weights("w2", 64, 48), out="vector")
    return network.save(path, 48)


@pytest.mark.usefixtures("faster")
@pytest.mark.parametrize(
    ("make", "operator"), [(convolutional, "QuantizeLinear"), (of_matrices, "MatMulInteger")]
)
def test_it_is_smaller_computes_the_same_and_has_another_name(
    make: Callable[[Path], Path], operator: str, photos: Path, tmp_path: Path
) -> None:
    path = make(tmp_path / "net.onnx")
    before = OnnxEmbedder(path)
    told = shrink(path, photos)
    assert told.photos == PHOTOS // 2
    assert told.bytes_after == path.stat().st_size < 0.5 * told.bytes_before
    after = OnnxEmbedder(path)
    assert (before.name.split("/")[1], after.name.split("/")[1]) == ("tried", "tried-int8")
    view = np.random.default_rng(5).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8).tobytes()
    assert 0.98 < float((before.embed_now([view, view]) @ after.embed_now([view]).T).min()) < 1
    assert operator in {node.op_type for node in onnx.load(path).graph.node}
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["net.json", "net.onnx"]


def test_a_model_that_is_no_faster_stays_as_it_is(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = convolutional(tmp_path / "net.onnx")
    before = path.read_bytes()
    _timed(monkeypatch, before=4.0, after=4.5)
    with pytest.raises(InvalidRequest, match="no faster on this processor"):
        shrink(path, photos)
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["net.json", "net.onnx"]


@pytest.mark.usefixtures("faster")
def test_a_model_that_8_bits_change_is_refused(photos: Path, tmp_path: Path) -> None:
    """One input of the last layer is a thousand times the others: their differences go under."""
    network = Network()
    network.add("Flatten", "pixels", out="a")
    network.add("MatMul", "a", network.weights("w1", 3 * SIDE * SIDE, 64), out="b")
    scales = numpy_helper.from_array(np.geomspace(1, 1e4, 64, dtype=np.float32), "scales")
    network._weights.append(scales)
    network.add("Mul", "b", "scales", out="c")
    network._weights.append(numpy_helper.from_array(np.diag(1 / numpy_helper.to_array(scales)), "w2"))
    network.add("MatMul", "c", "w2", out="vector")
    path = network.save(tmp_path / "net.onnx", 64)
    with pytest.raises(InvalidRequest, match="computes something else"):
        shrink(path, photos)


def test_too_few_photos_are_refused(tmp_path: Path, photos: Path) -> None:
    path = convolutional(tmp_path / "net.onnx")
    with pytest.raises(InvalidRequest, match="holds 20 photos"):
        shrink(path, photos / "some")


@pytest.mark.parametrize(
    ("mean", "low", "after", "passes"),
    [
        (0.99, 0.97, 5.0, True),
        (0.98, 0.97, 5.0, False),
        (0.99, 0.95, 5.0, False),
        (float("nan"), float("nan"), 5.0, False),
        (0.99, 0.97, 10.0, False),
    ],
)
def test_what_is_accepted(mean: float, low: float, after: float, passes: bool) -> None:
    found = Comparison(
        photos=9,
        cosine_mean=mean,
        cosine_low=low,
        ms_before=10.0,
        ms_after=after,
        bytes_before=4,
        bytes_after=1,
    )
    if passes:
        found.accept()
    else:
        with pytest.raises(InvalidRequest):
            found.accept()


@pytest.mark.usefixtures("faster")
def test_one_is_added_by_the_command_line_under_a_name_of_its_own(
    hayloft: Callable[..., str], photos: Path, tmp_path: Path
) -> None:
    path, data = convolutional(tmp_path / "net.onnx"), tmp_path / "data"
    data.mkdir()
    (data / "format.json").write_text("{}")
    told = hayloft("models", "add", path, "--int8", photos, "--data", data)
    assert "4.0 ms a photo instead of 9.0" in told
    hayloft("models", "add", path, "--data", data)
    names = [model.name for model in ModelLibrary(data / "models").models()]
    assert names == ["net", "net-int8"]
    hayloft("models", "add", path, "--name", "few", "--int8", photos / "some", "--data", data, code=None)
    assert len(ModelLibrary(data / "models").models()) == 2


@pytest.fixture
def hayloft(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    from hayloft.cli.application import run

    def call(*arguments: object, code: int | None = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            run([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert code is None or ended.value.code == code, printed
        return " ".join((printed.out + printed.err).split())

    return call
