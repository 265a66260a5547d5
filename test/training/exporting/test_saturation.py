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

H, W, CHANNELS = 16, 32, 33
GENERATOR = np.random.default_rng(2)


def alike(*shape: int) -> np.ndarray:
    """Weights that are all about one, so that what they are multiplied by is about the same."""
    return GENERATOR.uniform(0.9, 1.0, shape)


WEIGHTS = {
    "stem": alike(CHANNELS, 3, 1, 1) / 765,
    "each": alike(CHANNELS, 1, 3, 3) / 9,
    "dense": alike(8, CHANNELS, 3, 3) / 100,  # sums of two products exceed 16 bits by far
    "head": GENERATOR.standard_normal((1, 8, 3, 3)) / 2,
}
WEIGHTS["dense"][0, 2:] = 0  # one pair alone
WEIGHTS["dense"][1] *= np.resize([1, -1], CHANNELS)[:, None, None]  # signs that differ
WEIGHTS["dense"][2] = 0


def graph() -> onnx.ModelProto:
    """Convolutions of what is nowhere dark."""
    same = {"pads": [1, 1, 1, 1]}
    nodes = [
        make_node("Cast", ["rgb"], "x", to=TensorProto.FLOAT),
        make_node("Transpose", ["x"], "pixels", perm=[0, 3, 1, 2]),
        make_node("Conv", ["pixels", "stem"], "a"),
        make_node("Relu", ["a"], "a1"),
        make_node("Conv", ["a1", "each"], "b", group=CHANNELS, **same),
        make_node("Relu", ["b"], "b1"),
        make_node("Conv", ["b1", "dense"], "c", **same),
        make_node("Relu", ["c"], "c1"),
        make_node("Conv", ["c1", "head"], "d", **same),
        make_node("Sigmoid", ["d"], "depth"),
    ]
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("rgb", TensorProto.UINT8, [1, H, W, 3])],
        [helper.make_tensor_value_info("depth", TensorProto.FLOAT, [1, 1, H, W])],
        [
            numpy_helper.from_array(value.astype(np.float32), name)
            for name, value in WEIGHTS.items()
        ],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (4, 1, H, W, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def for_cpus(frames: np.ndarray) -> onnx.ModelProto:
    return quantized(graph(), frames, STYLES["int8_cpu"])


def weights_and_steps(model: onnx.ModelProto) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The quantized weights of the convolutions and the steps of their output channels."""
    constants = {value.name: numpy_helper.to_array(value) for value in model.graph.initializer}
    made_by = {name: node for node in model.graph.node for name in node.output}
    found = {}
    for node in model.graph.node:
        source = made_by.get(node.input[1]) if node.op_type == "Conv" else None
        if source is not None and source.op_type == "DequantizeLinear":
            name = source.input[0].removesuffix("_quantized")
            found[name] = constants[source.input[0]], constants[source.input[1]]
    return found


def test_two_products_are_never_more_than_16_bits_hold(for_cpus: onnx.ModelProto) -> None:
    found = weights_and_steps(for_cpus)
    assert set(found) == {"each", "dense"}
    weights = found["dense"][0].astype(np.int32)
    pairs = weights[:, : CHANNELS - 1].reshape(8, -1, 2, 3, 3)
    most = 255 * np.maximum(pairs, 0).sum(axis=2).max()
    least = 255 * np.minimum(pairs, 0).sum(axis=2).min()
    assert most <= 32767
    assert least >= -32768
    assert most > 0.95 * 32767  # no coarser than that needs


def test_weights_keep_8_bits_where_nothing_saturates(for_cpus: onnx.ModelProto) -> None:
    found = weights_and_steps(for_cpus)
    for name, channels in (("each", range(CHANNELS)), ("dense", (1,))):  # one input; two signs
        weights, steps = found[name]
        for channel in channels:
            assert np.abs(weights[channel].astype(np.int32)).max() == 127
            largest = np.abs(WEIGHTS[name][channel]).max()
            assert steps[channel] == pytest.approx(largest / 127, rel=1e-5)


def test_weights_of_nothing_stay_nothing(for_cpus: onnx.ModelProto) -> None:
    weights, steps = weights_and_steps(for_cpus)["dense"]
    assert not weights[2].any()
    assert np.isfinite(steps).all()
    assert (steps > 0).all()


def test_gpus_which_never_saturate_have_the_whole_range(frames: np.ndarray) -> None:
    weights, _ = weights_and_steps(quantized(graph(), frames, STYLES["int8"]))["dense"]
    largest = np.abs(weights.astype(np.int32)).reshape(8, -1).max(axis=1)
    np.testing.assert_array_equal(largest, [127, 127, 0, 127, 127, 127, 127, 127])


def test_this_processor_computes_what_floats_do(
    for_cpus: onnx.ModelProto, frames: np.ndarray
) -> None:
    def depth(in_floats: bool) -> np.ndarray:
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.disable_quant_qdq", str(int(in_floats)))
        session = onnxruntime.InferenceSession(
            for_cpus.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return np.concatenate([session.run(None, {"rgb": frame})[0] for frame in frames])

    np.testing.assert_allclose(depth(False), depth(True), rtol=0.01)
