"""Small questions to an ONNX graph, and changes that keep it valid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

ACTIVATIONS = frozenset({"Relu", "Clip", "Elu", "LeakyRelu", "HardSwish", "Sigmoid", "Tanh"})


class EditedGraph:
    """An ONNX model that is being changed; its nodes stay in topological order.

    Args:
        model: changed in place.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model, self.graph = model, model.graph
        self._made = 0

    @staticmethod
    def copy_of(model: onnx.ModelProto) -> EditedGraph:
        """A copy of a model, to be changed."""
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        return EditedGraph(copy)

    def constant(self, name: str) -> npt.NDArray:
        """A weight or another constant; KeyError if the name is not one."""
        for value in self.graph.initializer:
            if value.name == name:
                return numpy_helper.to_array(value)
        raise KeyError(name)

    def set_constant(self, name: str, value: npt.NDArray) -> None:
        """Change a constant; KeyError if the name is not one."""
        for old in self.graph.initializer:
            if old.name == name:
                old.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), name))
                return
        raise KeyError(name)

    def constant_shapes(self) -> dict[str, list[int]]:
        """The shapes of the constants, by name."""
        return {value.name: list(value.dims) for value in self.graph.initializer}

    def producer(self, tensor: str) -> onnx.NodeProto | None:
        """The node that computes a tensor; None for an input or a constant."""
        return next((node for node in self.graph.node if tensor in node.output), None)

    def consumers(self, tensor: str) -> list[onnx.NodeProto]:
        """The nodes that read a tensor."""
        return [node for node in self.graph.node if tensor in node.input]

    def shapes(self) -> dict[str, list[int]]:
        """The shapes of the tensors between the nodes, as far as they follow from the inputs."""
        inferred = onnx.shape_inference.infer_shapes(self.model).graph
        return {v.name: shape_of(v) for v in (*inferred.value_info, *inferred.output)}

    def upstream(self, tensor: str) -> list[onnx.NodeProto]:
        """The nodes that a tensor depends on, in order."""
        needed = {tensor}
        found = []
        for node in reversed(self.graph.node):
            if needed & set(node.output):
                found.append(node)
                needed.update(name for name in node.input if name)
        return found[::-1]

    def downstream(self, tensor: str) -> list[onnx.NodeProto]:
        """The nodes that depend on a tensor, in order."""
        known = {tensor}
        found = []
        for node in self.graph.node:
            if known & set(node.input):
                found.append(node)
                known.update(node.output)
        return found

    def new_constant(self, value: npt.NDArray) -> str:
        """Add a constant; returns its name."""
        name = self.new_name()
        self.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def new_name(self) -> str:
        """A name that no tensor has."""
        taken = {value.name for value in self.graph.initializer}
        taken.update(name for node in self.graph.node for name in node.output)
        while (name := f"edited_{self._made}") in taken:
            self._made += 1
        self._made += 1
        return name

    def replace(self, old: Sequence[onnx.NodeProto], new: Sequence[onnx.NodeProto]) -> None:
        """Remove nodes, and put others where the last of them was."""
        last = old[-1]
        nodes: list[onnx.NodeProto] = []
        for node in self.graph.node:
            if node == last:
                nodes.extend(new)
            if not any(node == each for each in old):
                nodes.append(node)
        self.set_nodes(nodes)

    def set_nodes(self, nodes: Iterable[onnx.NodeProto]) -> None:
        """Replace all nodes, by some of them or by others."""
        kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del self.graph.node[:]
        self.graph.node.extend(kept)

    def finished(self) -> onnx.ModelProto:
        """The model without constants that nobody reads, with shapes inferred again.

        onnx.checker.ValidationError or InferenceError if the changes broke it.
        """
        read = {name for node in self.graph.node for name in node.input}
        kept = [value for value in self.graph.initializer if value.name in read]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)
        del self.graph.value_info[:]
        for index, node in enumerate(self.graph.node):
            node.name = node.name or f"{node.op_type}_{index}"
        onnx.checker.check_model(self.model, full_check=True)
        return self.model


def make_node(
    kind: str, inputs: Sequence[str], output: str | Sequence[str], **attributes: Any
) -> onnx.NodeProto:
    """A node with one output, or several."""
    outputs = [output] if isinstance(output, str) else list(output)
    return helper.make_node(kind, list(inputs), outputs, **attributes)


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes of a node, by name."""
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def shape_of(value: onnx.ValueInfoProto) -> list[int]:
    """The shape of an input or output; 0 for a dimension that is not fixed."""
    return [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]


def part_of(
    model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], output: str
) -> onnx.ModelProto:
    """A model of some of the nodes, from the input of the graph to one tensor."""
    result = helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None)
    read = {name for node in nodes for name in node.input}
    constants = [value for value in model.graph.initializer if value.name in read]
    graph = helper.make_graph(list(nodes), "part", list(model.graph.input), [result], constants)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
