"""Alarms: detects while training runs that it goes wrong, and suggests what to change.

A collapsed network still has a falling loss. Indicators are the depth (flat, or saturated, where
the sigmoid has no slope), the motion (none, or the same for every window) and the loss compared
with its start. Shape letters as in training/batch.py.
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

GRACE_STEPS = 100
"""Steps before depth and motion are checked: initial networks are flat and slow."""
SAMPLES = 5
"""The median of this many samples is checked, not a single batch."""
LOSS_STEPS = 50
"""Steps over which the loss is averaged."""
FALL_CHECKED_FROM = 1000
"""Step at which the loss must have fallen; in a long run a tenth of it, in a shorter one never."""

FLAT_SPREAD = 0.1
"""Spread of disparity over an image, divided by its mean, below which it is called flat."""
SATURATED_SLOPE = 0.0025
"""Slope of the sigmoid, at most 0.25, below which a pixel no longer learns."""
SATURATED_FRACTION = 0.9
VANISHED_PX = 0.02
"""Mean shift of the image by the translation below which there is no motion."""
DEAD_SPREAD = 5e-3
"""Spread of the motions over the windows, relative to their size, below which they are equal."""
EXPLODED = 1.5
"""Mean loss over the lowest mean loss so far."""
EXPECTED_FALL = 0.2

_INDICATORS = ("disparity_spread", "saturated", "parallax_px", "motion_spread")
_KEYS_BEFORE = {"said": "raised", "looks": "samples"}
"""Entries of ``AlarmMonitor.state_dict`` in checkpoints of version 0.1, by their old names."""


@torch.no_grad()
def collapse_indicators(
    batch: Batch, output: ModelOutput, network: NetworkConfig
) -> dict[str, Tensor]:
    """What collapses first, over the batch of all processes.

    Returns:
        ``saturated``: fraction of the pixels at which the sigmoid of the disparity has no slope,
        negative if most of them are at the far end; ``parallax_px``: mean shift of the image by
        the translation; ``motion_spread``: standard deviation of the predicted motions over the
        windows, relative to their size (nan for a single window). Both are nan without a pose
        network.
    """
    disparity = output.disparities_b1hw[0].float()
    sigmoid = (disparity - network.disparity_beta) / network.disparity_alpha
    stuck = sigmoid * (1 - sigmoid) < SATURATED_SLOPE
    far = mean_over_processes((stuck & (sigmoid < 0.5)).float().mean())
    near = mean_over_processes((stuck & (sigmoid >= 0.5)).float().mean())
    saturated = torch.where(far > near, -(far + near), far + near)
    if not output.has_motion:
        unknown = torch.full_like(saturated, torch.nan)
        return {"saturated": saturated, "parallax_px": unknown, "motion_spread": unknown}
    T = output.T_source_target_bs44.float()
    distance_bs = T[..., :3, 3].norm(dim=-1)
    inv_depth_b = output.depths_b1hw[0].float().reciprocal().mean(dim=(1, 2, 3))
    shift_bs = distance_bs * (inv_depth_b * camera_of(batch, output)[:, 0, 0].float())[:, None]
    spread = torch.maximum(
        _relative_spread(T[..., :3, 3]),
        _relative_spread((T - torch.eye(4, device=T.device))[..., :3, :3].flatten(-2)),
    )
    several = len(T) * world_size() > 1
    return {
        "saturated": saturated,
        "parallax_px": mean_over_processes(shift_bs.mean()),
        "motion_spread": spread if several else torch.full_like(spread, torch.nan),
    }


def _relative_spread(vector_bsc: Tensor) -> Tensor:
    mean_sc = mean_over_processes(vector_bsc.mean(dim=0))
    variance = mean_over_processes((vector_bsc - mean_sc).square().sum(dim=-1).mean())
    size = mean_over_processes(vector_bsc.norm(dim=-1).mean())
    return variance.sqrt() / size.clamp(min=1e-12)


class AlarmMonitor:
    """Raises each alarm once per run.

    Args:
        steps: length of the run.
        fresh: whether it starts with untrained networks, whose loss must fall. Checked once.
    """

    def __init__(self, steps: int, fresh: bool = True) -> None:
        self._steps, self._fresh = steps, fresh
        self._raised: set[str] = set()
        self._samples: deque[dict[str, float]] = deque(maxlen=SAMPLES)
        self._count = 0
        self._mean: Tensor | None = None
        self._first: Tensor | None = None
        self._lowest: Tensor | None = None

    def add_loss(self, loss: Tensor) -> None:
        """Record the loss of a step, without waiting for the device."""
        self._count += 1
        if self._mean is None:
            self._mean = loss.detach().float().clone()
            # One batch may be an easy one.
            self._lowest = 2 * self._mean
        self._mean.lerp_(loss.detach().float(), 1 / min(self._count, LOSS_STEPS))
        if self._count == LOSS_STEPS:
            self._first = self._mean.clone()

    def check(self, step: int, figures: Mapping[str, float]) -> dict[str, str]:
        """New alarms, texts by cause.

        Args:
            step: number of steps done.
            figures: ``disparity_spread``, the collapse indicators and ``gradient_norm``.
        """
        self._samples.append(dict(figures))
        found = self._check_loss(step)
        if step >= GRACE_STEPS and len(self._samples) == SAMPLES:
            medians = {n: median(s[n] for s in self._samples) for n in _INDICATORS}
            found |= _check_networks(medians)
        return self.new_among(found)

    def new_among(self, alarms: Mapping[str, str]) -> dict[str, str]:
        """The alarms, texts by cause, that were not raised before."""
        new = {cause: text for cause, text in alarms.items() if cause not in self._raised}
        self._raised.update(new)
        return new

    def state_dict(self) -> dict[str, Any]:
        """Plain values, from which a resumed run continues."""
        return {
            "fresh": self._fresh,
            "raised": sorted(self._raised),
            "samples": list(self._samples),
            "count": self._count,
            "mean": None if self._mean is None else float(self._mean),
            "first": None if self._first is None else float(self._first),
            "lowest": None if self._lowest is None else float(self._lowest),
        }

    def load_state_dict(self, state: Mapping[str, Any], device: torch.device) -> None:
        """Inverse of ``state_dict``; KeyError, TypeError or ValueError on anything else."""
        state = {_KEYS_BEFORE.get(key, key): value for key, value in state.items()}
        for sample in state["samples"]:
            values = [sample[name] for name in (*_INDICATORS, "gradient_norm")]
            if not all(isinstance(value, (int, float)) for value in values):
                raise TypeError("a sample of the alarms is no number")
        self._fresh, self._raised = state["fresh"], set(state["raised"])
        self._samples = deque(state["samples"], maxlen=SAMPLES)
        self._count = state["count"]
        self._mean, self._first, self._lowest = (
            None if state[name] is None else torch.tensor(state[name], device=device)
            for name in ("mean", "first", "lowest")
        )

    def _check_loss(self, step: int) -> dict[str, str]:
        if self._mean is None or self._lowest is None:
            return {}
        if self._count >= LOSS_STEPS:
            self._lowest = torch.minimum(self._lowest, self._mean)
        mean, lowest, found = float(self._mean), float(self._lowest), {}
        if mean > EXPLODED * lowest:
            found["exploding loss"] = (
                f"the loss explodes: {mean:.4g} on average, {lowest:.4g} before (gradient "
                f"{self._samples[-1]['gradient_norm']:.3g}); lower optim.learning_rate or set "
                "optim.gradient_clip, and restart"
            )
        if self._first is None:
            return found
        first = float(self._first)
        fall = 1 - mean / first
        if self._fresh and step >= max(FALL_CHECKED_FROM, self._steps // 10):
            self._fresh = False
            if fall < EXPECTED_FALL:
                found["no fall"] = (
                    f"the loss has fallen by {100 * fall:.0f} % since the first {LOSS_STEPS} "
                    f"steps ({first:.4g} to {mean:.4g}; expected {100 * EXPECTED_FALL:.0f} %): "
                    "if the ratio to standing still has not fallen either, nothing has been "
                    "learned; check that the camera moves (prepare.py reports it) and its "
                    "calibration, and try another optim.learning_rate"
                )
        return found


def _check_networks(indicators: Mapping[str, float]) -> dict[str, str]:
    found = {}
    spread, saturated = indicators["disparity_spread"], indicators["saturated"]
    if abs(saturated) > SATURATED_FRACTION:
        end = "far" if saturated < 0 else "near"
        found["saturated depth"] = (
            f"the depth is saturated: {100 * abs(saturated):.0f} % of the pixels are at the {end} "
            "end of its range and no longer learn; restart with a lower optim.learning_rate "
            "(2e-4 is the published one), a higher network.translation_factor or "
            "network.disparity_bias nearer to -1.5"
        )
    elif spread < FLAT_SPREAD:
        found["flat depth"] = (
            f"the depth is flat: its disparity varies by {100 * spread:.1f} % over an image, "
            f"expected above {100 * FLAT_SPREAD:.0f} %; lower optim.learning_rate or "
            "objective.smoothness_weight, or move network.disparity_bias away from saturation "
            "(about -1.5)"
        )
    if indicators["parallax_px"] < VANISHED_PX:
        found["no motion"] = (
            f"the motion vanishes: it shifts the images by {indicators['parallax_px']:.2g} px; "
            "raise network.translation_factor, or objective.mask_weight (a mask near 0 hides "
            "every error), lower objective.smoothness_weight, or use faster video"
        )
    elif indicators["motion_spread"] < DEAD_SPREAD:
        found["dead motion"] = (
            "the pose network predicts the same motion for every window (spread "
            f"{indicators['motion_spread']:.1g} of its size): the signal dies on its way through; "
            "lower optim.learning_rate, or restart with another run.seed or a higher "
            "network.translation_factor"
        )
    return found
