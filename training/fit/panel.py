"""An overview image of one window for TensorBoard."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.batch import Batch, target_index
from training.config import ObjectiveConfig
from training.fit.validation import reconstruct_target
from training.losses.photometric import LocalMoments, photometric_error


@torch.no_grad()
def panel(model: nn.Module, batch: Batch, config: ObjectiveConfig) -> Tensor:
    """The first window of a batch as a column of images.

    Target; its last source, warped, black where invalid; the difference, three times as bright;
    the explainability mask, if there is one; the auto-mask, if it is used (white: pixels that
    count, black: those that an unmoved source explains better); depth, near is bright. Without a
    pose network only target and depth.

    Returns:
        (3, rows x h, w), RGB in [0, 1].
    """
    rgb, clean, K = batch.rgb_bn3hw[:1], batch.rgb_clean_bn3hw[:1], batch.K_b33[:1]
    first = Batch(rgb_bn3hw=rgb, rgb_clean_bn3hw=clean, K_b33=K)
    was_training = model.training
    model.eval()
    output = model(first.rgb_bn3hw, first.K_b33)
    model.train(was_training)
    if not output.has_motion:
        rows = [clean[0, target_index(clean.shape[1])], color_depth(output.depths_b1hw[0][0])]
        return torch.cat([row.float().clamp(0, 1) for row in rows], dim=1)
    target, sources, warped, valid = reconstruct_target(first, output)
    shown = warped[0, -1] * valid[0, -1]
    rows = [target[0], shown, 3 * (shown - target[0]).abs().mean(0, keepdim=True) * valid[0, -1]]
    if output.mask_logits_bshw:
        rows.append(output.mask_logits_bshw[0][0, -1:].float().sigmoid())
    if config.auto_mask:
        rows.append(_moving(target, sources, warped, valid, config)[0])
    rows.append(color_depth(output.depths_b1hw[0][0]))
    return torch.cat([row.float().clamp(0, 1).expand(3, -1, -1) for row in rows], dim=1)


def color_depth(depth_1hw: Tensor) -> Tensor:
    """Depth as an image (3, h, w): near is bright; inverse depth between its quantiles."""
    inv_depth = 1.0 / depth_1hw.float().clamp_min(1e-6)
    low, high = (torch.quantile(inv_depth, q) for q in (0.02, 0.98))
    x = ((inv_depth - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    # A dark-blue to yellow ramp without a plotting library.
    return torch.cat([x.pow(0.7), x.pow(1.3) * 0.9, 0.35 + 0.3 * x - 0.6 * x * x], dim=0)


def _moving(
    target: Tensor, sources: Tensor, warped: Tensor, valid: Tensor, config: ObjectiveConfig
) -> Tensor:
    """Mask (b, 1, h, w) of pixels that a warped source explains better than any unmoved one."""
    moments = LocalMoments(target.unsqueeze(1))
    best, still = (photometric_error(moments, views, config) for views in (warped, sources))
    invalid = torch.finfo(best.dtype).max
    return best.where(valid[:, :, 0], invalid).amin(1, keepdim=True) < still.amin(1, keepdim=True)
