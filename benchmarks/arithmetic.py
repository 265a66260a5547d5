"""How much arithmetic a network is, and how much this machine can do."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

_SIZE = 768
_REPETITIONS = 30
_VALUES = np.random.default_rng(0).standard_normal((_SIZE, _SIZE)).astype(np.float32)


def gflop(path: Path) -> float:
    """Multiplications and additions of the convolutions and products of a graph, in 1e9."""
    model = onnx.shape_inference.infer_shapes(onnx.load(path))
    shapes = {v.name: list(v.dims) for v in model.graph.initializer}
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        shapes[value.name] = [d.dim_value for d in value.type.tensor_type.shape.dim]
    products = 0
    for node in model.graph.node:
        if node.op_type == "Conv":
            # Each output is a sum over the channels of its group and the taps of the kernel.
            products += math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
        elif node.op_type == "ConvTranspose":
            products += math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])
        elif node.op_type in ("MatMul", "Gemm"):
            products += math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    return 2e-9 * products


def known_work(threads: int) -> Callable[[], object]:
    """A matrix product in FP32 by ONNX Runtime, which takes some milliseconds."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(_product().SerializeToString(), options)
    return lambda: session.run(None, {"a": _VALUES})


def peaks(threads: int) -> dict[str, float]:
    """GFLOP/s (GOP/s) of a product of two 768x768 matrices, by precision; the fastest of 30.

    FP32 is the faster of ONNX Runtime and OpenVINO, BF16 and INT8 are OpenVINO's. It is what a
    library reaches, some percent below what the processor's units could do.
    """
    found = {"fp32": _rate(known_work(threads))}
    try:
        import openvino
    except ImportError:
        return found
    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    found["fp32"] = max(found["fp32"], _rate(_by_openvino(_product(), "f32", threads)))
    if "BF16" in able:
        found["bf16"] = _rate(_by_openvino(_product(), "bf16", threads))
    found["int8"] = _rate(_by_openvino(_quantized_product(), "f32", threads))
    return found


def _rate(call: Callable[[], object]) -> float:
    times = []
    for _ in range(_REPETITIONS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 2e-9 * _SIZE**3 / min(times)


def _by_openvino(model: onnx.ModelProto, hint: str, threads: int) -> Callable[[], object]:
    import openvino

    core = openvino.Core()
    options = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": hint,
    }
    compiled = core.compile_model(core.read_model(model.SerializeToString()), "CPU", options)
    request = compiled.create_infer_request()
    return lambda: request.infer([_VALUES], share_inputs=True, share_outputs=True)


def _product() -> onnx.ModelProto:
    """a @ b with a constant b."""
    node = helper.make_node("MatMul", ["a", "b"], ["c"])
    return _model([node], {"b": _VALUES})


def _quantized_product() -> onnx.ModelProto:
    """The same with INT8 operands, as a Q/DQ graph."""
    nodes = [
        helper.make_node("QuantizeLinear", ["a", "step", "zero"], ["qa"]),
        helper.make_node("DequantizeLinear", ["qa", "step", "zero"], ["da"]),
        helper.make_node("DequantizeLinear", ["qb", "step", "none"], ["b"]),
        helper.make_node("MatMul", ["da", "b"], ["c"]),
    ]
    constants = {
        "qb": np.clip(np.rint(_VALUES / 0.04), -127, 127).astype(np.int8),
        "step": np.array(0.04, np.float32),
        "zero": np.array(128, np.uint8),
        "none": np.array(0, np.int8),
    }
    return _model(nodes, constants)


def _model(nodes: list, constants: dict[str, npt.NDArray]) -> onnx.ModelProto:
    a, c = (
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [_SIZE, _SIZE]) for n in ("a", "c")
    )
    values = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "product", [a], [c], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
