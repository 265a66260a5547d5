"""Rewritten graphs compute the same, and have the structures that they are rewritten for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")

import onnx
from onnx import TensorProto, helper, numpy_helper

from sfm_ros.engines.factory import DEFAULT_MODEL, KITTI_MODEL, MODELS
from training.exporting.graphs import make_node, shape_of
from training.exporting.rewrites import rewritten
from training.exporting.storage import load_graph

H, W = 32, 64
RANDOM = np.random.default_rng(3)


def outputs(model: onnx.ModelProto, seed: int = 0) -> npt.NDArray:
    """The output of a graph for random pixels or features."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    shape = shape_of(model.graph.input[0])
    given = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    is_float = model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    seen = (given / 64 - 2).astype(np.float32) if is_float else given
    return session.run(None, {model.graph.input[0].name: seen})[0]


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def weights(*shape: int) -> npt.NDArray:
    return (RANDOM.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def graph(
    nodes: list[onnx.NodeProto], shape: list[int], output: list[int], **constants: npt.NDArray
) -> onnx.ModelProto:
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, output)],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def image_graph(head_padding: str = "zeros") -> onnx.ModelProto:
    """Transposed before it is converted, normalized in three steps, one channel at the end."""
    nodes = [
        make_node("Transpose", ["pixels"], "a", perm=[0, 3, 1, 2]),
        make_node("Cast", ["a"], "b", to=TensorProto.FLOAT),
        make_node("Mul", ["b", "to_one"], "c"),
        make_node("Mul", ["c", "twice"], "d"),
        make_node("Sub", ["d", "mean"], "e"),
        make_node("Conv", ["e", "w1", "b1"], "f", pads=[1, 1, 1, 1], strides=[1, 1]),
        make_node("Relu", ["f"], "g"),
        make_node("Conv", ["g", "w2", "b2"], "result", pads=[1, 1, 1, 1]),
    ]
    return graph(
        nodes, [1, H, W, 3], [1, 1, H, W], to_one=np.float32(1 / 255), twice=np.float32(2),
        mean=np.float32(0.9), w1=weights(8, 3, 3, 3), b1=weights(8), w2=weights(1, 8, 3, 3),
        b2=weights(1),
    )  # fmt: skip


def pair_graph(frames: int = 2) -> onnx.ModelProto:
    """Two frames, forward and backward, as images of a batch."""
    numbers = {"zero": np.array([0]), "one": np.array([1]), "two": np.array([2])}
    nodes = [
        make_node("Transpose", ["pixels"], "a", perm=[0, 1, 4, 2, 3]),
        make_node("Cast", ["a"], "b", to=TensorProto.FLOAT),
        make_node("Mul", ["b", "scale"], "c"),
        make_node("Slice", ["c", "zero", "one", "one"], "older"),
        make_node("Slice", ["c", "one", "two", "one"], "newer"),
        make_node("Concat", ["older", "newer"], "forward", axis=2),
        make_node("Concat", ["newer", "older"], "backward", axis=2),
        make_node("Concat", ["forward", "backward"], "both", axis=1),
        make_node("Reshape", ["both", "size"], "d"),
        make_node("Conv", ["d", "w1", "b1"], "e", pads=[3, 3, 3, 3], strides=[2, 2]),
        make_node("Relu", ["e"], "result"),
    ]
    return graph(
        nodes, [1, frames, H, W, 3], [2, 8, H // 2, W // 2], scale=np.float32(1 / 128),
        size=np.array([2, 6, H, W]), w1=weights(8, 6, 7, 7), b1=weights(8), **numbers,
    )  # fmt: skip


def test_pixels_are_converted_before_anything_else() -> None:
    model = image_graph()
    changed = rewritten(model)
    assert kinds(changed)[:4] == ["Cast", "Sub", "Transpose", "Conv"]
    np.testing.assert_allclose(outputs(changed), outputs(model), atol=2e-6)


def test_single_channel_is_summed_over_blocks_of_pixels() -> None:
    model = image_graph()
    convs = [node for node in rewritten(model).graph.node if node.op_type == "Conv"]
    groups = [{a.name: a.i for a in node.attribute}.get("group", 1) for node in convs]
    assert groups == [1, 8, 1]
    assert min(shape_of_weights(rewritten(model))) == 8  # none with a single channel


def shape_of_weights(model: onnx.ModelProto) -> list[int]:
    constants = {value.name: value.dims for value in model.graph.initializer}
    return [constants[n.input[1]][0] for n in model.graph.node if n.op_type == "Conv"]


def test_width_without_blocks_keeps_its_head() -> None:
    narrow = image_graph()
    narrow.graph.input[0].CopyFrom(
        helper.make_tensor_value_info("pixels", TensorProto.UINT8, [1, H, 40, 3])
    )
    narrow.graph.output[0].CopyFrom(
        helper.make_tensor_value_info("result", TensorProto.FLOAT, [1, 1, H, 40])
    )
    changed = rewritten(narrow)
    assert kinds(changed).count("Conv") == 2
    np.testing.assert_allclose(outputs(changed), outputs(narrow), atol=2e-6)


def test_pair_is_read_once_for_both_directions() -> None:
    model = pair_graph()
    changed = rewritten(model)
    assert Counter(kinds(changed)) == Counter(
        "Cast Sub Transpose Reshape Transpose Conv Relu Split Concat".split()
    )
    assert shape_of_weights(changed) == [16]
    np.testing.assert_allclose(outputs(changed), outputs(model), atol=2e-6)


def joined_graph(channels: int) -> onnx.ModelProto:
    """A convolution of twice the channels of another one."""
    nodes = [
        make_node("Transpose", ["pixels"], "a", perm=[0, 3, 1, 2]),
        make_node("Cast", ["a"], "b", to=TensorProto.FLOAT),
        make_node("Conv", ["b", "w1"], "c", pads=[1, 1, 1, 1]),
        make_node("Relu", ["c"], "d"),
        make_node("Concat", ["c", "d"], "e", axis=1),
        make_node("Conv", ["e", "w2"], "result", pads=[1, 1, 1, 1]),
    ]
    return graph(
        nodes, [1, H, W, 3], [1, 4, H, W], w1=weights(channels, 3, 3, 3) / 100,
        w2=weights(4, 2 * channels, 3, 3),
    )  # fmt: skip


@pytest.mark.parametrize(("channels", "expected"), [(13, 32), (16, 32), (8, 16), (4, 8)])
def test_channels_fill_vector_registers(channels: int, expected: int) -> None:
    model = joined_graph(channels)
    changed = rewritten(model)
    conv = [node for node in changed.graph.node if node.op_type == "Conv"][-1]
    (filled,) = (v for v in changed.graph.initializer if v.name == conv.input[1] == "w2")
    assert list(filled.dims) == [4, expected, 3, 3]
    np.testing.assert_allclose(outputs(changed), outputs(model), rtol=1e-4, atol=1e-5)


def test_rewriting_again_changes_nothing_more() -> None:
    for model in (image_graph(), pair_graph(), joined_graph(13)):
        once = rewritten(model)
        again = rewritten(once)
        assert kinds(again) == kinds(once)
        np.testing.assert_allclose(outputs(again), outputs(once), atol=2e-6)


def test_input_that_is_not_understood_is_only_converted_first() -> None:
    """Of three frames only two are looked at, so the planes do not enter a single convolution."""
    model = pair_graph(frames=3)
    changed = rewritten(model)
    assert kinds(changed)[:2] == ["Cast", "Transpose"]
    assert kinds(changed)[2:] == kinds(model)[2:]
    np.testing.assert_array_equal(outputs(changed), outputs(model))


@pytest.mark.parametrize("name", [DEFAULT_MODEL, KITTI_MODEL])
@pytest.mark.parametrize("part", ["depth", "pose"])
def test_shipped_graphs_are_rewritten(name: str, part: str) -> None:
    model = load_graph(MODELS / name / f"{part}.onnx")
    changed = rewritten(model)
    if model.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8:  # not of features
        assert kinds(changed)[:2] == ["Cast", "Sub"]
    assert kinds(changed) == kinds(model), "the shipped graph is not the rewritten one"
    expected = outputs(model)
    np.testing.assert_allclose(outputs(changed), expected, rtol=1e-5, atol=1e-6)


def test_model_that_was_given_is_not_changed(tmp_path: Path) -> None:
    model = image_graph()
    before = model.SerializeToString()
    rewritten(model)
    assert model.SerializeToString() == before
