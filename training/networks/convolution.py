"""Convolutions as training on a CPU computes them fastest; what they compute stays the same.

Shape letters as in ``training/batch.py``; besides, i o input and output channels, k kernel, p
places (b * h * w) at which a kernel is laid on the image, t what it then covers: k * k pixels
and their channels, channels last.

torch hands a convolution to oneDNN, which is quick where an image is large and its channels fill
a vector register. DispNet has layers of neither kind:

* **Few places, large kernels** (the deep layers: 512 to 1024 channels, at most 4x13 pixels). There
  the weights are copied into oneDNN's order and their gradient back, which takes longer than the
  arithmetic. As matrix products, weights and gradient are used as they lie in memory.
* **One or two output channels** (the predictions): 16 are computed, the rest is thrown away. Here
  a block of neighboring pixels takes their places, see ``_widened``.
* **Transposed convolutions**: the gradient of their weights takes twice as long as that of the
  convolution they are the transpose of, and is the same.

Results differ by rounding. In evaluation, export, ``torch.compile``, on a GPU and in other
precisions than float32 (but for the predictions) these are torch's own layers, whose names and
states they share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEW_PLACES = 400
"""Up to so many places the matrix products win, measured for 128 to 1024 channels."""
_BLOCKS = {1: (4, 4), 2: (2, 4), 3: (2, 2), 4: (2, 2)}
"""Rows and columns of pixels computed at once, by the number of output channels."""


class Conv2d(nn.Conv2d):
    """``torch.nn.Conv2d`` with a square kernel, faster in training on a CPU."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not _trains_on_cpu(self, input) or self.groups > 1 or bias is None:
            return super()._conv_forward(input, weight, bias)
        padding = self.padding[0]
        assert isinstance(padding, int)
        if self.padding_mode != "zeros":
            input = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = 0
        kernel, stride = self.kernel_size[0], self.stride[0]
        height, width = (_places(size, kernel, stride, padding) for size in input.shape[-2:])
        rows, columns = _BLOCKS.get(self.out_channels, (0, 0))
        if rows and stride == 1 and height % rows == 0 and width % columns == 0:
            return _convolve_in_blocks(input, weight, bias, padding, (rows, columns))
        if _is_float32(input) and len(input) * height * width <= FEW_PLACES:
            return _ByProduct.apply(input, weight, bias, stride, padding)
        return F.conv2d(input, weight, bias, stride, padding)


class ConvTranspose2d(nn.ConvTranspose2d):
    """``torch.nn.ConvTranspose2d`` with a square kernel, faster in training on a CPU."""

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        if not _trains_on_cpu(self, input) or not _is_float32(input) or self.bias is None:
            return super().forward(input, output_size)
        few = len(input) * input.shape[-2] * input.shape[-1] <= FEW_PLACES
        function = _TransposedByProduct if few else _Transposed
        padding, extra = self.padding[0], self.output_padding[0]
        assert isinstance(padding, int)
        return function.apply(input, self.weight, self.bias, self.stride[0], padding, extra)


def _trains_on_cpu(layer: nn.Module, input: Tensor) -> bool:
    return layer.training and input.device.type == "cpu" and not torch.compiler.is_compiling()


def _is_float32(input: Tensor) -> bool:
    return input.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")


def _convolve_in_blocks(
    input: Tensor, weight: Tensor, bias: Tensor, padding: int, block: tuple[int, int]
) -> Tensor:
    """A convolution of stride 1 that puts out a block of pixels for every block of pixels."""
    rows, columns = block
    outputs = weight.shape[0]
    wide = _Widened.apply(weight, rows, columns)
    parts = F.conv2d(input, wide, bias.repeat(rows * columns), stride=block, padding=padding)
    batch, _, height, width = parts.shape
    parts = parts.view(batch, rows, columns, outputs, height, width)
    return parts.permute(0, 3, 4, 1, 5, 2).reshape(batch, outputs, height * rows, width * columns)


class _Widened(torch.autograd.Function):
    """The kernel (o, i, k, k) once for each pixel of a block, moved to where that pixel is.

    ``(rows * columns * o, i, k + rows - 1, k + columns - 1)``, zero elsewhere.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, rows: int, columns: int) -> Tensor:
        ctx.block = rows, columns
        ctx.shape = outputs, inputs, kernel, _ = weight.shape
        wide = weight.new_zeros(
            rows * columns * outputs, inputs, kernel + rows - 1, kernel + columns - 1
        )
        _copies(wide, ctx.shape, rows, columns).copy_(weight)
        return wide.contiguous(memory_format=torch.channels_last)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        copies = _copies(gradient.contiguous(), ctx.shape, *ctx.block)
        summed = copies.sum(dim=(0, 1))
        return summed.contiguous(memory_format=torch.channels_last), None, None


def _copies(wide: Tensor, shape: tuple[int, ...], rows: int, columns: int) -> Tensor:
    """View (rows, columns, o, i, k, k) of the places where the kernel stands in ``_Widened``."""
    outputs = shape[0]
    first, channel, down, right = wide.stride()
    return wide.as_strided(
        (rows, columns, *shape),
        (columns * outputs * first + down, outputs * first + right, first, channel, down, right),
    )


class _ByProduct(torch.autograd.Function):
    """A convolution as one matrix product, and two for its gradients."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int
    ) -> Tensor:
        kernel = weight.shape[-1]
        ctx.geometry = kernel, stride, padding
        ctx.input_shape = input.shape
        height, width = (_places(size, *ctx.geometry) for size in input.shape[-2:])
        covered_pt = _covered(input, (height, width), *ctx.geometry)
        ctx.save_for_backward(covered_pt, weight)
        output = _image((len(input), weight.shape[0], height, width), input)
        torch.addmm(bias, covered_pt, _matrix(weight).t(), out=_table(output))
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        covered_pt, weight = ctx.saved_tensors
        size = (gradient.shape[-2], gradient.shape[-1])
        gradient_po = _table(gradient)
        to_input = None
        if ctx.needs_input_grad[0]:
            spread_pt = gradient_po @ _matrix(weight)
            to_input = _laid_down(spread_pt, ctx.input_shape, size, *ctx.geometry)
        to_weight = _kernels(gradient_po.t() @ covered_pt, weight)
        return to_input, to_weight, gradient_po.sum(0), None, None


class _TransposedByProduct(torch.autograd.Function):
    """A transposed convolution as one matrix product, and two for its gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor,
        bias: Tensor,
        stride: int,
        padding: int,
        extra: int,
    ) -> Tensor:
        kernel = weight.shape[-1]
        ctx.geometry = kernel, stride, padding
        input_pi = _table(input)
        ctx.save_for_backward(input_pi, weight)
        ctx.input_size = input.shape[-2], input.shape[-1]
        height, width = (
            (size - 1) * stride - 2 * padding + kernel + extra for size in ctx.input_size
        )
        shape = (len(input), weight.shape[1], height, width)
        spread_pt = input_pi @ _matrix(weight)
        output = _laid_down(spread_pt, shape, ctx.input_size, *ctx.geometry)
        return output.add_(bias.view(-1, 1, 1))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        input_pi, weight = ctx.saved_tensors
        covered_pt = _covered(gradient, ctx.input_size, *ctx.geometry)
        to_input = None
        if ctx.needs_input_grad[0]:
            shape = (len(gradient), weight.shape[0], *ctx.input_size)
            to_input = _image(shape, gradient)
            torch.mm(covered_pt, _matrix(weight).t(), out=_table(to_input))
        to_weight = _kernels(input_pi.t() @ covered_pt, weight)
        return to_input, to_weight, gradient.sum(dim=(0, 2, 3)), None, None, None


class _Transposed(torch.autograd.Function):
    """A transposed convolution whose weights get the gradient that its transpose's would."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor,
        bias: Tensor,
        stride: int,
        padding: int,
        extra: int,
    ) -> Tensor:
        ctx.save_for_backward(input, weight)
        ctx.geometry = (stride, stride), (padding, padding), (1, 1)
        ctx.extra = extra
        return F.conv_transpose2d(input, weight, bias, stride, padding, extra)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        input, weight = ctx.saved_tensors
        differentiate = torch.ops.aten.convolution_backward
        to_input = None
        if ctx.needs_input_grad[0]:
            extra = (ctx.extra, ctx.extra)
            to_input = differentiate(
                gradient, input, weight, None, *ctx.geometry, True, extra, 1, (True, False, False)
            )[0]
        to_weight = differentiate(
            input, gradient, weight, None, *ctx.geometry, False, (0, 0), 1, (False, True, False)
        )[1]
        return to_input, to_weight, gradient.sum(dim=(0, 2, 3)), None, None, None


def _places(size: int, kernel: int, stride: int, padding: int) -> int:
    """In how many places along an axis a kernel is laid on an image."""
    return (size + 2 * padding - kernel) // stride + 1


def _matrix(weight: Tensor) -> Tensor:
    """Kernels (first, second, k, k) as (first, t); a view where they lie channels last."""
    return weight.permute(0, 2, 3, 1).reshape(weight.shape[0], -1)


def _kernels(matrix: Tensor, weight: Tensor) -> Tensor:
    """What ``_matrix`` came from."""
    first, second, rows, columns = weight.shape
    return matrix.view(first, rows, columns, second).permute(0, 3, 1, 2)


def _image(shape: Sequence[int], like: Tensor) -> Tensor:
    """An empty image (b, channels, h, w), channels last, of which ``_table`` is a view."""
    return torch.empty(
        shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )


def _table(image: Tensor) -> Tensor:
    """Channels (p, channels) of each pixel of an image."""
    return image.permute(0, 2, 3, 1).reshape(-1, image.shape[1])


def _covered(
    image: Tensor, places: tuple[int, int], kernel: int, stride: int, padding: int
) -> Tensor:
    """What the kernel covers (p, t) at each of the places (rows, columns) of an image."""
    batch, channels = image.shape[:2]
    # Of the last stride of the image the kernel may cover less than there is, or more.
    padded = F.pad(image.permute(0, 2, 3, 1), (0, 0, *(padding, padding + stride) * 2))
    frame, row, column, _ = padded.stride()
    covered = padded.as_strided(
        (batch, *places, kernel, kernel * channels),
        (frame, stride * row, stride * column, row, 1),
    )
    return covered.reshape(-1, kernel * kernel * channels)


def _laid_down(
    spread_pt: Tensor,
    shape: Sequence[int],
    places: tuple[int, int],
    kernel: int,
    stride: int,
    padding: int,
) -> Tensor:
    """The transpose of ``_covered``: an image of this shape onto which all is added up."""
    batch, channels, height, width = shape
    image = _image(shape, spread_pt).zero_()
    pixels = image.permute(0, 2, 3, 1)
    spread = spread_pt.view(batch, *places, kernel, kernel, channels)
    for i in range(kernel):
        seen_y, place_y = _inside(places[0], height, i - padding, stride)
        for j in range(kernel):
            seen_x, place_x = _inside(places[1], width, j - padding, stride)
            pixels[:, seen_y, seen_x].add_(spread[:, place_y, place_x, i, j])
    return image


def _inside(places: int, size: int, offset: int, stride: int) -> tuple[slice, slice]:
    """Along an axis, the pixels ``place * stride + offset`` of an image, and their places."""
    first = max(0, -(offset // stride))
    last = max(min(places - 1, (size - 1 - offset) // stride), first - 1)
    begin = first * stride + offset
    return slice(begin, begin + (last - first) * stride + 1, stride), slice(first, last + 1)
