"""Weights stored as FP16 in graphs that compute in FP32: files of half the size.

Every engine converts such weights once, while it loads the graph. An error of a weight is at most
1/2048 of it, that of a depth in the order of 1e-3.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from training.exporting.graphs import EditedGraph, attributes, make_node
from training.exporting.half import as_half

_SMALLEST = 256
"""Elements of a constant from which on it is stored as FP16."""


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
    return _with_nodes(edited, [*casts, *edited.graph.node])


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph without conversions of weights: the inverse of `narrowed`."""
    edited = EditedGraph.copy_of(model)
    stored = {v.name: v for v in edited.graph.initializer if v.data_type == TensorProto.FLOAT16}
    nodes = []
    for node in edited.graph.node:
        value = stored.get(node.input[0]) if node.op_type == "Cast" else None
        if value is None or attributes(node)["to"] != TensorProto.FLOAT:
            nodes.append(node)
            continue
        single = numpy_helper.to_array(value).astype(np.float32)
        value.CopyFrom(numpy_helper.from_array(single, node.output[0]))
    return _with_nodes(edited, nodes)


def _with_nodes(edited: EditedGraph, nodes: list[onnx.NodeProto]) -> onnx.ModelProto:
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del edited.graph.node[:]
    edited.graph.node.extend(kept)
    return edited.finished()
