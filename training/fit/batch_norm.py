"""Batch normalization over the batch of all processes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from training.distributed import world_size


def synchronize_batch_norm(model: nn.Module, device: torch.device) -> None:
    """Make every batch normalization see the batch of all processes. The state keeps its names."""
    if world_size() == 1:
        return
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
    else:
        for parent in list(model.modules()):
            for name, layer in parent.named_children():
                if type(layer) is nn.BatchNorm2d:
                    setattr(parent, name, _synchronized(layer))


def _synchronized(layer: nn.BatchNorm2d) -> SyncBatchNorm2d:
    result = SyncBatchNorm2d(layer.num_features, layer.eps, layer.momentum, device="meta")
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        setattr(result, name, getattr(layer, name))
    return result.train(layer.training)


class SyncBatchNorm2d(nn.BatchNorm2d):
    """Batch normalization over all processes on a CPU; ``nn.SyncBatchNorm`` needs a GPU.

    The processes have parts of equal size, so that a mean of means is the mean.
    """

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        values, world = input.float(), world_size()
        mean_c = all_reduce(values.mean(dim=(0, 2, 3))) / world
        centered = values - mean_c.view(1, -1, 1, 1)
        variance_c = all_reduce(centered.square().mean(dim=(0, 2, 3))) / world
        self._update_statistics(mean_c, variance_c, values.numel() // len(mean_c) * world)
        scale_c = self.weight * (variance_c + self.eps).rsqrt()
        result = centered * scale_c.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return result.to(input.dtype)

    @torch.no_grad()
    def _update_statistics(self, mean_c: Tensor, variance_c: Tensor, count: int) -> None:
        """Running statistics as torch keeps them: the variance is the unbiased one."""
        assert self.running_mean is not None and self.running_var is not None
        assert self.momentum is not None and self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean_c, self.momentum)
        self.running_var.lerp_(variance_c * (count / (count - 1)), self.momentum)
