"""Is the training going wrong, and what should be changed? Asked while it runs.

A collapsed network still has a loss that falls. What tells is the depth (flat, or saturated where
the sigmoid has no slope), the motion (none, or the same for every window) and the loss compared
with what it was at the start. Shape letters as in training/batch.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import Any

import torch
from torch import Tensor

from training.batch import Batch, ModelOutput, camera_of
from training.config import NetworkConfig
from training.distributed import mean_over_processes, world_size

GRACE = 100
"""Steps before depth and motion are judged: the initial networks are flat and slow."""
LOOKS = 5
"""The median of so many looks is judged, not a single batch."""
LOSS_STEPS = 50
"""Steps the loss is averaged over."""
FALL_JUDGED_FROM = 1000
"""Step at which the loss must have fallen; in a long run a tenth of it, in a shorter one never."""

FLAT_SPREAD = 0.1
"""Spread of disparity over an image, divided by its mean, below which it is called flat."""
SATURATED_SLOPE = 0.0025
"""Slope of the sigmoid, whose greatest is 0.25, below which a pixel learns nothing any more."""
SATURATED_SHARE = 0.9
VANISHED_PX = 0.02
"""Mean shift of the image by the translation, below which there is no motion."""
DEAD_SPREAD = 5e-3
"""Spread of the motions over the windows, relative to their size, below which they are one."""
EXPLODED = 1.5
"""Mean loss over the lowest mean loss there was."""
EXPECTED_FALL = 0.2


@torch.no_grad()
def vital_signs(batch: Batch, output: ModelOutput, network: NetworkConfig) -> dict[str, Tensor]:
    """What collapses first, over the batch of all processes.

    Returns:
        ``saturated``: share of the pixels at which the sigmoid of the disparity has no slope left,
        with a minus sign where most of them lie at the far end; ``parallax_px``: mean shift of
        the image by the translation; ``motion_spread``: standard deviation of the predicted
        motions over the windows, relative to their size (nan where there is but one window).
    """
    sigmoid = (
        output.disparities_b1hw[0].float() - network.disparity_beta
    ) / network.disparity_alpha
    stuck = sigmoid * (1 - sigmoid) < SATURATED_SLOPE
    far = mean_over_processes((stuck & (sigmoid < 0.5)).float().mean())
    near = mean_over_processes((stuck & (sigmoid >= 0.5)).float().mean())
    T = output.T_source_target_bs44.float()
    distance_bs = T[..., :3, 3].norm(dim=-1)
    inv_depth_b = output.depths_b1hw[0].float().reciprocal().mean(dim=(1, 2, 3))
    shift_bs = distance_bs * (inv_depth_b * camera_of(batch, output)[:, 0, 0].float())[:, None]
    spread = torch.maximum(
        _relative_spread(T[..., :3, 3]),
        _relative_spread((T - torch.eye(4, device=T.device))[..., :3, :3].flatten(-2)),
    )
    return {
        "saturated": torch.where(far > near, -(far + near), far + near),
        "parallax_px": mean_over_processes(shift_bs.mean()),
        "motion_spread": spread
        if len(T) * world_size() > 1
        else torch.full_like(spread, torch.nan),
    }


def _relative_spread(vector_bsc: Tensor) -> Tensor:
    mean_sc = mean_over_processes(vector_bsc.mean(dim=0))
    variance = mean_over_processes((vector_bsc - mean_sc).square().sum(dim=-1).mean())
    size = mean_over_processes(vector_bsc.norm(dim=-1).mean())
    return variance.sqrt() / size.clamp(min=1e-12)


class Watch:
    """Raises each alarm once in a run.

    Args:
        steps: length of the run.
        fresh: whether it begins with untrained networks, whose loss must fall. Judged once.
    """

    def __init__(self, steps: int, fresh: bool = True) -> None:
        self._steps, self._fresh = steps, fresh
        self._said: set[str] = set()
        self._looks: deque[dict[str, float]] = deque(maxlen=LOOKS)
        self._count = 0
        self._mean: Tensor | None = None
        self._first: Tensor | None = None
        self._lowest: Tensor | None = None

    def add(self, loss: Tensor) -> None:
        """Take note of the loss of a step; nothing waits for the device."""
        self._count += 1
        if self._mean is None:
            self._mean = loss.detach().float().clone()
            # One batch may be an easy one.
            self._lowest = 2 * self._mean
        self._mean.lerp_(loss.detach().float(), 1 / min(self._count, LOSS_STEPS))
        if self._count == LOSS_STEPS:
            self._first = self._mean.clone()

    def look(self, step: int, figures: Mapping[str, float]) -> dict[str, str]:
        """What is wrong and was not said before: texts by cause.

        Args:
            step: number of steps done.
            figures: ``disparity_spread``, the vital signs and ``gradient_norm`` of this step.
        """
        self._looks.append(dict(figures))
        found = self._about_the_loss(step)
        if step >= GRACE and len(self._looks) == LOOKS:
            names = ("disparity_spread", "saturated", "parallax_px", "motion_spread")
            found |= _about_the_networks({n: median(v[n] for v in self._looks) for n in names})
        return self.news(found)

    def news(self, alarms: Mapping[str, str]) -> dict[str, str]:
        """Those of the alarms, texts by cause, that were not raised before."""
        new = {cause: text for cause, text in alarms.items() if cause not in self._said}
        self._said.update(new)
        return new

    def state_dict(self) -> dict[str, Any]:
        """Plain values, from which a resumed run goes on watching."""
        return {
            "fresh": self._fresh,
            "said": sorted(self._said),
            "looks": list(self._looks),
            "count": self._count,
            "mean": None if self._mean is None else float(self._mean),
            "first": None if self._first is None else float(self._first),
            "lowest": None if self._lowest is None else float(self._lowest),
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Inverse of ``state_dict``."""
        self._fresh, self._said = state["fresh"], set(state["said"])
        self._looks = deque(state["looks"], maxlen=LOOKS)
        self._count = state["count"]
        self._mean, self._first, self._lowest = (
            None if state[name] is None else torch.tensor(state[name], device=device)
            for name in ("mean", "first", "lowest")
        )

    def _about_the_loss(self, step: int) -> dict[str, str]:
        if self._mean is None or self._lowest is None:
            return {}
        if self._count >= LOSS_STEPS:
            self._lowest = torch.minimum(self._lowest, self._mean)
        mean, lowest, found = float(self._mean), float(self._lowest), {}
        if mean > EXPLODED * lowest:
            found["exploding loss"] = (
                f"the loss explodes: {mean:.4g} on average, {lowest:.4g} before (gradient "
                f"{self._looks[-1]['gradient_norm']:.3g}); lower optim.learning_rate or set "
                "optim.gradient_clip, and begin again"
            )
        if self._first is None:
            return found
        first = float(self._first)
        fall = 1 - mean / first
        if self._fresh and step >= max(FALL_JUDGED_FROM, self._steps // 10):
            self._fresh = False
            if fall < EXPECTED_FALL:
                found["no fall"] = (
                    f"the loss has fallen by {100 * fall:.0f} % since the first {LOSS_STEPS} "
                    f"steps ({first:.4g} to {mean:.4g}; expected {100 * EXPECTED_FALL:.0f} %): "
                    "if the ratio to standing still has not fallen either, nothing has been "
                    "learned; check that the data moves (prepare.py reports it) and its "
                    "calibration, and try another optim.learning_rate"
                )
        return found


def _about_the_networks(signs: Mapping[str, float]) -> dict[str, str]:
    found = {}
    flat, saturated = signs["disparity_spread"], signs["saturated"]
    if abs(saturated) > SATURATED_SHARE:
        end = "far" if saturated < 0 else "near"
        found["saturated depth"] = (
            f"the depth is saturated: {100 * abs(saturated):.0f} % of the pixels lie at the {end} "
            "end of its range, where nothing is learned any more; begin again with a lower "
            "optim.learning_rate (2e-4 is the published one), a higher network.translation_factor "
            "or network.disparity_bias nearer to -1.5"
        )
    elif flat < FLAT_SPREAD:
        found["flat depth"] = (
            f"the depth is flat: its disparity varies by {100 * flat:.1f} % over an image, "
            f"expected above {100 * FLAT_SPREAD:.0f} %; lower optim.learning_rate or "
            "objective.smoothness_weight, or move network.disparity_bias away from saturation "
            "(about -1.5)"
        )
    if signs["parallax_px"] < VANISHED_PX:
        found["no motion"] = (
            f"the motion vanishes: it moves the images by {signs['parallax_px']:.2g} px; "
            "raise network.translation_factor, or objective.mask_weight (a mask near 0 hides "
            "every error), lower objective.smoothness_weight, or take faster video"
        )
    elif signs["motion_spread"] < DEAD_SPREAD:
        found["dead motion"] = (
            "the pose network says the same motion for every window (spread "
            f"{signs['motion_spread']:.1g} of its size): the image dies on its way through; "
            "lower optim.learning_rate, or begin again with another run.seed or a higher "
            "network.translation_factor"
        )
    return found
