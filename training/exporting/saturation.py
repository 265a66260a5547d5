"""Steps of INT8 weights with which no CPU saturates.

x86 processors without VNNI multiply unsigned activations by signed weights and add the products of
two neighboring inputs in 16 bits (VPMADDUBSW). Two activations of 255 and two weights of 127 are
more than that holds: the sum is cut off. Weights of 7 bits avoid it and are twice as coarse; only
two weights of one sign that are both large need that.

The inputs of a pixel of the kernel follow each other, then those of the next; libraries that fill
the inputs of each pixel up pair them within the pixel. Depthwise convolutions add in 32 bits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from training.exporting.graphs import attributes

LARGEST = 127
"""Of one weight, and of two neighbors of one sign in sum: rounded they are at most 128, by 255."""


def unsaturated_ranges(model: onnx.ModelProto) -> dict[str, list[dict[str, object]]]:
    """Ranges of the weights of convolutions by output channel, as ``TensorQuantOverrides``."""
    weights = {value.name: value for value in model.graph.initializer}
    ranges = {}
    for conv in model.graph.node:
        if conv.op_type == "Conv" and conv.input[1] in weights:
            weight = numpy_helper.to_array(weights[conv.input[1]]).astype(np.float32)
            largest = _largest(weight, attributes(conv).get("group", 1))
            ranges[conv.input[1]] = _ranges(largest)
    return ranges


def _ranges(largest: npt.NDArray) -> list[dict[str, object]]:
    ranges: list[dict[str, object]] = [{"rmin": -value, "rmax": value} for value in largest]
    ranges[0]["axis"] = 0
    return ranges


def _largest(weight: npt.NDArray, group: int) -> npt.NDArray:
    """What stands for `LARGEST` in each output channel.

    Args:
        weight: (outputs, inputs, h, w) of a convolution.
        group: into how many its channels are divided.
    """
    outputs, inputs = weight.shape[:2]
    single = np.abs(weight).reshape(outputs, -1).max(axis=1)
    if inputs == 1 and outputs == group:
        return single
    by_pixel = np.moveaxis(weight, 1, -1).reshape(outputs, -1, inputs)
    in_a_row = by_pixel.reshape(outputs, 1, -1)
    return np.maximum.reduce([single, _largest_sum(by_pixel), _largest_sum(in_a_row)])


def _largest_sum(rows: npt.NDArray) -> npt.NDArray:
    """(outputs,) largest sum of two of one sign, which are paired from the first of a row on."""
    pairs = rows[..., : rows.shape[-1] // 2 * 2].reshape(len(rows), -1, 2)
    of_one_sign = np.where(np.prod(np.sign(pairs), axis=-1) > 0, np.abs(pairs.sum(axis=-1)), 0)
    return of_one_sign.max(axis=1, initial=0)
