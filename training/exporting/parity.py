"""Whether the graphs of a bundle compute what the model computes in torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sfm_ros.datatypes import RgbImage
from sfm_ros.errors import ModelError
from sfm_ros.model_spec import ModelSpec
from training.exporting.storage import graph_paths
from training.networks.graphs import DepthGraph, FeatureDepthGraph, graphs_of
from training.networks.sfm_model import SfmModel

TOLERANCE = 1e-4
"""Largest allowed difference to torch: relative for depth, absolute for the entries of motion."""
_WINDOWS = 3


def check_parity(model: SfmModel, spec: ModelSpec, bundle: Path) -> None:
    """ModelError if an output of the graphs differs from the model by more than ``TOLERANCE``."""
    for what, difference in _differences(model, spec, bundle):
        if not difference <= TOLERANCE:  # written so that NaN fails, too
            raise ModelError(
                f"the exported {what} differs from torch by {difference:.1e}, expected at most "
                f"{TOLERANCE:.0e}; the bundle is not written"
            )


def largest_difference(model: SfmModel, spec: ModelSpec, bundle: Path) -> float:
    """The largest of the differences that `check_parity` compares."""
    differences = [difference for _, difference in _differences(model, spec, bundle)]
    return float(np.max(differences))  # unlike max(), which loses NaN


def depth_difference(model: SfmModel, spec: ModelSpec, bundle: Path) -> float:
    """The largest relative difference of the depth alone; the model may lack a pose network."""
    session = onnxruntime.InferenceSession(str(graph_paths(bundle, spec)[0]))
    name = session.get_inputs()[0].name
    differences = []
    for seed in range(_WINDOWS):
        rgb = synthetic_images(1, spec.height, spec.width, seed)[0][None]
        with torch.inference_mode():
            expected = DepthGraph(model)(torch.from_numpy(rgb))
        found = session.run(["depth"], {name: rgb})[0]
        differences.append(np.max(np.abs(found - expected.numpy()) / found))
    return float(np.max(differences))


def _differences(model: SfmModel, spec: ModelSpec, bundle: Path) -> Iterator[tuple[str, float]]:
    """Name and largest difference of every output, for a few windows."""
    graphs = graphs_of(model)
    sessions = [onnxruntime.InferenceSession(str(path)) for path in graph_paths(bundle, spec)]
    for seed in range(_WINDOWS):
        arrays = synthetic_images(spec.sequence_length, spec.height, spec.width, seed)
        images = [torch.from_numpy(array)[None] for array in arrays]
        inputs = [images[-1], window_of(graphs[0], images)]
        (depth, *features), (motion,) = map(_compared, sessions, graphs, inputs)
        yield "depth", float(np.max(np.abs(depth[0] - depth[1]) / depth[1]))
        for found, expected in features:
            yield "features", float(np.max(np.abs(found - expected)) / np.max(np.abs(expected)))
        yield "motion", float(np.max(np.abs(motion[0] - motion[1])))


def _compared(
    session: onnxruntime.InferenceSession, graph: nn.Module, given: Tensor
) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """Each output of a written graph, and the same of torch."""
    with torch.inference_mode():
        expected = graph(given)
    expected = expected if isinstance(expected, tuple) else (expected,)
    found = session.run(None, {session.get_inputs()[0].name: given.numpy()})
    return [(a, b.numpy()) for a, b in zip(found, expected, strict=True)]


def window_of(depth: DepthGraph, images: Sequence[Tensor]) -> Tensor:
    """Input of the pose graph for images (1, h, w, 3): themselves, or their features."""
    if isinstance(depth, FeatureDepthGraph):
        with torch.inference_mode():
            return torch.stack([depth(image)[1] for image in images], dim=1).clone()
    return torch.stack(list(images), dim=1)


def synthetic_images(count: int, height: int, width: int, seed: int) -> list[RgbImage]:
    """Images (h, w, 3) uint8 with blobs of all sizes, each shifted by 4 pixels."""
    generator = torch.Generator().manual_seed(seed)
    wide = width + 4 * count
    texture = torch.zeros(1, 3, height, wide)
    for cells in (2, 8, 32):
        noise = torch.randn(1, 3, cells, 3 * cells, generator=generator)
        texture += F.interpolate(noise, size=(height, wide), mode="bilinear", align_corners=False)
    texture = (torch.sigmoid(texture) * 255).to(torch.uint8)[0].permute(1, 2, 0)
    return [texture[:, 4 * i : 4 * i + width].contiguous().numpy() for i in range(count)]
