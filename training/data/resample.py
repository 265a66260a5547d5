"""Crop enlarged images, each window by its own factors, on a CPU or a GPU."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate

Integers = npt.NDArray[np.int64]


def crop_enlarged(
    images_bnchw: Tensor, sizes_b2: Integers, corners_b2: Integers, nearest: bool = False
) -> Tensor:
    """The crop of the former size that starts at a corner of the enlarged images.

    Args:
        images_bnchw: float; the n images of a window are cropped alike.
        sizes_b2: width and height after enlarging, not smaller than before.
        corners_b2: column and row of the enlarged image that becomes the first one.
        nearest: nearest instead of bilinear interpolation (for depth).
    """
    # OpenCV is the fastest on a CPU (torch's interpolate() takes four times as long), but handles
    # one image at a time: on a GPU the many small launches would cost more than the work.
    if images_bnchw.device.type == "cpu":
        return _one_by_one(images_bnchw, sizes_b2, corners_b2, nearest)
    return crop_batched(images_bnchw, sizes_b2, corners_b2, nearest)


def _one_by_one(images: Tensor, sizes: Integers, corners: Integers, nearest: bool) -> Tensor:
    height, width = images.shape[-2:]
    result = torch.empty_like(images)
    for i, ((w, h), (x, y)) in enumerate(zip(sizes.tolist(), corners.tolist(), strict=True)):
        if nearest:
            # OpenCV breaks ties the other way.
            large = interpolate(images[i], size=(h, w), mode="nearest-exact")
            result[i] = large[..., y : y + height, x : x + width]
            continue
        planes, cuts = (tensor[i].flatten(0, -3).numpy() for tensor in (images, result))
        for plane, cut in zip(planes, cuts, strict=True):
            large = cv2.resize(plane, (w, h), interpolation=cv2.INTER_LINEAR)
            cut[:] = large[y : y + height, x : x + width]
    return result


def crop_batched(
    images_bnchw: Tensor, sizes_b2: Integers, corners_b2: Integers, nearest: bool = False
) -> Tensor:
    """The same for all windows at once: rows first, then columns."""
    for dim, axis in ((-2, 1), (-1, 0)):
        length = images_bnchw.shape[dim]
        position_bl = (np.arange(length) + corners_b2[:, axis : axis + 1] + 0.5) * (
            length / sizes_b2[:, axis : axis + 1]
        )
        if nearest:
            images_bnchw = _take(images_bnchw, dim, np.floor(position_bl))
            continue
        position_bl = np.maximum(position_bl - 0.5, 0.0)
        first = np.floor(position_bl)
        weight = _along(images_bnchw, dim, position_bl - first).to(images_bnchw.dtype)
        images_bnchw = torch.lerp(
            _take(images_bnchw, dim, first), _take(images_bnchw, dim, first + 1), weight
        )
    return images_bnchw


def _take(images: Tensor, dim: int, index_bl: npt.NDArray[np.float64]) -> Tensor:
    last = images.shape[dim] - 1
    index = _along(images, dim, np.minimum(index_bl, last).astype(np.int64))
    return images.gather(dim, index.expand_as(images))


def _along(images: Tensor, dim: int, values_bl: npt.NDArray) -> Tensor:
    """A row of values for each window, shaped to run along one dimension of the images."""
    shape = [len(values_bl), 1, 1, 1, 1]
    shape[dim] = values_bl.shape[1]
    return torch.from_numpy(values_bl).to(images.device).reshape(shape)
