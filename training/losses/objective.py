"""What training minimizes, on one page.

total = sum over scales k of [ view synthesis + smoothness / divisor^k + mask regulariser
        + geometry consistency ]
        + supervision where the ground truth, or the way, is known
"""

from __future__ import annotations

import torch
from torch import Tensor

from sfm_ros.errors import ConfigError
from training.batch import Batch, ModelOutput, camera_of
from training.config import ObjectiveConfig
from training.distributed import mean_over_processes
from training.geometry.warp import project_target
from training.losses.consistency import (
    consistency_error,
    consistency_mask,
    depth_inconsistency,
)
from training.losses.explainability import mask_regulariser
from training.losses.photometric import (
    LocalMoments,
    mean_over_sources,
    minimum_over_sources,
    photometric_error,
)
from training.losses.smoothness import edge_aware, second_order
from training.losses.supervision import log_depth_error, motion_error, velocity_loss
from training.losses.views import View, Views, resized


class Objective:
    """The loss of a batch (Zhou et al. eq. 4, with the later choices as options).

    Every scale is compared at its own size with images reduced by area, or, with
    ``full_resolution``, enlarged to the size of the images. Computed in float32 whatever
    precision the networks ran in.

    Args:
        config: weights; a term of weight zero is neither computed nor reported.

    Attributes:
        needs_source_depths: whether a term compares the depths of the sources with the target's,
            so that the model must predict them.
    """

    def __init__(self, config: ObjectiveConfig) -> None:
        self.config = config
        self._compares_images = config.l1_weight > 0 or config.ssim_weight > 0
        self.needs_source_depths = config.consistency_weight > 0 or config.consistency_mask

    def __call__(self, batch: Batch, output: ModelOutput) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its parts.

        Returns:
            The scalar to minimize; and, detached, ``total``, the weighted terms that add up to it
            (``photometric``, ``smoothness``, ``mask``, ``consistency``, ``depth_supervision``,
            ``pose_supervision``, ``velocity``) and the diagnostics ``disparity_spread`` (std /
            mean within an image; below 0.1 the depth has collapsed), ``translation_norm`` and
            ``translation_spread`` over the batch.

        Raises:
            ConfigError: a term needs the depth of the sources and the model gives none.
        """
        if self.needs_source_depths and output.source_depths_bs1hw is None:
            raise ConfigError(
                "objective.consistency_weight and objective.consistency_mask compare the depths "
                "of target and sources, but the model gave none of the sources: set both to 0 "
                "and false, or let the model predict the depth of every frame"
            )
        with torch.autocast(device_type=batch.K_b33.device.type, enabled=False):
            terms = self._view_terms(batch, output) | self._known_terms(batch, output)
            total = torch.stack(list(terms.values())).sum()
            parts = {"total": total, **terms, **_diagnostics(output)}
        return total, {name: value.detach() for name, value in parts.items()}

    def _view_terms(self, batch: Batch, output: ModelOutput) -> dict[str, Tensor]:
        config = self.config
        views = Views(batch, camera_of(batch, output), self._error if config.auto_mask else None)
        terms: dict[str, list[Tensor]] = {}
        for scale in range(len(output.depths_b1hw)):
            if self._compares_images or config.consistency_weight:
                for name, value in self._synthesis_terms(views, output, scale).items():
                    terms.setdefault(name, []).append(value)
            if config.smoothness_weight:
                weight = config.smoothness_weight / config.smoothness_scale_divisor**scale
                terms.setdefault("smoothness", []).append(
                    weight * self._roughness(views, output, scale)
                )
            if output.mask_logits_bshw and config.mask_weight:
                error = mask_regulariser(output.mask_logits_bshw[scale].float())
                terms.setdefault("mask", []).append(config.mask_weight * error)
        return {name: torch.stack(values).sum() for name, values in terms.items()}

    def _synthesis_terms(self, views: Views, output: ModelOutput, scale: int) -> dict[str, Tensor]:
        """What the images, and the depths, of the sources say of one scale of the target."""
        config = self.config
        depth = output.depths_b1hw[scale].float()
        size = views.full_size if config.full_resolution else _size(depth)
        if size != _size(depth):
            depth = resized(depth.reciprocal(), size).reciprocal()
        view = views.at(size)
        seen = view.sources_bs3hw
        if self.needs_source_depths and output.source_depths_bs1hw is not None:
            # One more channel of the same sampling.
            inv_depth = resized(output.source_depths_bs1hw.float().reciprocal(), size)
            seen = torch.cat([seen, inv_depth], dim=2)
        warped, valid, moved = _from_the_target(
            seen, depth, output.T_source_target_bs44.float(), view
        )
        terms, confidence = {}, None
        if self.needs_source_depths:
            inconsistency = depth_inconsistency(moved, warped[:, :, 3])
            if config.consistency_weight:
                error = consistency_error(inconsistency, valid)
                terms["consistency"] = config.consistency_weight * error
            if config.consistency_mask:
                confidence = consistency_mask(inconsistency)
        if not self._compares_images:
            return terms
        if output.mask_logits_bshw:
            mask = resized(output.mask_logits_bshw[scale].float(), size).sigmoid()
            confidence = mask if confidence is None else confidence * mask
        error = self._error(view.target, warped[:, :, :3])
        terms["photometric"] = (
            minimum_over_sources(error, valid, view.still_error_bshw, confidence)
            if config.minimum_reprojection
            else mean_over_sources(error, valid, confidence)
        )
        return terms

    def _roughness(self, views: Views, output: ModelOutput, scale: int) -> Tensor:
        of_depth = self.config.smoothness_of == "depth"
        chosen = (output.depths_b1hw if of_depth else output.disparities_b1hw)[scale].float()
        if self.config.smoothness == "second_order":
            return second_order(chosen)
        return edge_aware(chosen, views.target(_size(chosen)))

    def _error(self, target: LocalMoments, views_bs3hw: Tensor) -> Tensor:
        return photometric_error(
            target,
            views_bs3hw,
            l1_weight=self.config.l1_weight,
            ssim_weight=self.config.ssim_weight,
        )

    def _known_terms(self, batch: Batch, output: ModelOutput) -> dict[str, Tensor]:
        config = self.config
        T = output.T_source_target_bs44.float()
        terms = {}
        ground_truth, known = batch.depth_target_b1hw, batch.has_depth_b
        if config.depth_supervision_weight and ground_truth is not None and known is not None:
            depths = [depth.float() for depth in output.depths_b1hw]
            error = log_depth_error(depths, ground_truth, known, config.sky_depth)
            terms["depth_supervision"] = config.depth_supervision_weight * error
        T_gt, known = batch.T_source_target_bs44, batch.has_motion_b
        if config.pose_supervision_weight and T_gt is not None and known is not None:
            error = motion_error(T, T_gt, known)
            terms["pose_supervision"] = config.pose_supervision_weight * error
        if config.velocity_weight and batch.distance_bs is not None:
            error = velocity_loss(T, batch.distance_bs.float())
            terms["velocity"] = config.velocity_weight * error
        return terms


def _size(map_b1hw: Tensor) -> tuple[int, int]:
    return map_b1hw.shape[-2], map_b1hw.shape[-1]


def _from_the_target(
    seen_bschw: Tensor, depth_b1hw: Tensor, T_source_target_bs44: Tensor, view: View
) -> tuple[Tensor, Tensor, Tensor]:
    """What each source shows where the target's points lie in it.

    Returns:
        The sampled channels (b, s, c, h, w); their validity (b, s, h, w), bool; and the inverse
        depth of the target's points in the source camera (b, s, h, w).
    """
    batch, sources = seen_bschw.shape[:2]
    projection = project_target(
        depth_b1hw.repeat_interleave(sources, dim=0),
        T_source_target_bs44.flatten(0, 1),
        view.K_b33.repeat_interleave(sources, dim=0),
    )
    warped = projection.sample(seen_bschw.flatten(0, 1))
    shape = (batch, sources, *depth_b1hw.shape[-2:])
    return (
        warped.view_as(seen_bschw),
        projection.valid().view(shape),
        projection.inv_depth_bhw.view(shape),
    )


@torch.no_grad()
def _diagnostics(output: ModelOutput) -> dict[str, Tensor]:
    disparity = output.disparities_b1hw[0].float().flatten(1)
    way = output.T_source_target_bs44[..., :3, 3].float().norm(dim=-1)
    mean_distance = mean_over_processes(way.mean())
    return {
        "disparity_spread": (disparity.std(dim=1) / disparity.mean(dim=1)).mean(),
        "translation_norm": mean_distance,
        "translation_spread": mean_over_processes((way - mean_distance).square().mean()).sqrt(),
    }
