"""What training minimizes, on one page: the weighted sum of the terms in ``loss_terms``.

To add a term, write its function, add its line to ``loss_terms`` and its weight to
``ObjectiveConfig``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from sfm_ros.errors import ConfigError
from training.batch import Batch, ModelOutput
from training.config import ObjectiveConfig
from training.distributed import mean_over_processes
from training.losses import regularizers
from training.losses.context import LossContext, Reconstruction, resized, size_of
from training.losses.matching import matching_error
from training.losses.photometric import (
    mean_over_sources,
    minimum_over_sources,
    photometric_error,
)
from training.losses.supervision import (
    log_depth_error,
    motion_error,
    teacher_error,
    velocity_loss,
)

LossTerm = Callable[[LossContext], Tensor | None]
"""An unweighted loss term; None if the batch or the model lacks what it compares."""


def loss_terms(config: ObjectiveConfig) -> dict[str, tuple[float, LossTerm]]:
    """``{name: (weight, function)}``; the weights of the photometric term are inside it."""
    compares_images = config.l1_weight > 0 or config.ssim_weight > 0
    return {
        "photometric": (float(compares_images), photometric),
        "smoothness": (config.smoothness_weight, smoothness),
        "mask": (config.mask_weight, mask_regularizer),
        "consistency": (config.consistency_weight, geometry_consistency),
        "depth_supervision": (config.depth_supervision_weight, depth_supervision),
        "teacher": (config.teacher_weight, teacher),
        "pose_supervision": (config.pose_supervision_weight, pose_supervision),
        "matching": (config.matching_weight, matching),
        "velocity": (config.velocity_weight, velocity_supervision),
    }


class Objective:
    """The loss of a batch (Zhou et al. eq. 4, with later choices as options).

    Every scale is compared at its own size with images reduced by area, or, with
    ``full_resolution``, enlarged to the size of the images. Computed in float32 whatever the
    precision of the networks.

    Args:
        config: weights; a term of weight zero is neither computed nor reported.

    Attributes:
        needs_source_depths: whether a term compares the depths of sources and target, so that the
            model must predict them.
    """

    def __init__(self, config: ObjectiveConfig) -> None:
        self.config = config
        self.needs_source_depths = config.consistency_weight > 0 or config.consistency_mask
        self._terms = {k: (weight, f) for k, (weight, f) in loss_terms(config).items() if weight}

    def __call__(self, batch: Batch, output: ModelOutput) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss and its parts.

        Returns:
            The scalar to minimize; and, detached, ``total``, the weighted terms that add up to it
            (named as in ``loss_terms``) and the diagnostics ``disparity_spread`` (std / mean
            within an image; below 0.1 the depth has collapsed), ``translation_norm`` and
            ``translation_spread`` over the batch.

        Raises:
            ConfigError: a term needs the depths of the sources, which the model did not predict.
        """
        if self.needs_source_depths and output.source_depths_bs1hw is None:
            raise ConfigError(
                "objective.consistency_weight and objective.consistency_mask compare the depths "
                "of target and sources, but the model predicted none of the sources: set both to "
                "0 and false, or let the model predict the depth of every frame"
            )
        with torch.autocast(device_type=batch.K_b33.device.type, enabled=False):
            context = LossContext(self.config, batch, output)
            terms = {
                name: weight * value
                for name, (weight, term) in self._terms.items()
                if (value := term(context)) is not None
            }
            total = torch.stack(list(terms.values())).sum()
            parts = {"total": total, **terms, **_diagnostics(output)}
        return total, {name: value.detach() for name, value in parts.items()}


def photometric(context: LossContext) -> Tensor:
    """Error of the target as reconstructed from the sources, summed over the scales."""
    errors = []
    for scale, found in enumerate(context.reconstructions):
        error = photometric_error(found.view.target, found.warped_bs3hw, context.config)
        confidence = _confidence(context, scale, found)
        errors.append(
            minimum_over_sources(error, found.valid_bshw, found.view.still_error_bshw, confidence)
            if context.config.minimum_reprojection
            else mean_over_sources(error, found.valid_bshw, confidence)
        )
    return torch.stack(errors).sum()


def smoothness(context: LossContext) -> Tensor:
    """Roughness of disparity or depth, summed over the scales with decreasing weight."""
    config, output = context.config, context.output
    maps = output.depths_b1hw if config.smoothness_of == "depth" else output.disparities_b1hw
    errors = []
    for scale, map_b1hw in enumerate(maps):
        values = map_b1hw.float()
        if config.smoothness == "second_order":
            roughness = regularizers.second_order(values)
        else:
            roughness = regularizers.edge_aware(values, context.target(size_of(values)))
        errors.append(roughness / config.smoothness_scale_divisor**scale)
    return torch.stack(errors).sum()


def mask_regularizer(context: LossContext) -> Tensor | None:
    """Cost of an explainability mask below 1, summed over the scales."""
    masks = context.output.mask_logits_bshw
    if not masks:
        return None
    return torch.stack([regularizers.mask_cross_entropy(logits.float()) for logits in masks]).sum()


def geometry_consistency(context: LossContext) -> Tensor:
    """Mean inconsistency of the depths (Bian et al. eq. 6), summed over the scales."""
    errors = []
    for found in context.reconstructions:
        assert found.inconsistency_bshw is not None
        errors.append(mean_over_sources(found.inconsistency_bshw, found.valid_bshw))
    return torch.stack(errors).sum()


def depth_supervision(context: LossContext) -> Tensor | None:
    """Log-depth error against the ground truth."""
    ground_truth, has_depth = context.batch.depth_target_b1hw, context.batch.has_depth_b
    if ground_truth is None or has_depth is None:
        return None
    depths = [depth.float() for depth in context.output.depths_b1hw]
    return log_depth_error(depths, ground_truth, has_depth, context.config.sky_depth)


def teacher(context: LossContext) -> Tensor | None:
    """Robust error against semi-dense depth."""
    known, has_depth = context.batch.depth_target_b1hw, context.batch.has_depth_b
    if known is None or has_depth is None:
        return None
    return teacher_error([d.float() for d in context.output.depths_b1hw], known, has_depth)


def pose_supervision(context: LossContext) -> Tensor | None:
    """Motion error against the ground truth."""
    ground_truth, has_motion = context.batch.T_source_target_bs44, context.batch.has_motion_b
    if ground_truth is None or has_motion is None:
        return None
    return motion_error(context.output.T_source_target_bs44.float(), ground_truth, has_motion)


def matching(context: LossContext) -> Tensor | None:
    """Error of the matches of a pose network against known depth and motion."""
    batch, matches = context.batch, context.output.matches
    depth, has_depth = batch.depth_target_b1hw, batch.has_depth_b
    T_bs44, has_motion = batch.T_source_target_bs44, batch.has_motion_b
    if matches is None or depth is None or has_depth is None:
        return None
    if T_bs44 is None or has_motion is None:
        return None
    return matching_error(matches, depth, T_bs44, batch.K_b33.float(), has_depth * has_motion)


def velocity_supervision(context: LossContext) -> Tensor | None:
    """Error of the distance against a known one."""
    distance_bs = context.batch.distance_bs
    if distance_bs is None:
        return None
    return velocity_loss(context.output.T_source_target_bs44.float(), distance_bs.float())


def _confidence(context: LossContext, scale: int, found: Reconstruction) -> Tensor | None:
    """Product of consistency and explainability mask (b, s, h, w); None without either."""
    confidence = None
    if context.config.consistency_mask:
        assert found.inconsistency_bshw is not None
        confidence = regularizers.consistency_mask(found.inconsistency_bshw)
    if context.output.mask_logits_bshw:
        logits = context.output.mask_logits_bshw[scale].float()
        mask = resized(logits, size_of(found.valid_bshw)).sigmoid()
        confidence = mask if confidence is None else confidence * mask
    return confidence


@torch.no_grad()
def _diagnostics(output: ModelOutput) -> dict[str, Tensor]:
    disparity = output.disparities_b1hw[0].float().flatten(1)
    spread = {"disparity_spread": (disparity.std(dim=1) / disparity.mean(dim=1)).mean()}
    if not output.has_motion:
        return spread
    distance = output.T_source_target_bs44[..., :3, 3].float().norm(dim=-1)
    mean_distance = mean_over_processes(distance.mean())
    variance = mean_over_processes((distance - mean_distance).square().mean())
    return {
        **spread,
        "translation_norm": mean_distance,
        "translation_spread": variance.sqrt(),
    }
