"""Validation on held-out windows: view synthesis, depth and motion.

Shape letters as in training/batch.py.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn

from training.batch import Batch, ModelOutput, camera_of, source_indices, target_index
from training.data.batcher import Batcher
from training.data.sampling import TrainingWindow
from training.fit.alarm import FLAT_SPREAD
from training.geometry.warp import warp_sources

DEAD_SPREAD = 1e-3
"""Relative spread of the predicted motions below which the pose network counts as dead."""
MAX_DEPTH_M = 80.0
Values = defaultdict[str, list[float]]
"""Figures of single images and windows by name, over all batches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Validation:
    """Figures of one validation, nan if not available.

    Attributes:
        has_motion: whether a motion was predicted.
        photo: mean absolute difference between the target and the best of its warped sources.
        photo_still: the same, on the same pixels, for unmoved sources.
        abs_rel: depth error after scaling by the median of each image.
        abs_rel_metric: depth error as predicted.
        flatness: spread of disparity over an image divided by its mean.
        translation, translation_spread: mean and standard deviation of |t|.
        yaw_spread_deg: standard deviation of yaw.
        translation_correlation, yaw_correlation: with the ground truth, over the windows that
            have it.
    """

    has_motion: bool
    photo: float
    photo_still: float
    abs_rel: float
    abs_rel_metric: float
    flatness: float
    translation: float
    translation_spread: float
    yaw_spread_deg: float
    translation_correlation: float
    yaw_correlation: float

    @property
    def score(self) -> float:
        """Criterion of the best checkpoint; smaller is better.

        The photometric error by the predicted depth and motion over that of standing still; if
        no motion is predicted, the error of depth as predicted.
        """
        if not self.has_motion:
            return self.abs_rel_metric
        return self.photo / self.photo_still if self.photo_still > 0 else math.nan

    def figures(self) -> dict[str, float]:
        """Finite figures by name, for the log."""
        values = asdict(self) | {"score": self.score}
        del values["has_motion"]
        return {f"validation/{name}": v for name, v in values.items() if math.isfinite(v)}

    def line(self) -> str:
        """Summary in one line."""
        parts = [f"flatness {self.flatness:.2f}"]
        if self.has_motion:
            photo = (
                f"photo {self.photo:.4f} (standing still {self.photo_still:.4f}, "
                f"ratio {self.score:.3f})"
            )
            motion = (
                f"|t| {self.translation:.3f} +- {self.translation_spread:.3f}",
                f"yaw +- {self.yaw_spread_deg:.2f} deg",
            )
            parts = [photo, *parts, *motion]
        if math.isfinite(self.abs_rel):
            parts.append(f"abs_rel {self.abs_rel:.3f} (metric {self.abs_rel_metric:.3f})")
        if math.isfinite(self.translation_correlation):
            parts.append(f"|t| corr {self.translation_correlation:.2f}")
        if math.isfinite(self.yaw_correlation):
            parts.append(f"yaw corr {self.yaw_correlation:.2f}")
        return ", ".join(parts)

    def alarms(self) -> dict[str, str]:
        """What is wrong, and what to change: texts by cause, named as in alarm.py."""
        found = {}
        if self.flatness < FLAT_SPREAD:
            found["flat depth"] = (
                f"the depth of the held-out windows is flat (spread of disparity / mean = "
                f"{self.flatness:.3f}, expected above {FLAT_SPREAD}): lower optim.learning_rate "
                "or objective.smoothness_weight, or move network.disparity_bias away from "
                "saturation (about -1.5)"
            )
        if not self.has_motion:
            return found
        if self.score > 0.98:
            found["nothing explained"] = (
                f"the warped images explain the target no better than standing still "
                f"(ratio {self.score:.3f}): depth or motion has not been learned yet; if this "
                "persists, try another optim.learning_rate or a higher "
                "network.translation_factor"
            )
        relative = self.translation_spread / max(self.translation, 1e-12)
        if relative < DEAD_SPREAD and self.yaw_spread_deg < 1e-3:
            found["dead motion"] = (
                "the pose network predicts the same motion for every held-out window: the signal "
                "dies on its way through (initialization), or network.translation_factor is far "
                "too small"
            )
        return found


@torch.no_grad()
def validate(
    model: Callable[[Tensor, Tensor], ModelOutput],
    batcher: Batcher,
    windows: Sequence[TrainingWindow],
    batch_size: int,
    device: torch.device,
) -> Validation:
    """Evaluate a model on these windows. A module is put into eval mode and back."""
    was_training = isinstance(model, nn.Module) and model.training
    if isinstance(model, nn.Module):
        model.eval()
    values: Values = defaultdict(list)
    for start in range(0, len(windows), batch_size):
        part = windows[start : start + batch_size]
        batch = batcher.batch_of(part).to(device)
        output = model(batch.rgb_bn3hw, batch.K_b33)
        _add_depth(values, batch, output)
        if output.has_motion:
            _add_photo(values, batch, output)
            _add_motion(values, batcher, part, output)
    if isinstance(model, nn.Module):
        model.train(was_training)
    return _summary(values)


def reconstruct_target(batch: Batch, output: ModelOutput) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The target as reconstructed from each source.

    Returns:
        target (b, 3, h, w), sources and warped (b, s, 3, h, w), valid (b, s, 1, h, w) bool.
    """
    frames = batch.rgb_clean_bn3hw
    length = frames.shape[1]
    sources = frames[:, source_indices(length)]
    warped, valid, _ = warp_sources(
        sources, output.depths_b1hw[0], output.T_source_target_bs44, camera_of(batch, output)
    )
    return frames[:, target_index(length)], sources, warped, valid.unsqueeze(2)


def _add_photo(values: Values, batch: Batch, output: ModelOutput) -> None:
    target, sources, warped, valid = reconstruct_target(batch, output)
    difference = (warped - target[:, None]).abs().mean(2, keepdim=True)
    best = difference.masked_fill(~valid, math.inf).amin(1)
    still = (sources - target[:, None]).abs().mean(2, keepdim=True).amin(1)
    visible = torch.isfinite(best)
    for i in range(len(target)):
        # A model that moves everything out of the image counts as standing still.
        mask = visible[i] if visible[i].any() else torch.ones_like(visible[i])
        error = torch.where(visible[i], best[i], still[i])
        values["photo"].append(float(error[mask].mean()))
        values["photo_still"].append(float(still[i][mask].mean()))


def _add_depth(values: Values, batch: Batch, output: ModelOutput) -> None:
    for disparity in output.disparities_b1hw[0].float():
        values["flatness"].append(float(disparity.std() / disparity.mean().abs().clamp_min(1e-12)))
    if batch.depth_target_b1hw is None:
        return
    depths = output.depths_b1hw[0].float()
    for ground_truth, depth in zip(batch.depth_target_b1hw, depths, strict=True):
        known = (ground_truth > 0) & (ground_truth <= MAX_DEPTH_M)
        if not known.any():
            continue
        t, d = ground_truth[known], depth[known]
        scale = t.median() / d.median()
        values["abs_rel"].append(float(((scale * d - t).abs() / t).mean()))
        values["abs_rel_metric"].append(float(((d - t).abs() / t).mean()))


def _add_motion(
    values: Values, batcher: Batcher, windows: Sequence[TrainingWindow], output: ModelOutput
) -> None:
    # The last source follows the target: its motion is the inverse of the newest increment.
    T = output.T_source_target_bs44[:, -1].double().cpu().numpy()
    for window, predicted in zip(windows, T, strict=True):
        ground_truth = batcher.gt_motion(window)
        last = np.full((4, 4), np.nan) if ground_truth is None else ground_truth[-1]
        for prefix, motion in (("", predicted), ("gt_", last)):
            yaw = math.atan2(motion[0, 2], motion[2, 2])
            values[f"{prefix}translation"].append(float(np.linalg.norm(motion[:3, 3])))
            values[f"{prefix}yaw"].append(math.degrees(yaw))


def _summary(values: Values) -> Validation:
    means = ("photo", "photo_still", "abs_rel", "abs_rel_metric", "flatness", "translation")
    return Validation(
        has_motion="translation" in values,
        **{name: float(np.mean(values[name] or math.nan)) for name in means},
        translation_spread=_spread(values["translation"]),
        yaw_spread_deg=_spread(values["yaw"]),
        translation_correlation=_correlation(values["translation"], values["gt_translation"]),
        yaw_correlation=_correlation(values["yaw"], values["gt_yaw"]),
    )


def _spread(values: list[float]) -> float:
    return float(np.std(values)) if values else math.nan


def _correlation(predicted: list[float], ground_truth: list[float]) -> float:
    p, t = np.array(predicted), np.array(ground_truth)
    known = np.isfinite(t)
    if known.sum() < 3 or np.std(p[known]) < 1e-12 or np.std(t[known]) < 1e-12:
        return math.nan
    return float(np.corrcoef(p[known], t[known])[0, 1])
