"""What stays in FP32 where a graph is computed in INT8."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime.quantization", reason="the quantizer is not installed")

import onnx
from onnx import TensorProto, helper, numpy_helper

from training.exporting.graphs import make_node
from training.exporting.quantize import STYLES, quantized

H, W = 32, 64
SAME = {"pads": [1, 1, 1, 1]}


def skipping_graph(head: int) -> onnx.ModelProto:
    """Halved three times, enlarged once and merged with what was before, as in a depth network.

    What the motion is found by is computed beside it. ``head`` is the kernel of the last layer.
    """
    random = np.random.default_rng(1)
    shapes = {
        "stem": (8, 3, 3, 3), "wide": (16, 8, 1, 1), "within": (16, 16, 1, 1),
        "down": (16, 1, 3, 3), "deep": (8, 16, 1, 1), "merge": (24, 1, 3, 3),
        "level": (16, 24, 1, 1), "reduce": (8, 16, 1, 1),
        "head": (1, 8, head, head), "embed": (4, 8, 3, 3),
    }  # fmt: skip
    nodes = [
        make_node("Cast", ["rgb"], "x", to=TensorProto.FLOAT),
        make_node("Transpose", ["x"], "pixels", perm=[0, 3, 1, 2]),
        make_node("Conv", ["pixels", "stem"], "a", strides=[2, 2], **SAME),
        make_node("Relu", ["a"], "a1"),
        make_node("Conv", ["a1", "wide"], "b"),
        make_node("Relu", ["b"], "b1"),
        make_node("MaxPool", ["b1"], "p", kernel_shape=[2, 2], strides=[2, 2]),
        make_node("Conv", ["p", "within"], "q"),
        make_node("Relu", ["q"], "q1"),
        make_node("Conv", ["q1", "down"], "c", strides=[2, 2], group=16, **SAME),
        make_node("Relu", ["c"], "c1"),
        make_node("Conv", ["c1", "deep"], "d"),
        make_node("Relu", ["d"], "d1"),
        make_node("Conv", ["d1", "embed"], "j", **SAME),
        make_node("Relu", ["j"], "features"),
        make_node("Resize", ["d1", "", "twice"], "e", mode="nearest"),
        make_node("Concat", ["e", "q1"], "f", axis=1),
        make_node("Pad", ["f", "border"], "g", mode="reflect"),
        make_node("Conv", ["g", "merge"], "h", group=24),
        make_node("Conv", ["h", "level"], "l"),
        make_node("Relu", ["l"], "l1"),
        make_node("Conv", ["l1", "reduce"], "i"),
        make_node("Relu", ["i"], "i1"),
        make_node("Conv", ["i1", "head"], "k", **(SAME if head == 3 else {})),
        make_node("Sigmoid", ["k"], "depth"),
    ]
    constants = {
        name: (random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        for name, shape in shapes.items()
    }
    constants["stem"] /= 100
    constants["twice"] = np.array([1, 1, 2, 2], np.float32)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("rgb", TensorProto.UINT8, [1, H, W, 3])],
        [
            helper.make_tensor_value_info("depth", TensorProto.FLOAT, [1, 1, H // 4, W // 4]),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, 4, H // 8, W // 8]),
        ],
        [
            *(numpy_helper.from_array(value, name) for name, value in constants.items()),
            numpy_helper.from_array(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64), "border"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def layers_in_int8(model: onnx.ModelProto) -> list[bool]:
    """Which of the convolutions have quantized weights."""
    made_by = {name: node.op_type for node in model.graph.node for name in node.output}
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    return [made_by.get(node.input[1]) == "DequantizeLinear" for node in convs]


@pytest.mark.parametrize("head", [3, 1])
@pytest.mark.parametrize("style", sorted(STYLES))
def test_first_layers_what_merges_levels_and_the_end_stay_in_fp32(style: str, head: int) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, 1, H, W, 3), dtype=np.uint8)
    model = quantized(skipping_graph(head), frames, STYLES[style])
    in_int8 = layers_in_int8(model)
    # stem, wide, within; down, deep; embed; merge
    assert in_int8[:7] == [False, False, False, True, True, False, False]
    # level, reduce, which a 1x1 head does not average; head
    assert in_int8[7:] == [head == 3, head == 3, False]


def test_without_an_enlargement_what_a_1x1_head_reads_stays_in_fp32() -> None:
    """Before the disparity, that is; here it is enlarged itself."""
    random = np.random.default_rng(1)
    nodes = [
        make_node("Cast", ["rgb"], "x", to=TensorProto.FLOAT),
        make_node("Transpose", ["x"], "pixels", perm=[0, 3, 1, 2]),
        make_node("Conv", ["pixels", "stem"], "a"),
        make_node("Relu", ["a"], "a1"),
        make_node("Conv", ["a1", "first"], "b", **SAME),
        make_node("Relu", ["b"], "b1"),
        make_node("Conv", ["b1", "second"], "c", **SAME),
        make_node("Relu", ["c"], "c1"),
        make_node("Conv", ["c1", "head"], "d"),
        make_node("Sigmoid", ["d"], "disparity"),
        make_node("Resize", ["disparity", "", "twice"], "depth", mode="nearest"),
    ]
    shapes = {"stem": (8, 3, 1, 1), "first": (8, 8, 3, 3), "second": (8, 8, 3, 3)}
    constants = {
        name: random.standard_normal(shape).astype(np.float32) / 50
        for name, shape in {**shapes, "head": (1, 8, 1, 1)}.items()
    }
    constants["twice"] = np.array([1, 1, 2, 2], np.float32)
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("rgb", TensorProto.UINT8, [1, H, W, 3])],
        [helper.make_tensor_value_info("depth", TensorProto.FLOAT, [1, 1, 2 * H, 2 * W])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    graph = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    frames = random.integers(0, 256, (4, 1, H, W, 3), dtype=np.uint8)
    assert layers_in_int8(quantized(graph, frames, STYLES["int8_cpu"])) == [
        False, True, False, False,
    ]  # fmt: skip
