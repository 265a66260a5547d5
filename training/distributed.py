"""Several processes that train one model together, through torch.distributed.

Each process prepares its part of every batch (training/data/batcher.py) and gradients are averaged
over the processes. A loss that divides by a count divides by the count of the whole batch
(``shared_count``), and batch normalization covers the whole batch, so that the result is that of
one process with the same batch. Without ``torchrun`` all functions here are no-ops.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


@dataclass(frozen=True, slots=True)
class DistributedContext:
    """Rank of this process and number of processes, as set by ``torchrun``.

    Attributes:
        rank: 0 is the first, which alone logs, validates and saves.
        world: number of processes.
        local: rank on this machine, which is the index of its GPU.
        launched: whether ``torchrun`` started this process.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    launched: bool = False

    @staticmethod
    def of_this_process() -> DistributedContext:
        """Read it from the environment."""
        if "RANK" not in os.environ:
            return DistributedContext()
        rank, world, local = (int(os.environ[k]) for k in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
        return DistributedContext(rank, world, local, launched=True)

    @property
    def first(self) -> bool:
        """Whether this process logs, validates and saves."""
        return self.rank == 0


@contextmanager
def joined(context: DistributedContext) -> Iterator[None]:
    """Connect the processes, by NCCL between GPUs, else by Gloo; no-op if already connected."""
    if context.world == 1 or dist.is_initialized():
        yield
        return
    dist.init_process_group()
    try:
        yield
    finally:
        dist.destroy_process_group()


def world_size() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


@torch.no_grad()
def mean_over_processes(value: Tensor) -> Tensor:
    """Mean of a tensor over the processes, without a gradient; the same on all of them."""
    world = world_size()
    if world == 1:
        return value.detach()
    value = value.detach().clone()
    dist.all_reduce(value)
    return value / world


def shared_count(count: Tensor) -> Tensor:
    """Divisor of a sum in each process, for the mean over the whole batch.

    With ``N`` the sum and ``D`` the count of a process, the mean over the processes of
    ``N / mean(D)`` is ``sum(N) / sum(D)``. It is never zero, even if nothing is counted.
    """
    return mean_over_processes(count.float()).clamp(min=1 / world_size())


def greatest(value: int, device: torch.device) -> int:
    """The greatest value of all processes."""
    if world_size() == 1:
        return value
    values = torch.tensor(value, device=device)
    dist.all_reduce(values, op=dist.ReduceOp.MAX)
    return int(values)


def synchronize_batch_norm(model: nn.Module, device: torch.device) -> None:
    """Make every batch normalization see the batch of all processes. The state keeps its names."""
    if world_size() == 1:
        return
    if device.type == "cuda":
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
    else:
        for layer in model.modules():
            if type(layer) is nn.BatchNorm2d:
                layer.__class__ = _SyncBatchNorm2d  # only ``forward`` differs


class _SyncBatchNorm2d(nn.BatchNorm2d):
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
