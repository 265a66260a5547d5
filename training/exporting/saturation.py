"""Steps of INT8 weights with which no CPU saturates.

x86 processors without VNNI multiply unsigned activations by signed weights and add the products of
two neighboring input channels in 16 bits (VPMADDUBSW). Two activations of 255 and two weights of
127 are more than that holds: the sum is cut off. Weights of 7 bits avoid it and are twice as
coarse; only two weights of one sign that are both large need that.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

LARGEST = 127
"""Of one weight, and of two neighbors of one sign in sum: rounded they are at most 128, by 255."""


def unsaturated_ranges(model: onnx.ModelProto) -> dict[str, list[dict[str, object]]]:
    """Ranges of the weights of convolutions by output channel, as ``TensorQuantOverrides``."""
    weights = {value.name: value for value in model.graph.initializer}
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    names = dict.fromkeys(conv.input[1] for conv in convs if conv.input[1] in weights)
    return {name: _ranges(numpy_helper.to_array(weights[name])) for name in names}


def _ranges(weight: npt.NDArray) -> list[dict[str, object]]:
    largest = _largest(weight.astype(np.float32))
    ranges: list[dict[str, object]] = [{"rmin": -value, "rmax": value} for value in largest]
    ranges[0]["axis"] = 0
    return ranges


def _largest(weight: npt.NDArray) -> npt.NDArray:
    """What stands for `LARGEST` in each output channel.

    Args:
        weight: (outputs, inputs, h, w) of a convolution; pairs of inputs are added from the first.
    """
    outputs, inputs, *kernel = weight.shape
    single = np.abs(weight).reshape(outputs, -1).max(axis=1)
    pairs = weight[:, : inputs - inputs % 2].reshape(outputs, inputs // 2, 2, *kernel)
    of_one_sign = np.where(np.prod(np.sign(pairs), axis=2) > 0, np.abs(pairs.sum(axis=2)), 0)
    return np.maximum(single, of_one_sign.reshape(outputs, -1).max(axis=1, initial=0))
