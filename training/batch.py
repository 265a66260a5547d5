"""The unit of training: windows of N frames, on one device.

Shape letters, here and throughout training: b batch, n frames of a window, s sources (n - 1),
h w rows and columns. Colors are RGB in [0, 1]. Pixel centers are integers.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from sfm_ros.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Windows for one step.

    Attributes:
        rgb_bn3hw: float in [0, 1], frames in order of time.
        rgb_clean_bn3hw: the same without color augmentation, for the photometric loss.
        K_b33: intrinsics of this grid.
        depth_target_b1hw: ground-truth depth of the target frame in meters, 0 if unknown; or None.
        T_source_target_bs44: ground-truth motion, sources in order of time; or None.
        has_depth_b, has_motion_b: 1.0 for the windows whose depth, or motion, is known, else 0.0;
            None if it is known for no window of any set.
        distance_bs: meters between the cameras of the target and of each source, from poses or
            from a known speed; NaN if unknown (0 is a standing car); or None.
    """

    rgb_bn3hw: Tensor
    rgb_clean_bn3hw: Tensor
    K_b33: Tensor
    depth_target_b1hw: Tensor | None = None
    T_source_target_bs44: Tensor | None = None
    has_depth_b: Tensor | None = None
    has_motion_b: Tensor | None = None
    distance_bs: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        moved = {
            f.name: value.to(device)
            for f in fields(self)
            if (value := getattr(self, f.name)) is not None
        }
        return replace(self, **moved)


def target_index(sequence_length: int) -> int:
    """Index of the target frame in a window: the middle one (of two, the newer)."""
    return sequence_length // 2


def source_indices(sequence_length: int) -> list[int]:
    """Indices of the other frames of a window, in order of time."""
    return [i for i in range(sequence_length) if i != target_index(sequence_length)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Matches:
    """Where the cells of the target were found in the frames next to it.

    Attributes:
        sources: which of the sources those frames are, (k,).
        flow_bk2hw: from the target, x first, in cells.
        likely_bkhwm: what each place around the cell is worth, adds up to 1; row after row.
        reach: columns and rows to either side among those places.
    """

    sources: list[int]
    flow_bk2hw: Tensor
    likely_bkhwm: Tensor
    reach: tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelOutput:
    """Prediction of the networks for one batch.

    Attributes:
        depths_b1hw: depth of the target frame, finest scale first; scale k has h / 2^k rows.
        disparities_b1hw: 1 / depth up to a fixed factor, same sizes.
        T_source_target_bs44: predicted motion, sources in order of time; (b, 0, 4, 4) without a
            pose network.
        mask_logits_bshw: explainability before the sigmoid, one channel per source, sizes as the
            depths; empty without a mask decoder.
        K_b33: learned intrinsics of the finest grid, pixels, replacing the batch's; or None if
            the model uses the calibration.
        source_depths_bs1hw: finest depth of the sources, in order of time; or None if no loss
            needs it.
        matches: of a pose network that searches for the target's features; else None.
    """

    depths_b1hw: list[Tensor]
    disparities_b1hw: list[Tensor]
    T_source_target_bs44: Tensor
    mask_logits_bshw: list[Tensor]
    K_b33: Tensor | None = None
    source_depths_bs1hw: Tensor | None = None
    matches: Matches | None = None

    @property
    def has_motion(self) -> bool:
        """Whether a motion was predicted."""
        return self.T_source_target_bs44.shape[1] > 0


def motion_of(batch: Batch, output: ModelOutput, known: bool) -> tuple[Tensor, Tensor | None]:
    """The motions (b, s, 4, 4) to warp by, and which windows have them (b,); None: all.

    Args:
        known: whether to take those of the batch, not the predicted ones.

    Raises:
        ConfigError: none are known.
    """
    if not known:
        return output.T_source_target_bs44, None
    if batch.T_source_target_bs44 is None or batch.has_motion_b is None:
        raise ConfigError(
            "'objective.known_motion' is true, but no prepared set has poses; prepare with poses "
            "or with a teacher, or set it to false"
        )
    return batch.T_source_target_bs44, batch.has_motion_b > 0


def camera_of(batch: Batch, output: ModelOutput) -> Tensor:
    """Intrinsics (b, 3, 3) to warp with: the learned ones if the model learns them."""
    return batch.K_b33 if output.K_b33 is None else output.K_b33
