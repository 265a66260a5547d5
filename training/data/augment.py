"""Random changes to a batch that keep images, calibration, depth and motion consistent.

Shape letters as in training/batch.py: b batch, n frames of a window, s sources, h w rows, columns.
Every function returns a new batch. Color changes come last: the geometric ones take the clean
images and set both. All random numbers are drawn in ``draw_plan``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from training.batch import Batch, target_index
from training.config import DataConfig
from training.data.degrade import DEGRADATIONS, add_noise
from training.data.resample import crop_enlarged

COLORS = ("brightness", "contrast", "gamma", "saturation")
LUMA = (0.299, 0.587, 0.114)
_NOISE = DEGRADATIONS.index(add_noise)

Flags = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Plan:
    """The random changes of each window of a batch.

    Attributes:
        flip_b, reverse_b, still_b, gray_b, color_b: whether the change is made.
        scale_b2: factors of width and height, >= 1.
        offset_b2: position of the crop, 0 (left, top) to 1 (right, bottom).
        jitter_b4: factors of COLORS, 1 for no change.
        degrade_bd: strength of each of DEGRADATIONS, 0 for none.
        seed_b: of what they draw.
    """

    flip_b: Flags
    reverse_b: Flags
    still_b: Flags
    gray_b: Flags
    color_b: Flags
    scale_b2: Floats
    offset_b2: Floats
    jitter_b4: Floats
    degrade_bd: Floats
    seed_b: Integers

    def part(self, slots: slice) -> Plan:
        """The plan of some of the windows."""
        return Plan(**{f.name: getattr(self, f.name)[slots] for f in fields(self)})


def draw_plan(config: DataConfig, size: int, rng: np.random.Generator) -> Plan:
    """Draw the changes of ``size`` windows."""
    allowed, jitter = np.isin(COLORS, config.color_changes), config.color_strength
    drawn = {
        "flip_b": rng.random(size) < config.flip_probability,
        "reverse_b": rng.random(size) < config.reverse_probability,
        "gray_b": rng.random(size) < config.gray_probability,
        "color_b": rng.random(size) < config.color_probability,
        "scale_b2": rng.uniform(1.0, config.scale_crop, (size, 2)),
        "offset_b2": rng.random((size, 2)),
        "jitter_b4": np.where(allowed, rng.uniform(1.0 - jitter, 1.0 + jitter, (size, 4)), 1.0),
    }
    # Drawn last, so that recipes that do not use them get the numbers that they always got.
    if config.aspect_change is not None:
        bound = np.log1p(config.aspect_change)
        ratio_b = np.exp(rng.uniform(-bound, bound, size))
        drawn["scale_b2"] = np.maximum(
            drawn["scale_b2"][:, :1] * np.stack([ratio_b**0.5, ratio_b**-0.5], 1), 1.0
        )
    chosen = rng.random((size, len(DEGRADATIONS))) < config.degrade_probability
    drawn["degrade_bd"] = np.where(chosen, rng.random(chosen.shape), 0.0)
    drawn["seed_b"] = rng.integers(2**31, size=size)
    drawn["still_b"] = rng.random(size) < config.still_probability
    # Images of a camera that stands differ by its noise, and only by that.
    still_b, noise_b = drawn["still_b"], rng.random(size)
    drawn["degrade_bd"][still_b, _NOISE] = noise_b[still_b]
    return Plan(**drawn)


def augment(batch: Batch, plan: Plan) -> Batch:
    """Geometry and gray change both images alike, before color changes the networks' input."""
    batch = scale_crop(batch, plan.scale_b2, plan.offset_b2)
    batch = reverse(flip(batch, plan.flip_b), plan.reverse_b)
    batch = stand(batch, plan.still_b)
    clean = to_gray(batch.rgb_clean_bn3hw, plan.gray_b)
    seen = jitter_color(clean, plan.color_b, plan.jitter_b4)
    seen = degrade(seen, plan.degrade_bd, plan.seed_b)
    return replace(batch, rgb_clean_bn3hw=clean, rgb_bn3hw=seen)


def flip(batch: Batch, flip_b: Flags) -> Batch:
    """Mirror the chosen windows left to right.

    cx becomes W - 1 - cx, and a transform S T S with S = diag(-1, 1, 1, 1).
    """
    if not flip_b.any():
        return batch
    width = batch.rgb_bn3hw.shape[-1]
    chosen = torch.from_numpy(flip_b).to(batch.K_b33.device)
    K = batch.K_b33.clone()
    K[:, 0, 2] = torch.where(chosen, width - 1 - K[:, 0, 2], K[:, 0, 2])
    T = batch.T_source_target_bs44
    if T is not None:
        mirror = torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=T.dtype, device=T.device)
        T = torch.where(chosen[:, None, None, None], mirror[:, None] * T * mirror, T)
    names = ("rgb_clean_bn3hw", "depth_target_b1hw")
    mirrored = _changed_fields(batch, names, flip_b, lambda chosen: chosen.flip(-1))
    return _replaced(batch, K_b33=K, T_source_target_bs44=T, **mirrored)


def reverse(batch: Batch, reverse_b: Flags) -> Batch:
    """Play the chosen windows backwards.

    The target, the middle frame, stays; the sources are swapped, and their motion and distance
    with them. Needs an odd number of frames.
    """
    if not reverse_b.any():
        return batch
    frames = batch.rgb_bn3hw.shape[1]
    if frames % 2 == 0:
        raise ValueError(
            f"a window of {frames} frames has no middle frame, expected an odd number to reverse"
        )
    names = ("rgb_clean_bn3hw", "T_source_target_bs44", "distance_bs")
    in_time = _changed_fields(batch, names, reverse_b, lambda chosen: chosen.flip(1))
    return _replaced(batch, **in_time)


def stand(batch: Batch, still_b: Flags) -> Batch:
    """Show the target of the chosen windows in place of all frames: the camera does not move."""
    if not still_b.any():
        return batch
    target = target_index(batch.rgb_bn3hw.shape[1])
    rgb = _changed(
        batch.rgb_clean_bn3hw, still_b, lambda chosen: chosen[:, [target]].expand_as(chosen)
    )
    T = batch.T_source_target_bs44
    if T is not None:
        T = _changed(T, still_b, lambda chosen: torch.eye(4).to(chosen).expand_as(chosen))
    known = _changed_fields(batch, ("has_motion_b",), still_b, torch.ones_like)
    known |= _changed_fields(batch, ("distance_bs",), still_b, torch.zeros_like)
    return _replaced(batch, rgb_clean_bn3hw=rgb, T_source_target_bs44=T, **known)


def scale_crop(batch: Batch, scale_b2: Floats, offset_b2: Floats) -> Batch:
    """Enlarge each window by its own factors and crop it to the former size.

    A pixel u of the old image lies at (u + 0.5) s - 0.5 - x0 in the new one, pixel centers at
    integers. Depth values stay: the calibration changes with the image.
    """
    height, width = batch.rgb_bn3hw.shape[-2:]
    sizes = np.maximum(np.rint(scale_b2 * (width, height)).astype(int), (width, height))
    corners = np.rint(offset_b2 * (sizes - (width, height))).astype(int)
    if (sizes == (width, height)).all():
        return batch
    K = batch.K_b33.clone()
    for axis, length in enumerate((width, height)):
        factor = torch.from_numpy(sizes[:, axis] / length).to(K)
        K[:, axis, 0:2] *= factor[:, None]
        corner = torch.from_numpy(corners[:, axis]).to(K.device)
        K[:, axis, 2] = (K[:, axis, 2] + 0.5) * factor - 0.5 - corner
    depth = batch.depth_target_b1hw
    if depth is not None:
        depth = crop_enlarged(depth[:, None], sizes, corners, nearest=True)[:, 0]
    rgb = crop_enlarged(batch.rgb_clean_bn3hw, sizes, corners)
    return _replaced(batch, rgb_clean_bn3hw=rgb, depth_target_b1hw=depth, K_b33=K)


def to_gray(rgb_bn3hw: Tensor, gray_b: Flags) -> Tensor:
    """Replace the colors of the chosen windows by their luma (ITU-R BT.601)."""
    if not gray_b.any():
        return rgb_bn3hw
    return _changed(rgb_bn3hw, gray_b, lambda chosen: _luma(chosen).expand_as(chosen))


def jitter_color(rgb_bn3hw: Tensor, color_b: Flags, jitter_b4: Floats) -> Tensor:
    """Brightness, contrast, saturation, gamma of the chosen windows, the same for all frames."""
    factors = torch.from_numpy(jitter_b4[color_b]).to(rgb_bn3hw)[:, :, None, None, None, None]
    brightness, contrast, gamma, saturation = factors.unbind(1)

    def changed(chosen: Tensor) -> Tensor:
        gray = _luma(chosen)
        # One at a time: the order of summation then does not depend on what else was chosen.
        mean = torch.stack([window.mean() for window in gray])[:, None, None, None, None]
        image = gray + saturation * (chosen - gray)
        image = image.sub_(mean).mul_(contrast).add_(mean).mul_(brightness)
        return image.clamp_(0.0, 1.0).pow_(gamma)

    return _changed(rgb_bn3hw, color_b, changed)


def degrade(rgb_bn3hw: Tensor, strength_bd: Floats, seed_b: Integers) -> Tensor:
    """Degrade each window by those of DEGRADATIONS that have a strength."""
    if not strength_bd.any():
        return rgb_bn3hw
    result = rgb_bn3hw.clone()
    for i in np.flatnonzero(strength_bd.any(axis=1)):
        rng, window = np.random.default_rng(int(seed_b[i])), result[i]
        for change, strength in zip(DEGRADATIONS, strength_bd[i], strict=True):
            if strength > 0:
                window = change(window, float(strength), rng)
        result[i] = window.clamp(0.0, 1.0)
    return result


def _luma(rgb_bn3hw: Tensor) -> Tensor:
    r, g, b = rgb_bn3hw.unbind(-3)
    return (LUMA[0] * r + LUMA[1] * g + LUMA[2] * b).unsqueeze(-3)


def _changed(tensor: Tensor, chosen_b: Flags, change: Callable[[Tensor], Tensor]) -> Tensor:
    """A copy in which the chosen windows are changed, all of them at once."""
    result = tensor.clone()
    if chosen_b.any():
        indices = torch.from_numpy(np.flatnonzero(chosen_b)).to(tensor.device)
        result[indices] = change(tensor[indices])
    return result


def _changed_fields(
    batch: Batch, names: Sequence[str], chosen_b: Flags, change: Callable[[Tensor], Tensor]
) -> dict[str, Any]:
    """Those of the fields that are known, changed."""
    known = {name: getattr(batch, name) for name in names if getattr(batch, name) is not None}
    return {name: _changed(tensor, chosen_b, change) for name, tensor in known.items()}


def _replaced(batch: Batch, **changed: Any) -> Batch:
    """The batch with other images, which have no color changes yet, and other fields."""
    return replace(batch, rgb_bn3hw=changed["rgb_clean_bn3hw"], **changed)
