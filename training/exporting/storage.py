"""Weights stored as FP16 in graphs that compute in FP32: files of half the size.

Every engine converts such weights once, while it loads the graph. An error of a weight is at most
1/2048 of it, that of a depth in the order of 1e-3.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from sfm_ros.model_spec import ModelSpec
from training.exporting.graphs import EditedGraph, attributes, make_node
from training.exporting.half import as_half

_SMALLEST = 256
"""Elements of a constant from which on it is stored as FP16."""


def graph_paths(bundle: Path, spec: ModelSpec) -> tuple[Path, Path]:
    """The FP32 graphs of depth and motion in the folder of a bundle."""
    return bundle / spec.depth_file, bundle / spec.pose_file


def load_graph(path: Path) -> onnx.ModelProto:
    """Read a graph of a bundle, all its weights FP32 as the changes of graphs expect them."""
    return widened(onnx.load(path))


def narrowed(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph with its large weights stored as FP16.

    Raises:
        ModelError: a weight is too large for FP16.
    """
    edited = EditedGraph.copy_of(model)
    casts = []
    for value in edited.graph.initializer:
        if value.data_type != TensorProto.FLOAT or np.prod(value.dims) < _SMALLEST:
            continue
        cast = make_node("Cast", [f"{value.name}.fp16"], value.name, to=TensorProto.FLOAT)
        cast.name = f"{value.name}.fp16_to_fp32"
        casts.append(cast)
        half = as_half(numpy_helper.to_array(value))
        value.CopyFrom(numpy_helper.from_array(half, f"{value.name}.fp16"))
    edited.set_nodes([*casts, *edited.graph.node])
    return edited.finished()


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph without conversions of weights: the inverse of `narrowed`."""
    edited = EditedGraph.copy_of(model)
    stored = {v.name for v in model.graph.initializer if v.data_type == TensorProto.FLOAT16}
    casts: dict[str, list[str]] = {}
    nodes = []
    for node in model.graph.node:
        if _widens(node, stored):
            casts.setdefault(node.input[0], []).append(node.output[0])
        else:
            nodes.append(node)
    edited.set_nodes(nodes)
    del edited.graph.initializer[:]
    for value in model.graph.initializer:
        for name in casts.get(value.name, ()):
            single = numpy_helper.to_array(value).astype(np.float32)
            edited.graph.initializer.append(numpy_helper.from_array(single, name))
        edited.graph.initializer.append(value)  # if nobody reads it, it is left out at the end
    return edited.finished()


def _widens(node: onnx.NodeProto, stored: set[str]) -> bool:
    """Whether a node converts one of these weights to FP32."""
    is_cast = node.op_type == "Cast" and node.input[0] in stored
    return is_cast and attributes(node)["to"] == TensorProto.FLOAT
