"""The weights of a bundle, had back from its graphs: a training can start where a model ended.

An export keeps every weight, but for three changes: batch normalization becomes a part of the
convolution before it, the first convolution takes gray levels, and weights are filled up with
zeros (`training.exporting.rewrites`). The depth's coarser scales are not exported at all; their
heads stay as they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from sfm_ros.model_spec import ModelSpec
from training.exporting.graphs import EditedGraph
from training.exporting.parity import TOLERANCE, depth_difference, largest_difference
from training.exporting.storage import graph_paths, load_graph
from training.fit.checkpoint import CheckpointError, refuse_full_size_decoder
from training.networks.layers import HALF_RANGE
from training.networks.sfm_model import SfmModel

_PREFIX = "model."
"""Of the names of weights in graphs."""
_Layer = tuple[npt.NDArray, npt.NDArray | None]
"""Weights and bias of a convolution."""


def load_bundle(bundle: Path, model: SfmModel, networks: Sequence[str]) -> ModelSpec:
    """Load the networks of a bundle into a model of its recipe.

    The batch normalizations of its depth change nothing then; `normalize_by` prepares them for
    learning.

    Args:
        bundle: its folder.
        model: on the CPU.
        networks: ``depth``, or ``depth`` and ``pose``.

    Returns:
        What the bundle states about them.

    Raises:
        CheckpointError: the networks are of another kind or size, or ``pose`` alone.
        ModelError: the bundle cannot be read.
    """
    spec = ModelSpec.load(bundle)
    if "depth" not in networks:
        raise CheckpointError(
            f"the motion of the bundle {bundle} comes with its depth, expected --init-networks "
            "depth pose"
        )
    graphs = [EditedGraph(load_graph(path)) for path in graph_paths(bundle, spec)]
    shapes = {
        name.removeprefix(_PREFIX): shape
        for graph in graphs
        for name, shape in graph.constant_shapes().items()
    }
    refuse_full_size_decoder(bundle, shapes)
    try:
        for network in networks:
            _restore(getattr(model, f"{network}_net"), f"{_PREFIX}{network}_net", graphs)
        found = _difference(model, spec, bundle, networks)
    # A network of another kind has other layers, shapes, outputs or inputs.
    except (KeyError, RuntimeError, AttributeError, ValueError) as error:
        raise _refusal(bundle, networks, str(error)) from error
    if not found <= TOLERANCE:
        raise _refusal(bundle, networks, f"what they compute differs by {found:.1e}")
    return spec


def normalize_by(network: nn.Module, images: Iterable[Tensor]) -> None:
    """Give batch normalizations the statistics of images; what they compute stays the same.

    Args:
        network: takes RGB (b, 3, h, w).
        images: batches of it, at least one.
    """
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    seen: dict[nn.Module, list[Tensor]] = {norm: [] for norm in norms}

    def look(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        given = inputs[0].double()
        seen[norm].append(torch.stack([given.mean((0, 2, 3)), given.square().mean((0, 2, 3))]))

    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    was_training = network.training
    network.eval()
    with torch.no_grad():
        for batch in images:
            network(batch)
        for norm in norms:
            mean, square = torch.stack(seen[norm]).mean(0)
            _set_statistics(norm, mean, (square - mean.square()).clamp_min(0))
    for hook in hooks:
        hook.remove()
    network.train(was_training)


def _set_statistics(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Change the statistics, and gain and bias against them."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gain = norm.weight / (norm.running_var.double() + norm.eps).sqrt()
    norm.bias.copy_(norm.bias + (mean - norm.running_mean) * gain)
    norm.weight.copy_(gain * (variance + norm.eps).sqrt())
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)


_NORM = ("weight", "bias", "running_mean", "running_var")


def _restore(network: nn.Module, name: str, graphs: Sequence[EditedGraph]) -> None:
    """Set the weights of a network that is called ``name`` in the graphs."""
    exported = _Exported(graphs)
    merged = _merged_norms(network)
    with torch.no_grad():
        for part, layer in network.named_modules():
            if isinstance(layer, nn.Conv2d):
                exported.restore(f"{name}.{part}.weight", layer, merged.get(layer))
            elif isinstance(layer, nn.BatchNorm2d) and layer not in merged.values():
                state = {key: exported.constant(f"{name}.{part}.{key}") for key in _NORM}
                layer.load_state_dict(state, strict=False)


def _merged_norms(network: nn.Module) -> dict[nn.Module, nn.BatchNorm2d]:
    """The batch normalization right behind a convolution."""
    rows = [part.children() for part in network.modules() if isinstance(part, nn.Sequential)]
    return {
        layer: norm
        for row in rows
        for layer, norm in itertools.pairwise(row)
        if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    }


class _Exported:
    """The convolutions of graphs, as the networks had them."""

    def __init__(self, graphs: Sequence[EditedGraph]) -> None:
        self._graphs = graphs
        self._named: dict[str, _Layer] = {}
        self._rewritten: dict[tuple[int, ...], _Layer] = {}
        """By the shape of the weights behind the first axis."""
        for graph in graphs:
            for node in graph.graph.node:
                if node.op_type == "Conv":
                    self._add(node.input[1], _layer_of(graph, node.input))

    def constant(self, name: str) -> Tensor:
        """A constant of one of the graphs; KeyError if none has it."""
        holder = next((g for g in self._graphs if name in g.constant_shapes()), self._graphs[0])
        return torch.tensor(holder.constant(name))

    def restore(self, name: str, conv: nn.Conv2d, merged: nn.BatchNorm2d | None) -> None:
        """Set a convolution, and the batch normalization that is merged with it."""
        shape = tuple(conv.weight.shape)
        found = self._named.get(name) or self._rewritten.get(shape[1:])
        if found is None:
            return
        weight, bias = (None if v is None else torch.tensor(v[: shape[0]]) for v in found)
        assert weight is not None
        if weight.dim() == len(shape) and not weight[:, shape[1] :].any():
            weight = weight[:, : shape[1]]  # without the zeros that fill registers
        if weight.shape != shape:
            raise ValueError(f"{name} is {tuple(weight.shape)} in the graph, {shape} here")
        conv.weight.copy_(weight)
        if merged is not None:
            _neutralize(merged, bias)
        elif conv.bias is not None and bias is not None:
            conv.bias.copy_(bias)

    def _add(self, name: str, layer: _Layer) -> None:
        weight, bias = layer
        if name.startswith(_PREFIX):
            self._named[name] = layer
        else:  # the first one, of all images in a row
            self._rewritten[weight.shape[1:]] = weight * HALF_RANGE, bias


def _layer_of(graph: EditedGraph, inputs: Sequence[str]) -> _Layer:
    bias = graph.constant(inputs[2]) if len(inputs) > 2 else None
    return np.asarray(graph.constant(inputs[1]), np.float32), bias


def _neutralize(norm: nn.BatchNorm2d, bias: Tensor | None) -> None:
    """Let a batch normalization in evaluation mode add the bias and nothing else."""
    norm.reset_running_stats()
    norm.weight.fill_((1.0 + norm.eps) ** 0.5)
    norm.bias.zero_()
    if bias is not None:
        norm.bias.copy_(bias)


def _difference(model: SfmModel, spec: ModelSpec, bundle: Path, networks: Sequence[str]) -> float:
    """By how much what the model computes differs from the graphs."""
    length, training = model.sequence_length, model.training
    model.eval()
    if model.pairwise:
        model.sequence_length = spec.sequence_length
    compared = largest_difference if "pose" in networks else depth_difference
    found = compared(model, spec, bundle)
    model.sequence_length = length
    model.train(training)
    return found


def _refusal(bundle: Path, networks: Sequence[str], reason: str) -> CheckpointError:
    return CheckpointError(
        f"the {' and '.join(networks)} of the bundle {bundle} cannot be had back for this recipe "
        f"({reason}); take the recipe it was trained with; only the light networks can be had back"
    )
