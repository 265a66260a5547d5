"""Layers and an optimizer that a CPU computes faster; networks and losses do not depend on them.

What they compute, and the names of their state, are those of torch's own. ``run.cpu_kernels``
switches convolutions and optimizer, each of which is here because it was measured to pay
(benchmarks/training_throughput.py --plain). Batch normalization over several processes has no
equivalent in torch for a CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn

Layer = TypeVar("Layer", bound=nn.Module)


def replace_layers(
    model: nn.Module, kind: type[Layer], replacement: Callable[[Layer], nn.Module]
) -> None:
    """Replace, in place, every layer of exactly this type by ``replacement(layer)``."""
    for parent in list(model.modules()):
        for name, layer in parent.named_children():
            if type(layer) is kind:
                setattr(parent, name, replacement(layer))
