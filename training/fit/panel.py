"""An overview image of one window for TensorBoard."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from sfm_ros.colormap import captioned, color_of_depth, known_depths, limits_of
from sfm_ros.datatypes import RgbImage
from training.batch import Batch, target_index
from training.config import ObjectiveConfig
from training.fit.validation import reconstruct_target
from training.losses.photometric import LocalMoments, photometric_error

_DIFFERENCE_GAIN = 3


@torch.no_grad()
def panel(model: nn.Module, batch: Batch, config: ObjectiveConfig) -> RgbImage:
    """The first window of a batch as a column of images, each with a caption.

    Target; its last source, warped, black where invalid; the difference, three times as bright;
    the explainability mask, if there is one; the auto-mask, if it is used; depth. Without a
    pose network only target and depth.

    Returns:
        (H, w, 3) uint8.
    """
    rgb, clean, K = batch.rgb_bn3hw[:1], batch.rgb_clean_bn3hw[:1], batch.K_b33[:1]
    first = Batch(rgb_bn3hw=rgb, rgb_clean_bn3hw=clean, K_b33=K)
    was_training = model.training
    model.eval()
    output = model(first.rgb_bn3hw, first.K_b33)
    model.train(was_training)
    rows = {"target": clean[0, target_index(clean.shape[1])]}
    if output.has_motion:
        target, sources, warped, valid = reconstruct_target(first, output)
        shown = warped[0, -1] * valid[0, -1]
        rows["last source, warped onto it; black = outside"] = shown
        difference = (shown - target[0]).abs().mean(0, keepdim=True) * valid[0, -1]
        rows[f"difference, {_DIFFERENCE_GAIN}x as bright"] = _DIFFERENCE_GAIN * difference
        if output.mask_logits_bshw:
            mask = output.mask_logits_bshw[0][0, -1:].float().sigmoid()
            rows["explainability mask, white = counts"] = mask
        if config.auto_mask:
            counts = _moving(target, sources, warped, valid, config)[0]
            rows["auto-mask, white = counts, black = unmoved fits better"] = counts
    images = [captioned(_pixels(row), caption) for caption, row in rows.items()]
    return np.vstack([*images, _depth_row(output.depths_b1hw[0][0, 0])])


def _pixels(image: Tensor) -> RgbImage:
    """(3, h, w) or (1, h, w) in [0, 1] as (h, w, 3) uint8."""
    rgb = image.float().clamp(0, 1).expand(3, -1, -1).permute(1, 2, 0)
    return np.ascontiguousarray((255 * rgb).round().byte().cpu().numpy())


def _depth_row(depth_hw: Tensor) -> RgbImage:
    depth = depth_hw.float().cpu().numpy()
    limits = limits_of(known_depths(depth))
    near, far = (f"{float(f'{limit:.2g}'):g}" for limit in limits)
    return captioned(color_of_depth(depth, limits), f"depth, {near} to {far}, bright = near")


def _moving(
    target: Tensor, sources: Tensor, warped: Tensor, valid: Tensor, config: ObjectiveConfig
) -> Tensor:
    """Mask (b, 1, h, w) of pixels that a warped source explains better than any unmoved one."""
    moments = LocalMoments(target.unsqueeze(1))
    best, still = (photometric_error(moments, views, config) for views in (warped, sources))
    invalid = torch.finfo(best.dtype).max
    return best.where(valid[:, :, 0], invalid).amin(1, keepdim=True) < still.amin(1, keepdim=True)
