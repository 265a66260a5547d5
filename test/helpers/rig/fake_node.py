"""The real node with networks that read the motion off the images.

    python -m rig.fake_node '{}' --ros-args ...

The mean brightness of an image encodes the motion that led to it, see ``MOTIONS``, in body axes:
meters and radians, translation then rotation vector. The first argument is JSON:

* ``fail_after``: the engine raises after this many inferences;
* ``busy_s``: an inference takes this long, like a library that hangs, and prints so before;
* ``load_s``: the same for loading the model;
* ``lifecycle``: run the managed node.
"""

from __future__ import annotations

import json
import math
import sys
import time
from typing import Any

import numpy as np

from sfm_ros.config import DepthConfig, ModelConfig, OdometryConfig, SfmConfig
from sfm_ros.datatypes import FloatArray, Prediction
from sfm_ros.engines.fake_engine import FakeEngine, fake_spec
from sfm_ros.errors import EngineError
from sfm_ros.geometry import body_to_optical, make_transform, so3_exp
from sfm_ros.ros.node import lifecycle as managed_node
from sfm_ros.ros.node import node as plain_node
from sfm_ros.ros.process import program
from sfm_ros.window import Window

CONFIG = SfmConfig(odometry=OdometryConfig(mode="network"), depth=DepthConfig(mode="network"))
"""The images show no keypoints to follow. What measures depth from several views would be compiled
at the first image, which takes a time that depends on the machine."""
STAND, FORWARD, TURN_LEFT, BROKEN = 100, 110, 120, 130
MOTIONS = {
    STAND: (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    FORWARD: (0.5, 0.0, 0.0, 0.0, 0.0, 0.0),
    TURN_LEFT: (0.0, 0.0, 0.0, 0.0, 0.0, math.radians(2.5)),
    BROKEN: (math.nan, 0.0, 0.0, 0.0, 0.0, 0.0),
}


def encoded_motion(window: Window) -> FloatArray:
    """(N-1, 4, 4) increments that the images of a window encode."""
    increments = []
    for image in window.images[1:]:
        level = min(MOTIONS, key=lambda level: abs(level - float(image.mean())))
        motion = np.array(MOTIONS[level])
        increments.append(body_to_optical(make_transform(so3_exp(motion[3:]), motion[:3])))
    return np.array(increments)


class TroubledEngine(FakeEngine):
    """Takes a while, and raises in the end, as an inference library may."""

    def __init__(self, fail_after: int = sys.maxsize, busy_s: float = 0.0) -> None:
        super().__init__(fake_spec(width=64, height=32), motion=encoded_motion)
        self._left = fail_after
        self._busy_s = busy_s

    def infer(self, window: Window) -> Prediction:
        """The fake prediction, until the engine fails."""
        self._left -= 1
        if self._left < 0:
            raise EngineError("the library is out of memory")
        be_busy("inferring", self._busy_s)
        return super().infer(window)


def be_busy(what: str, seconds: float) -> None:
    """Print what takes this long, and take it."""
    if seconds:
        print(what, flush=True)
        time.sleep(seconds)


def run(lifecycle: bool = False, load_s: float = 0.0, **trouble: Any) -> int:
    """Run the node that these options describe."""

    def load(_: ModelConfig) -> FakeEngine:
        be_busy("loading", load_s)
        return TroubledEngine(**trouble)

    if lifecycle:
        return program.run(lambda: managed_node.SfmLifecycleNode(load, CONFIG), sys.argv)
    return program.run(lambda: plain_node.SfmNode(load(ModelConfig()), CONFIG), sys.argv)


if __name__ == "__main__":
    sys.exit(run(**json.loads(sys.argv[1])))
