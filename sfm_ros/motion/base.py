"""What a motion estimator returns, and the interface of one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from sfm_ros.config import SfmConfig
from sfm_ros.datatypes import FloatArray, Frame, Prediction, Reason, ScaleState
from sfm_ros.pose import Lasting
from sfm_ros.window import Window


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Step:
    """The motion between two frames, as a rule neighboring ones.

    Attributes:
        T_prev_curr: (4, 4) in published units, or None if it is unknown.
        covariance: (6, 6) of it: translation x y z, rotation about x y z, in the axes of the
            older camera.
        dt_ns: time between the frames.
        reasons: why it is unknown or doubtful.
        note: the values behind the reasons, for a person; or empty.
        is_deferred: whether it is unknown for now, and will be part of a later step.
    """

    T_prev_curr: FloatArray | None
    dt_ns: int
    covariance: FloatArray = field(default_factory=lambda: np.zeros((6, 6)))
    reasons: tuple[Reason, ...] = ()
    note: str = ""
    is_deferred: bool = False


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Motion:
    """The motions up to the newest frame that have not been integrated yet.

    Attributes:
        steps: one for each pair of neighboring frames, oldest first; at least one.
        scale: factor from network units to published units, and its source.
        lasting: errors that the steps share with all others.
    """

    steps: tuple[Step, ...]
    scale: ScaleState
    lasting: Lasting | None = None


class MotionEstimator(Protocol):
    """Estimates the motion of the camera, frame by frame."""

    def add(self, frame: Frame) -> None:
        """Take the next frame of the segment; work may start beside the networks."""

    def estimate(self, window: Window, prediction: Prediction | None) -> Motion:
        """The motions since the last call.

        Args:
            window: the newest frames, the last one given to `add`.
            prediction: the networks' output for them, or None if it must not be used.
        """

    def set_camera_height(self, height_m: float) -> None:
        """Height of the camera above the road, meters, if something measured or states it."""

    def add_speed(self, stamp_ns: int, speed: float) -> None:
        """A speed that something else measured, meters per second, in order of time."""

    def restart(self) -> None:
        """Start a new segment: the next frame has no motion from the last one."""

    def reset(self) -> None:
        """Forget everything, also the scale."""

    def configure(self, config: SfmConfig) -> None:
        """Apply live options from the next frame on."""
