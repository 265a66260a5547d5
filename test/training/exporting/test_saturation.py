"""INT8 weights whose products a CPU without VNNI can add."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime.quantization", reason="the quantizer is not installed")

import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from training.exporting.graphs import make_node
from training.exporting.quantize import STYLES, quantized

H, W, OUTPUTS = 16, 32, 4
GENERATOR = np.random.default_rng(2)
LAYERS = {
    "even": (32, 1),
    "odd": (33, 1),
    "three to a group": (12, 4),
    "two of each": (2, 2),
    "depthwise": (4, 4),
}
"""Input channels of a convolution with four outputs, and its groups."""


def alike(*shape: int) -> np.ndarray:
    """Weights that are all about one, so that what they are multiplied by is about the same."""
    return GENERATOR.uniform(0.9, 1.0, shape)


def weight_of(layer: str) -> np.ndarray:
    """Sums of two products exceed 16 bits by far; the second channel has signs that differ."""
    inputs, group = LAYERS[layer]
    weight = alike(OUTPUTS, inputs // group, 3, 3) / 100
    weight[1] *= np.resize([1, -1], inputs // group)[:, None, None]
    weight[2] = 0
    return weight


def graph(weight: np.ndarray, group: int) -> onnx.ModelProto:
    """A convolution of what is nowhere dark, and each of its outputs in places of its own."""
    channels = weight.shape[1] * group
    same = {"pads": [1, 1, 1, 1]}
    nodes = [
        make_node("Cast", ["rgb"], "x", to=TensorProto.FLOAT),
        make_node("Transpose", ["x"], "pixels", perm=[0, 3, 1, 2]),
        make_node("Conv", ["pixels", "stem"], "a"),
        make_node("Relu", ["a"], "a1"),
        make_node("Conv", ["a1", "weight", "bias"], "b", group=group, **same),
        make_node("Relu", ["b"], "b1"),
        make_node("Reshape", ["b1", "rows"], "depth"),
    ]
    stem = alike(channels, 3, 1, 1) / 765
    constants = {"stem": stem.astype(np.float32), "weight": weight.astype(np.float32)}
    constants["bias"] = np.full(OUTPUTS, 0.5, np.float32)
    constants["rows"] = np.array([1, 1, OUTPUTS * H, W], np.int64)
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("rgb", TensorProto.UINT8, [1, H, W, 3])],
        [helper.make_tensor_value_info("depth", TensorProto.FLOAT, [1, 1, OUTPUTS * H, W])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


FRAMES = np.random.default_rng(0).integers(0, 256, (4, 1, H, W, 3), dtype=np.uint8)


def quantized_layer(layer: str, style: str) -> tuple[onnx.ModelProto, np.ndarray, np.ndarray]:
    """The graph, and the quantized weights and the steps of its convolution."""
    model = quantized(graph(weight_of(layer), LAYERS[layer][1]), FRAMES, STYLES[style])
    constants = {value.name: numpy_helper.to_array(value) for value in model.graph.initializer}
    made_by = {name: node for node in model.graph.node for name in node.output}
    conv = [node for node in model.graph.node if node.op_type == "Conv"][-1]
    source = made_by[conv.input[1]]
    assert source.op_type == "DequantizeLinear"
    return model, constants[source.input[0]].astype(np.int32), constants[source.input[1]]


def pair_sums(rows: np.ndarray) -> np.ndarray:
    """What 255 times each of two neighbors adds up to at most, and at least."""
    pairs = rows[..., : rows.shape[-1] // 2 * 2].reshape(-1, 2)
    largest = np.maximum(pairs, 0).sum(axis=1).max(initial=0)
    return 255 * np.stack([largest, np.minimum(pairs, 0).sum(axis=1).min(initial=0)])


@pytest.mark.parametrize("layer", LAYERS)
def test_two_products_are_never_more_than_16_bits_hold(layer: str) -> None:
    _, weights, steps = quantized_layer(layer, "int8_cpu")
    largest = np.abs(weights).reshape(OUTPUTS, -1).max(axis=1)
    assert np.isfinite(steps).all() and (steps > 0).all() and largest[2] == 0
    if layer == "depthwise":  # adds in 32 bits
        assert largest[[0, 1, 3]].tolist() == [127, 127, 127]
        return
    by_pixel = np.moveaxis(weights, 1, -1).reshape(OUTPUTS, 9, -1)
    for rows in (by_pixel, by_pixel.reshape(OUTPUTS, -1)):
        most, least = pair_sums(rows)
        assert most <= 32767 and least >= -32768
    in_a_row = by_pixel.reshape(OUTPUTS, -1)
    assert max(np.abs(pair_sums(in_a_row[[0]]))) > 0.95 * 32767  # no coarser than that needs
    assert (largest[1] == 127) == (layer == "even")  # else pixels of the kernel meet


def test_gpus_which_never_saturate_have_the_whole_range() -> None:
    _, weights, steps = quantized_layer("even", "int8")
    assert np.abs(weights).reshape(OUTPUTS, -1).max(axis=1).tolist() == [127, 127, 0, 127]
    largest = np.abs(weight_of("even")).max()
    assert steps[0] == pytest.approx(largest / 127, rel=0.1)


@pytest.mark.parametrize("layer", LAYERS)
def test_this_processor_computes_what_floats_do(layer: str) -> None:
    """One with VNNI does so with any weights."""
    model, _, _ = quantized_layer(layer, "int8_cpu")

    def outputs(in_floats: bool) -> np.ndarray:
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.disable_quant_qdq", str(int(in_floats)))
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return np.concatenate([session.run(None, {"rgb": frame})[0] for frame in FRAMES])

    exact = outputs(in_floats=True)
    assert exact.std() > 0
    np.testing.assert_allclose(outputs(in_floats=False), exact, atol=0.02 * np.abs(exact).max())
