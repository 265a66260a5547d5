"""A checkpoint as an engine, and the options that select a checkpoint or a bundle."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sfm_ros.cli.engine_options import (
    add_engine_options,
    open_bundle,
    open_engine,
    with_engine_options,
)
from sfm_ros.config import ModelConfig
from sfm_ros.datatypes import Prediction
from sfm_ros.engines.base import Engine
from sfm_ros.engines.lens import in_camera
from sfm_ros.errors import EngineError
from sfm_ros.model_spec import window_increments
from sfm_ros.window import Window
from training.export import deployed_copy, restored_model, spec_of
from training.networks.graphs import DepthGraph, PoseGraph


class TorchEngine:
    """Runs the networks of a checkpoint (their moving average if there is one) as a bundle's.

    Without a pose network the motion is unknown: all NaN.

    Args:
        path: a ``.pt`` file of train.py.
        device: a torch device such as ``cpu`` or ``cuda``.

    Raises:
        CheckpointError: it cannot be read, or its weights do not fit its configuration.
        EngineError: the device is not available.
    """

    name, precision = "torch", "fp32"

    def __init__(self, path: Path, device: str = "cpu") -> None:
        model, config, step = restored_model(path)
        deployed = deployed_copy(model)
        # The focal length of the training images is not needed here.
        name = f"{path.parent.name}/{path.name}, step {step}"
        self.spec = spec_of(deployed, config, name, training_fx=math.nan)
        try:
            self._device = torch.device(device)
            self._depth, self._pose = DepthGraph(deployed), PoseGraph(deployed)
            deployed.to(self._device)
        except (RuntimeError, AssertionError) as error:
            raise EngineError(f"torch cannot use the device '{device}': {error}") from error

    def infer(self, window: Window) -> Prediction:
        """Depth of the newest frame and the motions of a window."""
        frames = torch.from_numpy(np.stack(window.images))[None].to(self._device)
        with torch.inference_mode():
            depth = self._depth(frames[:, -1])[0].cpu().numpy()
            motions = self._motions(frames)
        depth, motions = in_camera(depth, motions, self.spec, window)
        return Prediction(depth=depth, increments=window_increments(motions, self.spec))

    def _motions(self, frames: Tensor) -> npt.NDArray[np.float32]:
        if self._pose.model.pose_net is None:
            return np.full((self.spec.sequence_length - 1, 4, 4), np.nan, np.float32)
        return np.asarray(self._pose(frames)[0].cpu())

    def close(self) -> None:
        """Nothing to release."""


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--checkpoint`` and ``--device`` to the options of a bundle."""
    parser.add_argument(
        "--checkpoint", type=Path, help="a .pt file of train.py, instead of a bundle"
    )
    parser.add_argument("--device", default="cpu", help="device of the checkpoint (default: cpu)")
    add_engine_options(parser)


def open_model(options: argparse.Namespace) -> Engine:
    """The checkpoint, or else the bundle, as an engine; SfmRosError if it cannot be used."""
    if options.checkpoint is None:
        return open_engine(options)
    torch.set_num_threads(with_engine_options(ModelConfig(), options).threads)
    return TorchEngine(options.checkpoint, options.device)


def open_named_model(name: str, threads: int = 2) -> Engine:
    """A checkpoint (``.pt``) or a bundle (folder or name); SfmRosError if it cannot be used."""
    if name.endswith(".pt"):
        return TorchEngine(Path(name))
    return open_bundle(name, threads)
