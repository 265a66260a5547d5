"""Inverse depth from several views, in torch: what ``sfm_ros.depth.multiview`` computes.

It has no learned weights and exports to ONNX, to run on a GPU. The steps, their order and their
constants are those of the compiled version; see there for what they are for. Letters of shapes:
b batch, s sources, k hypotheses, h, w image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfm_ros.depth.multiview_config import (
    MIN_RELATIVE_DEPTH,
    OUT_OF_VIEW,
    TINY,
    MultiViewConfig,
    relative_variance,
)
from training.geometry.camera import inverse_intrinsics, scale_intrinsics
from training.geometry.warp import sample_bilinear


class MultiView(nn.Module):
    """Measures inverse depth around a prior."""

    def __init__(self, config: MultiViewConfig | None = None) -> None:
        super().__init__()
        self.config = config or MultiViewConfig()

    def forward(
        self,
        target_bhw: Tensor,
        sources_bshw: Tensor,
        T_source_target_bs44: Tensor,
        K_b33: Tensor,
        inv_depth_bhw: Tensor,
        sigma_bhw: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Measure.

        Args:
            target_bhw, sources_bshw: gray images, uint8 or float, 0 to 255.
            T_source_target_bs44: motions, target to source.
            K_b33: intrinsics, pixels.
            inv_depth_bhw: the prior, > 0.
            sigma_bhw: its standard deviation.

        Returns:
            Inverse depth and its standard deviation, (b, h, w), and whether they are valid, bool.
        """
        config = self.config
        # TensorRT does nothing with uint8 but convert it.
        images_bshw = torch.cat([target_bhw.float().unsqueeze(1), sources_bshw.float()], dim=1)
        spread = sigma_bhw / inv_depth_bhw * config.range_sigmas
        reach = spread.clamp(config.min_range, config.max_range)
        half = _Search(
            F.avg_pool2d(images_bshw, 2),
            T_source_target_bs44,
            scale_intrinsics(K_b33, 0.5, 0.5),
            config,
        )
        shift, margin = half.find_coarse(*(F.avg_pool2d(a, 2) for a in (inv_depth_bhw, reach)))
        size = inv_depth_bhw.shape[-2:]
        shift, margin = (_doubled(a, *size) for a in (shift, margin))
        full = _Search(images_bshw, T_source_target_bs44, K_b33, config)
        return full.find_fine(inv_depth_bhw * shift.exp(), reach, margin)


@dataclass(frozen=True, slots=True)
class _Minimum:
    """Of the costs of each pixel: see ``sfm_ros.depth.kernels.find_best``; (b, h, w) each."""

    position: Tensor
    least: Tensor
    curvature: Tensor
    margin: Tensor

    @staticmethod
    def of(cost_bkhw: Tensor) -> _Minimum:
        last = cost_bkhw.shape[1] - 1
        index = cost_bkhw.argmin(dim=1, keepdim=True)
        low, middle, high = (
            cost_bkhw.gather(1, (index + k).clamp(0, last)).squeeze(1) for k in (-1, 0, 1)
        )
        steps = torch.arange(last + 1, device=index.device).view(1, -1, 1, 1)
        other = torch.where((steps - index).abs() > 2, cost_bkhw, OUT_OF_VIEW).amin(dim=1)
        index = index.squeeze(1)
        is_inner = (index > 0) & (index < last)
        bend = (low - 2 * middle + high).clamp(min=1e-6)
        position = torch.where(is_inner, index + 0.5 * (low - high) / bend, -1.0)
        return _Minimum(position, middle, torch.where(is_inner, bend, 0.0), other - middle)


class _Search:
    """The images of one size, normalized, and where they see each other."""

    def __init__(
        self, images_bshw: Tensor, T_bs44: Tensor, K_b33: Tensor, config: MultiViewConfig
    ) -> None:
        self._config = config
        normalized = _normalized(images_bshw, config)
        self._target, self._sources = normalized[:, :1], normalized[:, 1:]
        K = K_b33.unsqueeze(1)
        A_bs33 = K @ T_bs44[..., :3, :3] @ inverse_intrinsics(K)
        height, width = images_bshw.shape[-2:]
        rows = torch.arange(height, device=A_bs33.device, dtype=A_bs33.dtype).view(-1, 1)
        columns = torch.arange(width, device=A_bs33.device, dtype=A_bs33.dtype)
        a = A_bs33[..., None, None]  # (b, s, 3, 3, 1, 1)
        # Where infinitely far points are seen, (b, s, 1, h, w), and what an inverse depth adds.
        self._far = [
            (a[:, :, i, 0] * columns + (a[:, :, i, 1] * rows + a[:, :, i, 2])).unsqueeze(2)
            for i in range(3)
        ]
        self._moves = (K @ T_bs44[..., :3, 3:])[..., None].unbind(2)  # (b, s, 1, 1) each

    def find_coarse(self, guess_bhw: Tensor, reach_bhw: Tensor) -> tuple[Tensor, Tensor]:
        """The logarithm of the inverse depth over the guess, and the margin, (b, h, w) each."""
        config, count = self._config, self._config.hypotheses
        spacing = 2 / (count - 1)
        places = torch.arange(count, device=guess_bhw.device).view(1, -1, 1, 1) * spacing - 1
        inv_depth = guess_bhw.unsqueeze(1) * (reach_bhw.unsqueeze(1) * places).exp()
        cost, _ = self._match(inv_depth, config.window)
        found = _Minimum.of(_smoothed(cost, config))
        is_inner = found.position > 0
        shift = reach_bhw * (found.position * spacing - 1)
        return torch.where(is_inner, shift, 0.0), torch.where(is_inner, found.margin, -1.0)

    def find_fine(
        self, center_bhw: Tensor, reach_bhw: Tensor, margin_bhw: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Inverse depth, its standard deviation and its validity, (b, h, w) each."""
        config, middle = self._config, self._config.fine_hypotheses // 2
        parallax = self._parallax(center_bhw)
        step = reach_bhw * (2 * config.fine_step / (config.hypotheses - 1))
        step = torch.minimum(step, config.fine_pixels / parallax)
        offsets = torch.arange(config.fine_hypotheses, device=step.device).view(1, -1, 1, 1)
        inv_depth = center_bhw.unsqueeze(1) * (step.unsqueeze(1) * (offsets - middle) + 1)
        cost, each = self._match(inv_depth, config.fine_window)
        joint = _Minimum.of(cost)
        gap = torch.stack([_source_gap(_Minimum.of(c), joint, config) for c in each]).amax(dim=0)
        found = center_bhw * (step * (joint.position - middle) + 1)
        valid = (joint.position > 0) & (joint.least < config.max_cost)
        valid &= (margin_bhw > config.min_margin) & (gap < config.max_source_gap)
        valid &= parallax > config.min_parallax
        variance = relative_variance(
            step,
            joint.curvature.clamp(min=TINY),
            gap.clamp(max=config.max_source_gap),
            margin_bhw.clamp(min=TINY),
            parallax,
            config.sigmas,
        )
        relative = variance.sqrt()
        valid &= relative < config.max_relative_sigma
        density = _blurred(valid.unsqueeze(1).to(found.dtype), config.density_window).squeeze(1)
        return found, relative * found, valid & (density > config.min_density)

    def _match(self, inv_depth_bkhw: Tensor, window: int) -> tuple[Tensor, list[Tensor]]:
        """Costs (b, k, h, w): the mean over the sources in view, and that of each source."""
        limit = self._config.truncation
        difference_bskhw = self._differences(inv_depth_bkhw)
        is_seen = difference_bskhw < OUT_OF_VIEW
        total = torch.where(is_seen, difference_bskhw, 0.0).sum(dim=1)
        seen = is_seen.to(total.dtype).sum(dim=1)
        mean = torch.where(seen > 0, total / seen.clamp(min=1), limit)
        each = [_blurred(difference, window) for difference in difference_bskhw.unbind(1)]
        return _blurred(mean, window), each

    def _differences(self, inv_depth_bkhw: Tensor) -> Tensor:
        """(b, s, k, h, w) |source - target|, truncated; `OUT_OF_VIEW` out of view."""
        inv_depth = inv_depth_bkhw.unsqueeze(1)
        x, y, z = self._projected(inv_depth)
        shape = z.shape
        height, width = shape[-2:]
        inverse_z = 1 / z.clamp(min=MIN_RELATIVE_DEPTH)
        u, v = x * inverse_z, y * inverse_z
        inside = (z > MIN_RELATIVE_DEPTH) & (u >= 0) & (u <= width - 1)
        inside = inside & (v >= 0) & (v <= height - 1)
        u, v = u.clamp(0, width - 1), v.clamp(0, height - 1)
        # All hypotheses are one tall grid over their source.
        tall = (shape[0] * shape[1], shape[2] * height, width)
        sources = self._sources.reshape(tall[0], 1, height, width)
        sample = sample_bilinear(sources, u.reshape(tall), v.reshape(tall)).view(shape)
        difference = (sample - self._target.unsqueeze(2)).abs()
        return torch.where(inside, difference.clamp(max=self._config.truncation), OUT_OF_VIEW)

    def _projected(self, inv_depth_b1khw: Tensor) -> list[Tensor]:
        """Homogeneous pixels (b, s, k, h, w) in the sources."""
        return [
            far + move.unsqueeze(2) * inv_depth_b1khw
            for far, move in zip(self._far, self._moves, strict=True)
        ]

    def _parallax(self, inv_depth_bhw: Tensor) -> Tensor:
        """Most pixels (b, h, w) per unit of the logarithm of the inverse depth."""
        w = inv_depth_bhw.unsqueeze(1)
        x, y, z = (p.squeeze(2) for p in self._projected(w.unsqueeze(1)))
        inverse_z = 1 / z.clamp(min=MIN_RELATIVE_DEPTH)
        bx, by, bz = self._moves
        du, dv = bx - bz * x * inverse_z, by - bz * y * inverse_z
        parallax = (du * du + dv * dv).sqrt() * w * inverse_z
        return parallax.amax(dim=1).clamp(min=TINY)


def _source_gap(found: _Minimum, joint: _Minimum, config: MultiViewConfig) -> Tensor:
    gap = torch.where(found.position > 0, (found.position - joint.position).abs(), OUT_OF_VIEW)
    return torch.where(found.least > config.truncation, 0.0, gap)


def _smoothed(cost_bkhw: Tensor, config: MultiViewConfig) -> Tensor:
    total = cost_bkhw
    for distance in config.smooth_distances:
        least = total.amin(dim=1, keepdim=True)
        below = torch.cat([total[:, :1], total[:, :-1]], dim=1)
        above = torch.cat([total[:, 1:], total[:, -1:]], dim=1)
        beside = torch.minimum(below, above) + config.small_jump
        message = (torch.minimum(total, beside) - least).clamp(max=config.large_jump)
        padded = F.pad(message, (distance,) * 4, mode="replicate")
        rows, columns = padded[..., distance:-distance], padded[:, :, distance:-distance]
        around = rows[:, :, : -2 * distance] + rows[:, :, 2 * distance :]
        around = around + columns[..., : -2 * distance] + columns[..., 2 * distance :]
        total = cost_bkhw + config.smooth_weight / 4 * around
    return total


def _normalized(images_bchw: Tensor, config: MultiViewConfig) -> Tensor:
    mean = _blurred(images_bchw, config.normal_window)
    square = _blurred(images_bchw * images_bchw, config.normal_window)
    deviation = (square - mean * mean).clamp(min=0).sqrt()
    return (images_bchw - mean) / (deviation + config.contrast)


def _blurred(images_bchw: Tensor, side: int) -> Tensor:
    padded = F.pad(images_bchw, (side // 2,) * 4, mode="replicate")
    return F.avg_pool2d(padded, side, stride=1)


def _doubled(image_bhw: Tensor, height: int, width: int) -> Tensor:
    """Each pixel repeated two by two, and at an odd border."""
    doubled = image_bhw.repeat_interleave(2, dim=-2).repeat_interleave(2, dim=-1)
    rest = (0, width - doubled.shape[-1], 0, height - doubled.shape[-2])
    return F.pad(doubled.unsqueeze(1), rest, mode="replicate").squeeze(1)
