"""What training minimises, on one page.

total = sum over scales k of [ view synthesis + smoothness / divisor^k + mask regulariser ]
        + supervision where the truth is known
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sfm_ros.errors import ConfigError
from training.batch import Batch, ModelOutput, source_indices, target_index
from training.config import ObjectiveConfig
from training.geometry.camera import scale_intrinsics
from training.geometry.warp import warp
from training.losses.explainability import mask_regulariser, weigh_residual
from training.losses.photometric import (
    LocalMoments,
    local_moments,
    mean_over_sources,
    minimum_over_sources,
    photometric_error,
)
from training.losses.smoothness import edge_aware, second_order
from training.losses.supervision import log_depth_error, motion_error


class Objective:
    """The loss of a batch (Zhou et al. eq. 4, with the later choices as options).

    Every scale is compared at its own size with pictures reduced by area. Computed in float32
    whatever precision the networks ran in.

    Args:
        config: weights; a term of weight zero is neither computed nor reported.
    """

    def __init__(self, config: ObjectiveConfig) -> None:
        if config.smoothness not in ("second_order", "edge_aware"):
            raise ConfigError(
                f"objective.smoothness is {config.smoothness!r}, "
                "expected second_order or edge_aware"
            )
        if config.auto_mask and not config.minimum_reprojection:
            raise ConfigError("objective.auto_mask needs objective.minimum_reprojection")
        self.config = config

    def __call__(self, batch: Batch, output: ModelOutput) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its parts.

        Returns:
            The scalar to minimise; and, detached, ``total``, the weighted terms that add up to it
            (``photometric``, ``smoothness``, ``mask``, ``depth_supervision``,
            ``pose_supervision``) and the diagnostics ``disparity_spread`` (std / mean within an
            image; below 0.1 the depth has collapsed), ``translation_norm`` and
            ``translation_spread`` over the batch.
        """
        with torch.autocast(device_type=batch.K_b33.device.type, enabled=False):
            terms = self._view_terms(batch, output) | self._truth_terms(batch, output)
            total = torch.stack(list(terms.values())).sum()
            parts = {"total": total, **terms, **_diagnostics(output)}
        return total, {name: value.detach() for name, value in parts.items()}

    def _view_terms(self, batch: Batch, output: ModelOutput) -> dict[str, Tensor]:
        config = self.config
        terms: dict[str, list[Tensor]] = {"photometric": [], "smoothness": [], "mask": []}
        for scale, (depth, disparity) in enumerate(
            zip(output.depths_b1hw, output.disparities_b1hw, strict=True)
        ):
            target, sources_bs3hw, K = _view_at(batch, depth.shape[-2], depth.shape[-1])
            logits = output.mask_logits_bshw[scale] if output.mask_logits_bshw else None
            T = output.T_source_target_bs44
            terms["photometric"].append(
                self._view_synthesis(target, sources_bs3hw, depth, T, K, logits)
            )
            if config.smoothness_weight:
                weight = config.smoothness_weight / config.smoothness_scale_divisor**scale
                rough = (
                    second_order(disparity.float())
                    if config.smoothness == "second_order"
                    else edge_aware(disparity.float(), target)
                )
                terms["smoothness"].append(weight * rough)
            if logits is not None and config.mask_weight:
                terms["mask"].append(config.mask_weight * mask_regulariser(logits.float()))
        return {name: torch.stack(values).sum() for name, values in terms.items() if values}

    def _view_synthesis(
        self,
        target_b3hw: Tensor,
        sources_bs3hw: Tensor,
        depth_b1hw: Tensor,
        T_source_target_bs44: Tensor,
        K_b33: Tensor,
        mask_logits_bshw: Tensor | None,
    ) -> Tensor:
        config = self.config
        sources = sources_bs3hw.shape[1]
        warped, valid = warp(
            sources_bs3hw.flatten(0, 1),
            depth_b1hw.float().repeat_interleave(sources, dim=0),
            T_source_target_bs44.float().flatten(0, 1),
            K_b33.repeat_interleave(sources, dim=0),
        )
        target = local_moments(target_b3hw.unsqueeze(1))
        error = self._error(target, warped.view_as(sources_bs3hw))
        valid_bshw = valid.view_as(error)
        if mask_logits_bshw is not None:
            error = weigh_residual(error, mask_logits_bshw.float())
        if not config.minimum_reprojection:
            return mean_over_sources(error, valid_bshw)
        still = None
        if config.auto_mask:
            with torch.no_grad():
                still = self._error(target, sources_bs3hw)
        return minimum_over_sources(error, valid_bshw, still)

    def _error(self, target: LocalMoments, views_bs3hw: Tensor) -> Tensor:
        return photometric_error(
            target,
            views_bs3hw,
            l1_weight=self.config.l1_weight,
            ssim_weight=self.config.ssim_weight,
        )

    def _truth_terms(self, batch: Batch, output: ModelOutput) -> dict[str, Tensor]:
        config = self.config
        has_truth = batch.has_truth_b
        if has_truth is None:
            has_truth = batch.K_b33.new_ones(batch.K_b33.shape[0])
        terms = {}
        if config.depth_supervision_weight and batch.depth_target_b1hw is not None:
            depths = [depth.float() for depth in output.depths_b1hw]
            error = log_depth_error(depths, batch.depth_target_b1hw, has_truth)
            terms["depth_supervision"] = config.depth_supervision_weight * error
        if config.pose_supervision_weight and batch.T_source_target_bs44 is not None:
            error = motion_error(
                output.T_source_target_bs44.float(), batch.T_source_target_bs44, has_truth
            )
            terms["pose_supervision"] = config.pose_supervision_weight * error
        return terms


def _view_at(batch: Batch, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Target (b, 3, h, w), sources (b, s, 3, h, w) and intrinsics of one scale."""
    frames = batch.rgb_clean_bn3hw.float()
    count, full_height, full_width = frames.shape[1], frames.shape[-2], frames.shape[-1]
    K = batch.K_b33.float()
    if (height, width) != (full_height, full_width):
        small = F.interpolate(frames.flatten(0, 1), size=(height, width), mode="area")
        frames = small.view(-1, count, 3, height, width)
        K = scale_intrinsics(K, width / full_width, height / full_height)
    return frames[:, target_index(count)], frames[:, source_indices(count)], K


@torch.no_grad()
def _diagnostics(output: ModelOutput) -> dict[str, Tensor]:
    disparity = output.disparities_b1hw[0].float().flatten(1)
    way = output.T_source_target_bs44[..., :3, 3].float().norm(dim=-1)
    return {
        "disparity_spread": (disparity.std(dim=1) / disparity.mean(dim=1)).mean(),
        "translation_norm": way.mean(),
        "translation_spread": way.std(correction=0),
    }
