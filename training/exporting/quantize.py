"""Graphs with INT8 convolutions, calibrated on frames: for TensorRT, and for CPUs.

Both are Q/DQ graphs: FP32 graphs in which QuantizeLinear and DequantizeLinear mark what may be
computed in INT8 (Jacob et al. 2018). TensorRT expects symmetric activations and biases that are
not quantized; CPUs are fastest with unsigned activations that have a zero point, and some saturate
(see `training.exporting.saturation`).

What costs little and holds badly in 8 bits stays in FP32:

* the first layers, up to the third halving of the image: the weights of the first filters differ
  in size by more (of the light network they alone make nine tenths of the error of all weights),
  and what a dark image is to them takes few of the steps that a bright one needs;
* what follows the last activation: so does the disparity of far points; and the whole last level,
  if each pixel's disparity is that of its features alone, so that no error of theirs averages out;
* the depthwise convolutions that merge the features of two levels, whose ranges differ: without
  them a CPU is faster, too, because what is concatenated is not rounded once more;
* the features by which the motion is found: they are compared with each other.
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from training.exporting.graphs import ACTIVATIONS, EditedGraph, attributes
from training.exporting.saturation import unsaturated_ranges

_HIDDEN_ACTIVATIONS = ACTIVATIONS - {"Sigmoid", "Tanh"}
"""Those of hidden layers; the disparity is a sigmoid."""
_PERCENTILE = 99.99
"""Of an activation's values that its range holds: a few large ones would make all steps coarse."""
_HALVINGS_IN_FP32 = 3
"""Up to the one that so many times halves the image, the first layers stay in FP32."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizationStyle:
    """What a runtime expects of a Q/DQ graph.

    Attributes:
        activations: type of the activations.
        symmetric: whether the zero point of the activations is zero.
        kinds: the operations that are quantized.
    """

    activations: QuantType
    symmetric: bool
    kinds: tuple[str, ...]


STYLES = {
    "int8": QuantizationStyle(activations=QuantType.QInt8, symmetric=True, kinds=("Conv", "Add")),
    "int8_cpu": QuantizationStyle(
        activations=QuantType.QUInt8,
        symmetric=False,
        kinds=("Conv", "Add", "Resize"),
    ),
}
"""The styles by the name of the variant."""


def quantized(
    model: onnx.ModelProto, inputs: Iterable[npt.NDArray], style: QuantizationStyle
) -> onnx.ModelProto:
    """A Q/DQ graph with per-channel INT8 weights.

    Args:
        model: a depth or pose graph of the contract, see `sfm_ros.model_spec`.
        inputs: what it sees in operation, for the ranges of its activations.
        style: what the runtime expects.
    """
    named = EditedGraph.copy_of(model).finished()
    kept = [*_beside_the_first(named), *_last_level(named)]
    body, tail = _cut(named)
    with tempfile.TemporaryDirectory(prefix="sfm_quantize_") as folder, _silenced():
        source, target = Path(folder) / "fp32.onnx", Path(folder) / "int8.onnx"
        onnx.save(body, source)
        quantize_static(
            source,
            target,
            _Frames(body.graph.input[0].name, inputs),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=style.activations,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.Percentile,
            op_types_to_quantize=list(style.kinds),
            nodes_to_exclude=[*_first_layers(body), *_merging(body), *_shifts(body), *kept],
            extra_options={
                "ActivationSymmetric": style.symmetric,
                "WeightSymmetric": True,
                "QuantizeBias": not style.symmetric,
                "CalibPercentile": _PERCENTILE,
                "TensorQuantOverrides": {} if style.symmetric else unsaturated_ranges(body),
            },
        )
        return _joined(onnx.load(target), tail, model)


def _cut(model: onnx.ModelProto) -> tuple[onnx.ModelProto, list[onnx.NodeProto]]:
    """The part of a graph up to its last activation, and the rest."""
    edited = EditedGraph(model)
    after: set[str] = set()
    waiting = [value.name for value in model.graph.output]
    while waiting:
        node = edited.producer(waiting.pop())
        if node is None or node.output[0] in after:  # else as often as there are ways to it
            continue
        if node.op_type not in _HIDDEN_ACTIVATIONS:
            after.update(node.output)
            waiting.extend(node.input)
    for node in reversed(model.graph.node):  # features are read by what comes before the depth
        readers = (reader for name in node.output for reader in edited.consumers(name))
        if any(reader.output[0] not in after for reader in readers):
            after.difference_update(node.output)
    tail = [node for node in model.graph.node if node.output[0] in after]
    body = [node for node in model.graph.node if node.output[0] not in after]
    read = {name for node in tail for name in node.input}
    read |= {value.name for value in model.graph.output}
    shapes = edited.shapes()
    results = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shapes[name])
        for node in body
        for name in node.output
        if name in read
    ]
    cut = EditedGraph.copy_of(model)
    del cut.graph.node[:], cut.graph.output[:]
    cut.graph.node.extend(body)
    cut.graph.output.extend(results)
    return cut.finished(), tail


def _joined(
    body: onnx.ModelProto, tail: list[onnx.NodeProto], model: onnx.ModelProto
) -> onnx.ModelProto:
    """The quantized part with the rest of the graph behind it."""
    there = {value.name for value in body.graph.initializer}
    needed = {name for node in tail for name in node.input} - there
    body.graph.initializer.extend(v for v in model.graph.initializer if v.name in needed)
    body.graph.node.extend(tail)
    del body.graph.output[:]
    body.graph.output.extend(model.graph.output)
    return EditedGraph(body).finished()


def _first_layers(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes up to the first convolution.

    If it halves the image, up to the third that does so, or the last if there are fewer.
    """
    edited = EditedGraph(model)
    first = next((node for node in model.graph.node if node.op_type == "Conv"), None)
    if first is None:
        return []
    kept = [*edited.upstream(first.input[0]), first]
    halving = [node for node in model.graph.node if _halves(node)]
    if first in halving:
        kept += edited.upstream(halving[:_HALVINGS_IN_FP32][-1].input[0])
    return list(dict.fromkeys(node.name for node in kept))


def _last_level(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes from the last enlargement on, if a disparity is that of one pixel.

    If nothing is enlarged before the disparity, from the last layer before it on.
    """
    edited = EditedGraph(model)
    head = _head(edited)
    if head is None or edited.constant_shapes()[head.input[1]][2:] != [1, 1]:
        return []
    before = edited.upstream(head.input[0])
    enlarging, convs = ([n for n in before if n.op_type == kind] for kind in ("Resize", "Conv"))
    first = (enlarging or convs or [head])[-1]
    return [first.name, *(node.name for node in edited.downstream(first.output[0]))]


def _head(edited: EditedGraph) -> onnx.NodeProto | None:
    """The last convolution that only a sigmoid reads, of which the first output is made."""
    found = [
        conv
        for conv in edited.upstream(edited.graph.output[0].name)
        if conv.op_type == "Conv"
        and [reader.op_type for reader in edited.consumers(conv.output[0])] == ["Sigmoid"]
    ]
    return found[-1] if found else None


def _halves(node: onnx.NodeProto) -> bool:
    pools = ("MaxPool", "AveragePool")
    return node.op_type in ("Conv", *pools) and max(attributes(node).get("strides", (1,))) > 1


def _beside_the_first(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that the first output does not depend on."""
    needed = EditedGraph(model).upstream(model.graph.output[0].name)
    names = {node.name for node in needed}
    return [node.name for node in model.graph.node if node.name not in names]


def _merging(model: onnx.ModelProto) -> list[str]:
    """Names of the depthwise convolutions of what is concatenated."""
    edited = EditedGraph(model)
    found = []
    for node in model.graph.node:
        if node.op_type != "Conv" or attributes(node).get("group", 1) == 1:
            continue
        before = edited.producer(node.input[0])
        if before is not None and before.op_type == "Pad":
            before = edited.producer(before.input[0])
        if before is not None and before.op_type == "Concat":
            found.append(node.name)
    return found


def _shifts(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that add a constant, such as the least disparity of a coarser scale.

    TensorRT refuses a quantized constant that is not the weight of a layer.
    """
    constants = EditedGraph(model).constant_shapes()
    return [
        node.name
        for node in model.graph.node
        if node.op_type == "Add" and any(name in constants for name in node.input)
    ]


class _Frames(CalibrationDataReader):
    """Gives the inputs one after the other."""

    def __init__(self, name: str, inputs: Iterable[npt.NDArray]) -> None:
        self._name, self._inputs = name, iter(inputs)

    def get_next(self) -> Mapping[str, npt.NDArray] | None:
        """The next one; None after the last."""
        value = next(self._inputs, None)
        return None if value is None else {self._name: np.ascontiguousarray(value)}


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Without the quantizer's advice, which is written for its own examples."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(None):
            yield
    finally:
        logging.root.setLevel(level)
