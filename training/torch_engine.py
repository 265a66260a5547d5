"""A checkpoint as an engine, so that it is judged by the very code that judges a bundle."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from sfm_ros.datatypes import Prediction
from sfm_ros.errors import EngineError
from sfm_ros.model_spec import window_increments
from sfm_ros.window import Window
from training.config import load_config
from training.export import DepthGraph, PoseGraph, build_untrained, deployed, spec_of
from training.fit.checkpoint import CheckpointError, load_checkpoint, weights_of


class TorchEngine:
    """Runs the networks of a checkpoint (their moving average where there is one).

    Args:
        path: a ``.pt`` file of train.py.
        device: such as ``cpu`` or ``cuda``.

    Raises:
        CheckpointError: it cannot be read, or its weights do not fit its configuration.
        EngineError: there is no such device.
    """

    name = "torch"

    def __init__(self, path: Path, device: str = "cpu") -> None:
        contents = load_checkpoint(path)
        config = load_config(contents["config"])
        model = build_untrained(config)
        try:
            model.load_state_dict(weights_of(contents))
        except RuntimeError as error:
            raise CheckpointError(
                f"the weights in {path} do not fit its recipe: {error}"
            ) from error
        still = deployed(model)
        # The focal length of the training images is of no use here.
        name = f"{path.parent.name}/{path.name}, step {contents['step']}"
        self.spec = spec_of(still, config, name, training_fx=math.nan)
        try:
            self._device = torch.device(device)
            self._depth, self._pose = DepthGraph(still), PoseGraph(still)
            still.to(self._device)
        except (RuntimeError, AssertionError) as error:
            raise EngineError(f"torch cannot use the device '{device}': {error}") from error

    def infer(self, window: Window) -> Prediction:
        """Depth of the newest frame and the motions of a window."""
        frames = torch.from_numpy(np.stack(window.images))[None].to(self._device)
        with torch.inference_mode():
            depth = self._depth(frames[:, -1])[0].cpu().numpy()
            motions = self._pose(frames)[0].cpu().numpy()
        return Prediction(depth=depth, increments=window_increments(motions, self.spec))

    def close(self) -> None:
        """Nothing to release: the networks go with the object."""
