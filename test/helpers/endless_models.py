"""A valid model bundle whose depth network never returns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bundles import HEIGHT, WIDTH, write_bundle

from sfm_ros.model_spec import ModelSpec


def write_endless_bundle(folder: Path) -> Path:
    onnx = pytest.importorskip("onnx", reason="onnx is not installed")
    write_bundle(folder, np.full((HEIGHT, WIDTH), 5.0, np.float32), np.eye(4))
    spec = ModelSpec.load(folder)
    onnx.save(endless_graph(onnx), folder / spec.depth_file)
    spec.save(folder)
    return folder


def endless_graph(onnx: object) -> object:
    """Depth by ONNX's Loop without a trip count, whose condition stays true."""
    helper, types = onnx.helper, onnx.TensorProto  # type: ignore[attr-defined]
    size = [1, HEIGHT, WIDTH]
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["condition"], ["goes_on"]),
            helper.make_node("Sin", ["before"], ["after"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("index", types.INT64, []),
            helper.make_tensor_value_info("condition", types.BOOL, []),
            helper.make_tensor_value_info("before", types.FLOAT, size),
        ],
        [
            helper.make_tensor_value_info("goes_on", types.BOOL, []),
            helper.make_tensor_value_info("after", types.FLOAT, size),
        ],
    )
    nodes = [
        helper.make_node("Cast", ["rgb"], ["float"], to=types.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["gray"], axes=[3], keepdims=0),
        helper.make_node("Loop", ["", "true", "gray"], ["depth"], body=body),
    ]
    graph = helper.make_graph(
        nodes,
        "endless",
        [helper.make_tensor_value_info("rgb", types.UINT8, [1, HEIGHT, WIDTH, 3])],
        [helper.make_tensor_value_info("depth", types.FLOAT, size)],
        [onnx.numpy_helper.from_array(np.array(True), "true")],  # type: ignore[attr-defined]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
