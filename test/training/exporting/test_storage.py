"""Weights stored as FP16: half the size, FP32 in every engine, and back."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed (requirements/train.txt)")

import onnx
from onnx import TensorProto, numpy_helper

from sfm_ros.config import ModelConfig
from sfm_ros.engines.factory import KITTI_MODEL, MODELS, create_engine
from sfm_ros.engines.parity_frames import parity_windows
from sfm_ros.errors import ModelError
from sfm_ros.model_spec import ModelSpec
from training import add_variants
from training.exporting.graphs import make_node
from training.exporting.storage import load_graph, narrowed, widened
from training.exporting.variants import store_in_half


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of real networks whose weights are FP32."""
    folder = tmp_path_factory.mktemp("wide") / "bundle"
    shutil.copytree(MODELS / KITTI_MODEL, folder)
    spec = ModelSpec.load(folder)
    for file in (spec.depth_file, spec.pose_file):
        model = load_graph(folder / file)
        for value in model.graph.initializer:  # what ships may have been rounded already
            if len(value.dims) == 4:
                exact = numpy_helper.to_array(value) * np.float32(1.0003)
                value.CopyFrom(numpy_helper.from_array(exact, value.name))
        onnx.save(model, folder / file)
    spec.save(folder)
    return folder


@pytest.fixture(scope="module")
def stored(shipped: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with weights as FP16."""
    folder = tmp_path_factory.mktemp("stored") / "bundle"
    folder.mkdir()
    for path in shipped.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    spec = ModelSpec.load(folder)
    store_in_half(folder, spec)
    spec.save(folder)
    return folder


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {v.name: numpy_helper.to_array(v) for v in model.graph.initializer}


def test_files_have_half_the_size(stored: Path, shipped: Path) -> None:
    # Of the motion, half of the file is not weights.
    for name, most in (("depth.onnx", 0.65), ("pose.onnx", 0.75)):
        ratio = (stored / name).stat().st_size / (shipped / name).stat().st_size
        assert 0.5 < ratio < most


def test_only_large_weights_are_rounded(stored: Path, shipped: Path) -> None:
    before = constants(onnx.load(shipped / "depth.onnx"))
    after = constants(load_graph(stored / "depth.onnx"))
    assert after.keys() == before.keys()
    rounded = {name for name, value in before.items() if not np.array_equal(value, after[name])}
    assert rounded and all(before[name].size >= 256 for name in rounded)
    for name in rounded:
        np.testing.assert_allclose(after[name], before[name], rtol=2**-11, atol=2**-25)


def test_widened_graph_has_no_trace_of_it(stored: Path) -> None:
    graph = load_graph(stored / "depth.onnx")
    assert not any(v.data_type == TensorProto.FLOAT16 for v in graph.graph.initializer)
    again = widened(narrowed(graph))
    assert [n.SerializeToString() for n in again.graph.node] == [
        n.SerializeToString() for n in graph.graph.node
    ]


def test_the_given_graph_stays(stored: Path) -> None:
    graph = onnx.load(stored / "depth.onnx")
    before = graph.SerializeToString()
    narrowed(widened(graph))
    assert graph.SerializeToString() == before


def test_a_weight_that_is_converted_twice_is_widened_twice() -> None:
    weight = numpy_helper.from_array(np.arange(4, dtype=np.float16), "w")
    nodes = [
        *(make_node("Cast", ["w"], name, to=TensorProto.FLOAT) for name in ("a", "b")),
        make_node("Add", ["x", "a"], "y"),
        make_node("Mul", ["y", "b"], "z"),
    ]
    ends = [onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xz"]
    graph = onnx.helper.make_graph(nodes, "two", ends[:1], ends[1:], [weight])
    opset = [onnx.helper.make_opsetid("", 18)]
    found = widened(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10))
    assert [node.op_type for node in found.graph.node] == ["Add", "Mul"]
    values = constants(found)
    assert values.keys() == {"a", "b"}
    assert all(v.dtype == np.float32 and v.tolist() == [0, 1, 2, 3] for v in values.values())


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_engines_compute_the_same(stored: Path, shipped: Path, name: str) -> None:
    if name == "openvino":
        pytest.importorskip("openvino")
    engines = [
        create_engine(ModelConfig(bundle=str(path), engine=name, precision="fp32"))
        for path in (shipped, stored)
    ]
    window = parity_windows(engines[0].spec)[0]
    before, after = (engine.infer(window) for engine in engines)
    np.testing.assert_allclose(after.depth, before.depth, rtol=0.03)
    assert np.median(np.abs(after.depth / before.depth - 1)) < 0.003
    np.testing.assert_allclose(after.increments, before.increments, atol=1e-3)


def test_variants_are_made_from_stored_weights(stored: Path, tmp_path: Path) -> None:
    out = tmp_path / "more"
    command = ["--model", str(stored), "--out", str(out), "--variants", "fp16", "--no-measure"]
    assert add_variants.main(command) == 0
    assert ModelSpec.load(out).variants["fp16"].depth_file == "depth.fp16.onnx"
    assert (out / "depth.onnx").stat().st_size < 1.1 * (stored / "depth.onnx").stat().st_size


def test_too_large_weight_is_refused(shipped: Path) -> None:
    model = onnx.load(shipped / "depth.onnx")
    name, value = max(constants(model).items(), key=lambda item: item[1].size)
    large = np.array(value, dtype=np.float32)
    large.flat[0] = 1e6
    next(v for v in model.graph.initializer if v.name == name).CopyFrom(
        numpy_helper.from_array(large, name)
    )
    with pytest.raises(ModelError, match="too large for FP16"):
        narrowed(model)
