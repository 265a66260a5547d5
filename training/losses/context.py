"""What several loss terms need of a batch and its prediction, computed once.

Shape letters as in ``training/batch.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from training.batch import (
    Batch,
    ModelOutput,
    camera_of,
    motion_of,
    source_indices,
    target_index,
)
from training.config import ObjectiveConfig
from training.geometry.camera import scale_intrinsics
from training.geometry.warp import warp_sources
from training.losses.photometric import LocalMoments, photometric_error
from training.losses.regularizers import depth_inconsistency

Size = tuple[int, int]
"""Rows and columns."""


@dataclass(frozen=True, slots=True)
class View:
    """Target and sources at one size.

    Attributes:
        target: moments of the target (b, 1, 3, h, w).
        sources_bs3hw: the other frames, in order of time.
        K_b33: intrinsics at this size.
        still_error_bshw: error of the unmoved sources; None without auto-masking.
    """

    target: LocalMoments
    sources_bs3hw: Tensor
    K_b33: Tensor
    still_error_bshw: Tensor | None


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """One scale of the target as reconstructed from each source.

    Attributes:
        view: the images it is compared with.
        warped_bs3hw: sources sampled at the target's points.
        valid_bshw: bool, the point is visible in the source.
        inconsistency_bshw: of the depths of target and source; None if no term needs it.
    """

    view: View
    warped_bs3hw: Tensor
    valid_bshw: Tensor
    inconsistency_bshw: Tensor | None


class LossContext:
    """A batch, its prediction, and what is derived from both.

    The images are compared without color augmentation.
    """

    def __init__(self, config: ObjectiveConfig, batch: Batch, output: ModelOutput) -> None:
        frames = batch.rgb_clean_bn3hw.float()
        self.config, self.batch, self.output = config, batch, output
        self.full_size: Size = (frames.shape[-2], frames.shape[-1])
        self._frames_bn3hw = {self.full_size: frames}
        self._views: dict[Size, View] = {}

    @cached_property
    def reconstructions(self) -> list[Reconstruction]:
        """One per scale, finest first; at its own size, or at full size if so configured."""
        return [self._reconstruction(depth.float()) for depth in self.output.depths_b1hw]

    def target(self, size: Size) -> Tensor:
        """The target image (b, 3, h, w)."""
        frames = self._frames(size)
        return frames[:, target_index(frames.shape[1])]

    def _reconstruction(self, depth_b1hw: Tensor) -> Reconstruction:
        size = self.full_size if self.config.full_resolution else size_of(depth_b1hw)
        if size != size_of(depth_b1hw):
            depth_b1hw = resized(depth_b1hw.reciprocal(), size).reciprocal()
        view = self._view(size)
        sources_bschw, source_depths = view.sources_bs3hw, self.output.source_depths_bs1hw
        if source_depths is not None:
            # One more channel of the same sampling.
            inv_depth = resized(source_depths.float().reciprocal(), size)
            sources_bschw = torch.cat([sources_bschw, inv_depth], dim=2)
        T_bs44, is_known_b = motion_of(self.batch, self.output, self.config.known_motion)
        warped, valid, inv_depth = warp_sources(sources_bschw, depth_b1hw, T_bs44, view.K_b33)
        if is_known_b is not None:
            valid = valid & is_known_b[:, None, None, None]
        inconsistency = None
        if source_depths is not None:
            inconsistency = depth_inconsistency(inv_depth, warped[:, :, 3])
        return Reconstruction(view, warped[:, :, :3], valid, inconsistency)

    def _view(self, size: Size) -> View:
        if size not in self._views:
            self._views[size] = self._make_view(size)
        return self._views[size]

    def _make_view(self, size: Size) -> View:
        frames = self._frames(size)
        target = LocalMoments(self.target(size).unsqueeze(1))
        sources = frames[:, source_indices(frames.shape[1])]
        still_error = None
        if self.config.auto_mask:
            with torch.no_grad():
                still_error = photometric_error(target, sources, self.config)
        height, width = self.full_size
        K_b33 = camera_of(self.batch, self.output).float()
        K_b33 = scale_intrinsics(K_b33, size[1] / width, size[0] / height)
        return View(target, sources, K_b33, still_error)

    def _frames(self, size: Size) -> Tensor:
        """Frames reduced by area, from the next larger size if there is one."""
        if size not in self._frames_bn3hw:
            twice = (2 * size[0], 2 * size[1])
            nearest = twice if twice in self._frames_bn3hw else self.full_size
            self._frames_bn3hw[size] = resized(self._frames_bn3hw[nearest], size)
        return self._frames_bn3hw[size]


def size_of(image: Tensor) -> Size:
    """Rows and columns of maps (..., h, w)."""
    return image.shape[-2], image.shape[-1]


def resized(image: Tensor, size: Size) -> Tensor:
    """Maps (..., c, h, w) reduced by area, or enlarged bilinearly, to ``size``."""
    found = size_of(image)
    if found == size:
        return image
    if found == (2 * size[0], 2 * size[1]):
        return _halved(image)
    flat = image.flatten(0, -4)
    if size[0] <= found[0] and size[1] <= found[1]:
        flat = F.interpolate(flat, size=size, mode="area")
    else:
        flat = F.interpolate(flat, size=size, mode="bilinear", align_corners=False)
    return flat.view(*image.shape[:-2], *size)


def _halved(image: Tensor) -> Tensor:
    """Mean of every 2x2 block; on a CPU a tenth of the time of a general area reduction."""
    rows = image[..., 0::2, :] + image[..., 1::2, :]
    return (rows[..., 0::2] + rows[..., 1::2]) * 0.25
