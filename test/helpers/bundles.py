"""A model bundle whose networks have a constant output."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from sfm_ros.engines.fake_engine import fake_spec
from sfm_ros.model_spec import ModelSpec

WIDTH, HEIGHT = 64, 32


def tilted_wall(width: int = WIDTH, height: int = HEIGHT) -> npt.NDArray[np.float32]:
    """(height, width) depth from 60 at the top to 3 at the bottom."""
    column = np.linspace(60.0, 3.0, height, dtype=np.float32)
    return np.tile(column[:, None], (1, width))


MakeBundle = Callable[[npt.NDArray[np.float32], npt.NDArray[np.float64]], Path]


def write_bundle(
    folder: Path, depth: npt.NDArray[np.float32], T_prev_curr: npt.NDArray[np.float64]
) -> Path:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    folder.mkdir(parents=True)
    spec: ModelSpec = fake_spec(width=WIDTH, height=HEIGHT, sequence_length=3)
    # The target is the frame in the middle: the graph returns T_previous_middle, T_next_middle.
    motions = np.stack([T_prev_curr, np.linalg.inv(T_prev_curr)])[None]
    size = [1, HEIGHT, WIDTH, 3]
    window = [1, 3, HEIGHT, WIDTH, 3]
    graphs = {
        spec.depth_file: ("rgb", size, "depth", depth[None]),
        spec.pose_file: ("window", window, "T_source_target", motions),
    }
    for name, (input_name, shape, output_name, value) in graphs.items():
        onnx.save(_constant_model(onnx, input_name, shape, output_name, value), folder / name)
    spec.save(folder)
    return folder


def _constant_model(
    onnx: object, input_name: str, shape: list[int], output_name: str, value: npt.NDArray
) -> object:
    helper, types, numpy_helper = onnx.helper, onnx.TensorProto, onnx.numpy_helper  # type: ignore[attr-defined]
    value = value.astype(np.float32)
    nodes = [
        helper.make_node("Cast", [input_name], ["float"], to=types.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["no_effect"]),
        helper.make_node("Add", ["value", "no_effect"], [output_name]),
    ]
    constants = [
        numpy_helper.from_array(value, "value"),
        numpy_helper.from_array(np.array(0.0, dtype=np.float32), "zero"),
    ]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info(input_name, types.UINT8, shape)],
        [helper.make_tensor_value_info(output_name, types.FLOAT, list(value.shape))],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
