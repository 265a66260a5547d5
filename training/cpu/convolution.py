"""Convolutions that train faster on a CPU and compute the same but for rounding.

Shape letters as in ``training/batch.py``; also i o input and output channels, k kernel.

oneDNN fills a vector register with output channels, so that a layer with one or two of them (a
prediction) computes 16 and discards the rest. ``BlockConv2d`` uses a block of neighboring pixels
instead. Under bfloat16 autocast, the gradient of strided and 5x5 depthwise layers takes up to
fourteen times as long as in float32; ``Float32DepthwiseConv2d`` leaves autocast.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.cpu import replace_layers

_BLOCKS = {1: (4, 4), 2: (2, 4), 3: (2, 2), 4: (2, 2)}
"""Rows and columns of pixels computed at once, by the number of output channels."""


def accelerate_convolutions(model: nn.Module) -> None:
    """Replace, in place, the convolutions that have a faster equivalent; their weights stay."""
    replace_layers(model, nn.Conv2d, _accelerated)


def _accelerated(layer: nn.Conv2d) -> nn.Conv2d:
    kernel, padding = layer.kernel_size[0], layer.padding[0]
    strided = layer.stride != (1, 1)
    kind: type[nn.Conv2d]
    if layer.groups == layer.in_channels == layer.out_channels and (strided or kernel > 3):
        kind = Float32DepthwiseConv2d
    elif (
        layer.out_channels in _BLOCKS
        and layer.groups == 1
        and not strided
        and layer.bias is not None
        and padding == kernel // 2
    ):
        kind = BlockConv2d
    else:
        return layer
    faster = kind(
        layer.in_channels,
        layer.out_channels,
        kernel,
        layer.stride[0],
        padding,
        groups=layer.groups,
        bias=layer.bias is not None,
        padding_mode=layer.padding_mode,  # type: ignore[arg-type]
        device="meta",
    )
    faster.weight, faster.bias = layer.weight, layer.bias
    return faster.train(layer.training)


class Float32DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution in float32, regardless of autocast."""

    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float())


class BlockConv2d(nn.Conv2d):
    """A convolution of stride 1 that outputs a block of pixels for every block of pixels.

    In evaluation, under ``torch.compile``, and for an image that does not divide into blocks it
    is torch's own layer.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        rows, columns = _BLOCKS[self.out_channels]
        height, width = input.shape[-2:]
        divides = height % rows == 0 and width % columns == 0
        if not (self.training and divides) or torch.compiler.is_compiling():
            return super()._conv_forward(input, weight, bias)
        assert bias is not None
        padding = self.kernel_size[0] // 2
        if self.padding_mode != "zeros":
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = 0
        wide = _Widened.apply(weight, rows, columns)
        wide_bias = bias.repeat(rows * columns)
        blocks = F.conv2d(input, wide, wide_bias, stride=(rows, columns), padding=padding)
        blocks = blocks.unflatten(1, (rows, columns, self.out_channels))
        return blocks.permute(0, 3, 4, 1, 5, 2).reshape(-1, self.out_channels, height, width)


class _Widened(torch.autograd.Function):
    """The kernel (o, i, k, k), repeated for each pixel of a block and shifted to that pixel.

    ``(rows * columns * o, i, k + rows - 1, k + columns - 1)``, zero elsewhere.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: int, columns: int) -> Tensor:
        ctx.block = rows, columns
        ctx.shape = outputs, inputs, kernel, _ = weight.shape
        wide = weight.new_zeros(
            rows * columns * outputs, inputs, kernel + rows - 1, kernel + columns - 1
        )
        _shifted_kernels(wide, ctx.shape, rows, columns).copy_(weight)
        return wide.contiguous(memory_format=torch.channels_last)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        kernels = _shifted_kernels(gradient.contiguous(), ctx.shape, *ctx.block)
        summed = kernels.sum(dim=(0, 1))
        return summed.contiguous(memory_format=torch.channels_last), None, None


def _shifted_kernels(wide: Tensor, shape: tuple[int, ...], rows: int, columns: int) -> Tensor:
    """View (rows, columns, o, i, k, k) of the kernels inside ``_Widened``."""
    outputs = shape[0]
    first, channel, down, right = wide.stride()
    return wide.as_strided(
        (rows, columns, *shape),
        (columns * outputs * first + down, outputs * first + right, first, channel, down, right),
    )
