"""Exact changes that make an exported graph cheaper; its outputs stay equal but for rounding.

* The images reach the first convolution in the order of their bytes, as floats: a conversion is
  the only operation that TensorRT admits on uint8. The factors of the normalization move into the
  weights. A pair that the pose network sees in both directions is read once, by one convolution
  with the weights of both.
* A convolution to a single channel, such as the disparity, wastes most of a vector register: as a
  convolution of each channel and a sum over 16 pixels at a time it takes a third of the time.
* Channels that do not fill the vector registers make a convolution slow, too: to those that are
  put together for it, zeros are added.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from training.exporting.graphs import (
    ACTIVATIONS,
    EditedGraph,
    attributes,
    make_node,
    part_of,
    shape_of,
)

_POINTWISE = frozenset({"Cast", "Mul", "Sub", "Add", "Div"})
_ORDERING = frozenset(
    {"Transpose", "Reshape", "Slice", "Unsqueeze", "Squeeze", "Concat", "Split", "Identity"}
)
_PIXELS = 16
"""Pixels of a row that are summed by one product."""
_CHANNELS = 16
"""Of one vector register."""
_TOLERANCE = 1e-4
"""Of a value that enters the first convolution, in gray levels."""
_TO_CHANNELS_FIRST, _TO_CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)


def rewritten(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph, made cheaper where it has the structures above.

    Args:
        model: a depth or pose graph of the contract, see `sfm_ros.model_spec`.
    """
    edited = EditedGraph.copy_of(model)
    if edited.graph.input[0].type.tensor_type.elem_type == TensorProto.UINT8:
        first = _first_layer(edited)
        if first is None:
            _convert_first(edited)
        else:
            _replace_first_layer(edited, first)
    for conv in [node for node in edited.graph.node if node.op_type == "Conv"]:
        _split_single_channel(edited, conv)
        _fill_channels(edited, conv)
    return edited.finished()


@dataclass(frozen=True, kw_only=True, slots=True)
class _FirstLayer:
    """What the first convolution of a graph sees: ``gain * (pixel - offset)``.

    Attributes:
        conv: the convolution.
        before: the nodes between the input and the convolution.
        planes: (B, K) for each of its images the planes of the input (frame * 3 + color).
    """

    conv: onnx.NodeProto
    before: list[onnx.NodeProto]
    planes: npt.NDArray[np.int64]
    gain: float
    offset: float


def _first_layer(edited: EditedGraph) -> _FirstLayer | None:
    """The first convolution, if it sees all planes of the input in some order."""
    conv = next((node for node in edited.graph.node if node.op_type == "Conv"), None)
    if conv is None or attributes(conv).get("group", 1) != 1:
        return None
    before = edited.upstream(conv.input[0])
    inside = [*before, conv]
    leaves = any(
        reader not in inside
        for node in before
        for name in node.output
        for reader in edited.consumers(name)
    )
    if leaves or {node.op_type for node in before} - _POINTWISE - _ORDERING:
        return None
    part = ReferenceEvaluator(part_of(edited.model, before, conv.input[0]))
    name, shape = edited.graph.input[0].name, shape_of(edited.graph.input[0])

    def seen(image: npt.NDArray) -> npt.NDArray:
        return np.asarray(part.run(None, {name: image})[0])  # type: ignore[index]

    return _probed(conv, before, seen, shape)


def _probed(
    conv: onnx.NodeProto,
    before: list[onnx.NodeProto],
    seen: Callable[[npt.NDArray], npt.NDArray],
    shape: list[int],
) -> _FirstLayer | None:
    """Find out with images of known content what the nodes before the convolution do."""
    dark, light = (seen(np.full(shape, level, np.uint8)) for level in (0, 100))
    gain = float(light.flat[0] - dark.flat[0]) / 100
    if dark.ndim != 4 or gain == 0 or np.ptp(dark) > 0 or np.ptp(light) > 0:
        return None
    offset = -float(dark.flat[0]) / gain
    if abs(offset - round(offset)) < _TOLERANCE:
        offset = float(round(offset))
    numbers = np.arange(int(np.prod(shape[1:-3])) * shape[-1])
    numbered = _from_planes(np.broadcast_to(numbers[:, None, None], (len(numbers), *shape[-3:-1])))
    planes = np.rint(seen(numbered.reshape(shape))[:, :, 0, 0] / gain + offset).astype(np.int64)
    if planes.shape[1] != len(numbers) or not (np.sort(planes) == numbers).all():
        return None
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    levels = seen(noise) / gain + offset
    if not np.allclose(levels, _to_planes(noise)[planes], atol=_TOLERANCE, rtol=0):
        return None
    return _FirstLayer(conv=conv, before=before, planes=planes, gain=gain, offset=offset)


def _to_planes(image: npt.NDArray) -> npt.NDArray:
    """(1, h, w, 3) or (1, N, h, w, 3) to (3 N, h, w)."""
    height, width = image.shape[-3:-1]
    return np.moveaxis(image.reshape(-1, height, width, 3), -1, 1).reshape(-1, height, width)


def _from_planes(planes: npt.NDArray) -> npt.NDArray:
    """(3 N, h, w) to (N, h, w, 3) uint8."""
    return np.moveaxis(planes.reshape(-1, 3, *planes.shape[1:]), 1, -1).astype(np.uint8)


def _replace_first_layer(edited: EditedGraph, first: _FirstLayer) -> None:
    conv = first.conv
    weights = edited.constant(conv.input[1]) * np.float32(first.gain)
    # weights[:, k] belong to plane planes[b, k]; here they are ordered by plane.
    ordered = [weights[:, np.argsort(planes)] for planes in first.planes]
    inputs = [edited.new_name(), edited.new_constant(np.concatenate(ordered))]
    if len(conv.input) > 2:
        bias = edited.constant(conv.input[2])
        inputs.append(edited.new_constant(np.tile(bias, len(ordered))))
    nodes = _pixels(edited, first.offset, inputs[0])
    old, tail = [*first.before, conv], edited.consumers(conv.output[0])
    if len(ordered) == 1:
        nodes.append(make_node("Conv", inputs, conv.output[0], **attributes(conv)))
    else:
        fused = len(tail) == 1 and tail[0].op_type in ACTIVATIONS
        old += tail if fused else []
        nodes += _of_all_images(edited, conv, inputs, tail[0] if fused else None, len(ordered))
    edited.replace(old, nodes)


def _pixels(edited: EditedGraph, offset: float, output: str) -> list[onnx.NodeProto]:
    """The images less the offset, as one image (1, 3 N, h, w)."""
    source = edited.graph.input[0]
    shape = shape_of(source)
    names = [edited.new_name() for _ in range(4)]
    nodes = [
        make_node("Cast", [source.name], names[0], to=TensorProto.FLOAT),
        make_node("Sub", [names[0], edited.new_constant(np.array(offset, np.float32))], names[1]),
    ]
    if len(shape) == 5:
        size = edited.new_constant(np.array([1, *shape[2:4], 3 * shape[1]], np.int64))
        nodes += [
            make_node("Transpose", [names[1]], names[2], perm=(0, 2, 3, 1, 4)),
            make_node("Reshape", [names[2], size], names[3]),
        ]
    return [
        *nodes,
        make_node("Transpose", [nodes[-1].output[0]], output, perm=_TO_CHANNELS_FIRST),
    ]


def _of_all_images(
    edited: EditedGraph,
    conv: onnx.NodeProto,
    inputs: list[str],
    activation: onnx.NodeProto | None,
    images: int,
) -> list[onnx.NodeProto]:
    """One convolution (1, images * C, ...), brought to (images, C, ...)."""
    result = edited.new_name()
    nodes = [make_node("Conv", inputs, result, **attributes(conv))]
    output = conv.output[0]
    if activation is not None:
        active = edited.new_name()
        others = [result, *activation.input[1:]]
        nodes.append(make_node(activation.op_type, others, active, **attributes(activation)))
        result, output = active, activation.output[0]
    parts = [edited.new_name() for _ in range(images)]
    channels = edited.constant_shapes()[conv.input[1]][0]
    sizes = edited.new_constant(np.full(images, channels, np.int64))
    nodes.append(make_node("Split", [result, sizes], parts, axis=1))
    nodes.append(make_node("Concat", parts, output, axis=0))
    return nodes


def _convert_first(edited: EditedGraph) -> None:
    """Convert to float before the bytes are reordered, not after."""
    source = edited.graph.input[0].name
    order = edited.consumers(source)
    if len(order) != 1 or order[0].op_type != "Transpose":
        return
    casts = edited.consumers(order[0].output[0])
    if len(casts) != 1 or casts[0].op_type != "Cast":
        return
    converted = edited.new_name()
    nodes = [
        make_node("Cast", [source], converted, **attributes(casts[0])),
        make_node("Transpose", [converted], casts[0].output[0], **attributes(order[0])),
    ]
    edited.replace([order[0], casts[0]], nodes)


def _split_single_channel(edited: EditedGraph, conv: onnx.NodeProto) -> None:
    """Replace a convolution to one channel by one of each channel and a sum."""
    settings = attributes(conv)
    kernel = edited.constant_shapes().get(conv.input[1], [])
    if kernel[:1] != [1] or kernel[1] == 1 or kernel[2:] == [1, 1] or settings.get("group", 1) > 1:
        return
    shape = edited.shapes().get(conv.output[0], [])
    if len(shape) != 4 or shape[0] != 1 or shape[3] == 0 or shape[3] % _PIXELS:
        return
    channels = kernel[1]
    each = edited.new_name()
    own = edited.new_constant(edited.constant(conv.input[1]).transpose(1, 0, 2, 3))
    nodes = [make_node("Conv", [conv.input[0], own], each, **{**settings, "group": channels})]
    nodes += _summed(edited, each, channels, conv, shape)
    edited.replace([conv], nodes)


def _summed(
    edited: EditedGraph, each: str, channels: int, conv: onnx.NodeProto, shape: list[int]
) -> list[onnx.NodeProto]:
    """(1, C, h, w) to its sum over C plus the bias, 16 pixels by one product.

    Where a library keeps the channels of a pixel side by side, the transpositions cost nothing.
    """
    height, width = shape[2:]
    ones = np.kron(np.eye(_PIXELS), np.ones((1, channels))).astype(np.float32)
    inputs = [edited.new_name(), edited.new_constant(ones[..., None, None])]
    if len(conv.input) > 2:
        bias = edited.constant(conv.input[2])
        inputs.append(edited.new_constant(np.repeat(bias, _PIXELS)))
    blocks = np.array([1, height, width // _PIXELS, _PIXELS * channels], np.int64)
    names = [edited.new_name() for _ in range(4)]
    return [
        make_node("Transpose", [each], names[0], perm=_TO_CHANNELS_LAST),
        make_node("Reshape", [names[0], edited.new_constant(blocks)], names[1]),
        make_node("Transpose", [names[1]], inputs[0], perm=_TO_CHANNELS_FIRST),
        make_node("Conv", inputs, names[2], kernel_shape=[1, 1]),
        make_node("Transpose", [names[2]], names[3], perm=_TO_CHANNELS_LAST),
        make_node(
            "Reshape", [names[3], edited.new_constant(np.array(shape, np.int64))], conv.output[0]
        ),
    ]


def _fill_channels(edited: EditedGraph, conv: onnx.NodeProto) -> None:
    """Add zeros to what is concatenated for a convolution, and to its weights."""
    kernel = edited.constant_shapes().get(conv.input[1], [])
    joined = edited.producer(conv.input[0])
    if len(kernel) != 4 or attributes(conv).get("group", 1) > 1 or kernel[1] <= _CHANNELS:
        return
    missing = -kernel[1] % _CHANNELS
    if joined is None or joined.op_type != "Concat" or attributes(joined).get("axis") != 1:
        return
    shape = edited.shapes().get(joined.output[0], [])
    is_shared = any(len(edited.consumers(name)) > 1 for name in (joined.output[0], conv.input[1]))
    if not missing or is_shared or 0 in shape or len(shape) != 4:
        return
    zeros = np.zeros((shape[0], missing, *shape[2:]), np.float32)
    joined.input.append(edited.new_constant(zeros))
    del edited.graph.value_info[:]  # they hold the old shape
    weights = edited.constant(conv.input[1])
    edited.set_constant(conv.input[1], np.pad(weights, ((0, 0), (0, missing), (0, 0), (0, 0))))
