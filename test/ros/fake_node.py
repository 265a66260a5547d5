"""The real node with networks that say what they are shown: ``fake_node.py '{}' --ros-args ...``.

The mean brightness of a picture tells the motion that led to it, see ``MOTIONS``, in body axes:
metres and radians, translation then rotation vector. The first argument is JSON; with
``fail_after`` the engine raises after so many inferences.
"""

from __future__ import annotations

import json
import math
import sys

import numpy as np

from sfm_ros.datatypes import FloatArray, Prediction
from sfm_ros.engines.fake_engine import FakeEngine, fake_spec
from sfm_ros.errors import EngineError
from sfm_ros.geometry import body_to_optical, make_transform, so3_exp
from sfm_ros.ros.node import main
from sfm_ros.window import Window

STAND, FORWARD, TURN_LEFT, BROKEN = 100, 110, 120, 130
MOTIONS = {
    STAND: (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    FORWARD: (0.5, 0.0, 0.0, 0.0, 0.0, 0.0),
    TURN_LEFT: (0.0, 0.0, 0.0, 0.0, 0.0, math.radians(2.5)),
    BROKEN: (math.nan, 0.0, 0.0, 0.0, 0.0, 0.0),
}


def shown_motion(window: Window) -> FloatArray:
    """(N-1, 4, 4) increments that the pictures of a window tell."""
    increments = []
    for image in window.images[1:]:
        level = min(MOTIONS, key=lambda level: abs(level - float(image.mean())))
        motion = np.array(MOTIONS[level])
        increments.append(body_to_optical(make_transform(so3_exp(motion[3:]), motion[:3])))
    return np.array(increments)


class FailingEngine(FakeEngine):
    """Raises as an inference library would."""

    def __init__(self, fail_after: int) -> None:
        super().__init__(fake_spec(width=64, height=32))
        self._left = fail_after

    def infer(self, window: Window) -> Prediction:
        """The fake answer, until the engine fails."""
        self._left -= 1
        if self._left < 0:
            raise EngineError("out of memory, said the library")
        return super().infer(window)


def make_engine(options: dict) -> FakeEngine:
    """The engine these options describe."""
    if "fail_after" in options:
        return FailingEngine(options["fail_after"])
    return FakeEngine(fake_spec(width=64, height=32), motion=shown_motion)


if __name__ == "__main__":
    sys.exit(main(args=sys.argv, engine=make_engine(json.loads(sys.argv[1]))))
