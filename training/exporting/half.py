"""A graph that computes in FP16 between inputs and outputs that stay as they are.

The precision stands in the graph, because that is the only place where every version of TensorRT
looks for it. What follows the last convolution stays in FP32: disparity to depth divides by small
numbers, and the entries of a motion are differences of nearly equal ones.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from sfm_ros.errors import ModelError
from training.exporting.graphs import EditedGraph, attributes, make_node

_SIZES = {"Resize": (1, 2), "Reshape": (1,), "Slice": (1, 2, 3, 4)}
"""Inputs that describe a shape; they are never FP16."""


def in_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph that computes in FP16 up to its last convolution.

    Args:
        model: a depth or pose graph of the contract, see `sfm_ros.model_spec`.

    Raises:
        ModelError: a weight is too large for FP16.
    """
    edited = EditedGraph.copy_of(model)
    inside = _until_last_convolution(edited)
    halved = _Halves(edited)
    nodes: list[onnx.NodeProto] = []
    for node in edited.graph.node:
        if node.output[0] in inside:
            nodes += halved.inside(node)
        else:
            nodes += halved.outside(node)
    edited.set_nodes([*nodes, *halved.outputs()])
    return edited.finished()


def _until_last_convolution(edited: EditedGraph) -> set[str]:
    """The results of all nodes that a convolution depends on, and of the convolutions."""
    convs = [node.output[0] for node in edited.graph.node if node.op_type == "Conv"]
    return {name for conv in convs for node in edited.upstream(conv) for name in node.output}


class _Halves:
    """Converts node after node, and remembers which tensors are FP16."""

    def __init__(self, edited: EditedGraph) -> None:
        self._edited = edited
        self._weights = {
            value.name
            for value in edited.graph.initializer
            if value.data_type == TensorProto.FLOAT
        }
        self._half: dict[str, str] = {}
        """FP16 tensors: the name in the given graph -> the name here."""
        self._single: dict[str, str] = {}
        """The same as FP32, made where it is read."""
        self._outputs = {value.name for value in edited.graph.output}
        self._floats = {
            value.name
            for value in edited.graph.input
            if value.type.tensor_type.elem_type == TensorProto.FLOAT
        }

    def inside(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The node in FP16, after the conversion of an input of the graph."""
        before: list[onnx.NodeProto] = []
        inputs = [
            name if index in _SIZES.get(node.op_type, ()) else self._as_half(name, before)
            for index, name in enumerate(node.input)
        ]
        settings = attributes(node)
        if node.op_type == "Cast" and settings["to"] == TensorProto.FLOAT:
            settings["to"] = TensorProto.FLOAT16
        for name in node.output:
            self._half[name] = self._edited.new_name() if name in self._outputs else name
        outputs = [self._half[name] for name in node.output]
        return [*before, make_node(node.op_type, inputs, outputs, **settings)]

    def _as_half(self, name: str, before: list[onnx.NodeProto]) -> str:
        if name in self._half:
            return self._half[name]
        if name in self._weights:
            self._half[name] = self._edited.new_constant(as_half(self._edited.constant(name)))
        elif name in self._floats:
            self._half[name] = self._edited.new_name()
            before.append(make_node("Cast", [name], self._half[name], to=TensorProto.FLOAT16))
        else:
            return name
        return self._half[name]

    def outside(self, node: onnx.NodeProto) -> list[onnx.NodeProto]:
        """The node in FP32, after the conversions of what it reads."""
        before: list[onnx.NodeProto] = []
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for index, name in enumerate(node.input):
            if name in self._half and name not in self._weights | self._floats:
                copy.input[index] = self._as_single(name, before)
        return [*before, copy]

    def _as_single(self, name: str, before: list[onnx.NodeProto]) -> str:
        if name not in self._single:
            self._single[name] = name if name in self._outputs else self._edited.new_name()
            before.append(
                make_node("Cast", [self._half[name]], self._single[name], to=TensorProto.FLOAT)
            )
        return self._single[name]

    def outputs(self) -> list[onnx.NodeProto]:
        """The conversions of outputs that are FP16 and that no node has read."""
        nodes: list[onnx.NodeProto] = []
        for name in sorted(self._outputs & set(self._half)):
            self._as_single(name, nodes)
        return nodes


def as_half(value: np.ndarray) -> np.ndarray:
    """Weights as FP16; ModelError if one is too large."""
    with np.errstate(over="ignore"):  # found below
        half = value.astype(np.float16)
    if not np.isfinite(half).all():
        raise ModelError(
            f"a weight of {np.abs(value).max():.3g} is too large for FP16 "
            f"(at most {np.finfo(np.float16).max:.0f})"
        )
    return half
