"""Random changes to a batch that keep pictures, calibration, depth and motion consistent.

Shape letters as in training/batch.py: b batch, n frames of a window, s sources, h w rows, columns.
Every function returns a new batch; what is drawn at random is drawn in ``draw_plan`` alone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from training.batch import Batch
from training.config import DataConfig

JITTER = 0.2
"""Brightness, contrast, gamma and saturation are drawn from 1 - JITTER to 1 + JITTER."""
LUMA = (0.299, 0.587, 0.114)

Flags = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Plan:
    """What is done to each window of a batch.

    Attributes:
        flip_b, reverse_b, grey_b, colour_b: whether.
        scale_b2: factors of width and height, >= 1.
        offset_b2: place of the crop, 0 (left, top) to 1 (right, bottom).
        jitter_b4: brightness, contrast, gamma, saturation.
    """

    flip_b: Flags
    reverse_b: Flags
    grey_b: Flags
    colour_b: Flags
    scale_b2: Floats
    offset_b2: Floats
    jitter_b4: Floats

    def part(self, slots: slice) -> Plan:
        """The plan of some of the windows."""
        return Plan(**{f.name: getattr(self, f.name)[slots] for f in fields(self)})


def draw_plan(config: DataConfig, size: int, rng: np.random.Generator) -> Plan:
    """Draw what happens to each of ``size`` windows."""
    return Plan(
        flip_b=rng.random(size) < config.flip_probability,
        reverse_b=rng.random(size) < config.reverse_probability,
        grey_b=rng.random(size) < config.grey_probability,
        colour_b=rng.random(size) < config.colour_probability,
        scale_b2=rng.uniform(1.0, config.scale_crop, (size, 2)),
        offset_b2=rng.random((size, 2)),
        jitter_b4=rng.uniform(1.0 - JITTER, 1.0 + JITTER, (size, 4)),
    )


def augment(batch: Batch, plan: Plan) -> Batch:
    """Geometry and grey change both pictures alike; colour changes only what the networks see."""
    batch = scale_crop(batch, plan.scale_b2, plan.offset_b2)
    batch = reverse(flip(batch, plan.flip_b), plan.reverse_b)
    clean = to_grey(batch.rgb_clean_bn3hw, plan.grey_b)
    return replace(
        batch,
        rgb_clean_bn3hw=clean,
        rgb_bn3hw=jitter_colour(clean, plan.colour_b, plan.jitter_b4),
    )


def flip(batch: Batch, flip_b: Flags) -> Batch:
    """Mirror the chosen windows left to right.

    cx becomes W - 1 - cx, and a transform S T S with S = diag(-1, 1, 1, 1).
    """
    if not flip_b.any():
        return batch
    width = batch.rgb_bn3hw.shape[-1]
    K = batch.K_b33.clone()
    chosen = torch.from_numpy(flip_b)
    K[chosen, 0, 2] = width - 1 - K[chosen, 0, 2]
    T = batch.T_source_target_bs44
    if T is not None:
        mirror = torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=T.dtype)
        T = torch.where(chosen[:, None, None, None], mirror[:, None] * T * mirror, T)
    return _with_pictures(
        batch,
        lambda x, i: x.flip(-1) if flip_b[i] else x,
        K_b33=K,
        T_source_target_bs44=T,
    )


def reverse(batch: Batch, reverse_b: Flags) -> Batch:
    """Play the chosen windows backwards.

    The target, being the middle frame, stays; the sources change places, and their transforms with
    them. Needs an odd number of frames.
    """
    if not reverse_b.any():
        return batch
    frames = batch.rgb_bn3hw.shape[1]
    if frames % 2 == 0:
        raise ValueError(
            f"a window of {frames} frames has no middle; only odd ones can be reversed"
        )
    chosen = torch.from_numpy(reverse_b)
    T = batch.T_source_target_bs44
    if T is not None:
        T = torch.where(chosen[:, None, None, None], T.flip(1), T)
    rgb, clean = _pair(batch, lambda x, i: x.flip(0) if reverse_b[i] else x)
    return replace(batch, rgb_bn3hw=rgb, rgb_clean_bn3hw=clean, T_source_target_bs44=T)


def scale_crop(batch: Batch, scale_b2: Floats, offset_b2: Floats) -> Batch:
    """Enlarge each window by its own factors and cut out a part of the former size.

    A pixel u of the old picture lies at (u + 0.5) s - 0.5 - x0 in the new one, pixel centres at
    integers. Depth values stay: the calibration changes with the picture.
    """
    height, width = batch.rgb_bn3hw.shape[-2:]
    sizes = np.maximum(np.rint(scale_b2 * (width, height)).astype(int), (width, height))
    corners = np.rint(offset_b2 * (sizes - (width, height))).astype(int)
    if (sizes == (width, height)).all():
        return batch
    K = batch.K_b33.clone()
    for axis, length in enumerate((width, height)):
        factor = torch.from_numpy(sizes[:, axis] / length).to(K.dtype)
        K[:, axis, 0:2] *= factor[:, None]
        K[:, axis, 2] = (K[:, axis, 2] + 0.5) * factor - 0.5 - torch.from_numpy(corners[:, axis])

    def cut(picture_c3hw: Tensor, i: int) -> Tensor:
        w, h = sizes[i]
        x, y = corners[i]
        if picture_c3hw.shape[1] == 1:
            large = interpolate(picture_c3hw, size=(h, w), mode="nearest-exact")
        else:
            large = interpolate(picture_c3hw, size=(h, w), mode="bilinear", align_corners=False)
        return large[..., y : y + height, x : x + width]

    return _with_pictures(batch, cut, K_b33=K)


def to_grey(rgb_bn3hw: Tensor, grey_b: Flags) -> Tensor:
    """Replace the colours of the chosen windows by their luma (ITU-R BT.601)."""
    if not grey_b.any():
        return rgb_bn3hw
    result = rgb_bn3hw.clone()
    for i in np.flatnonzero(grey_b):
        result[i] = _luma(result[i])
    return result


def jitter_colour(rgb_bn3hw: Tensor, colour_b: Flags, jitter_b4: Floats) -> Tensor:
    """Brightness, contrast, saturation, gamma of the chosen windows, alike for all frames."""
    result = rgb_bn3hw.clone()
    for i in np.flatnonzero(colour_b):
        brightness, contrast, gamma, saturation = (float(v) for v in jitter_b4[i])
        grey = _luma(result[i])
        picture = grey + saturation * (result[i] - grey)
        picture = picture.sub_(grey.mean()).mul_(contrast).add_(grey.mean()).mul_(brightness)
        result[i] = picture.clamp_(0.0, 1.0).pow_(gamma)
    return result


def _luma(rgb_n3hw: Tensor) -> Tensor:
    r, g, b = rgb_n3hw.unbind(1)
    return (LUMA[0] * r + LUMA[1] * g + LUMA[2] * b).unsqueeze(1)


def _with_pictures(batch: Batch, change, **others) -> Batch:  # type: ignore[no-untyped-def]
    """The batch with ``change(picture, index)`` applied to frames and depth of every window."""
    rgb, clean = _pair(batch, change)
    depth = batch.depth_target_b1hw
    if depth is not None:
        depth = torch.stack([change(d[None], i)[0] for i, d in enumerate(depth)])
    return replace(batch, rgb_bn3hw=rgb, rgb_clean_bn3hw=clean, depth_target_b1hw=depth, **others)


def _pair(batch: Batch, change) -> tuple[Tensor, Tensor]:  # type: ignore[no-untyped-def]
    """Both pictures changed; worked out once where they are still the same tensor."""
    clean = torch.stack([change(x, i) for i, x in enumerate(batch.rgb_clean_bn3hw)])
    if batch.rgb_bn3hw is batch.rgb_clean_bn3hw:
        return clean, clean
    return torch.stack([change(x, i) for i, x in enumerate(batch.rgb_bn3hw)]), clean
