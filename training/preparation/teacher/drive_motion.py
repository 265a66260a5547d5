"""Metric poses of a whole drive, by the odometry of the node and all its frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import numpy.typing as npt

from sfm_ros.config import OdometryConfig, ScaleConfig, SfmConfig
from sfm_ros.datatypes import FloatArray, Frame, TrackingStatus
from sfm_ros.engines.fake_engine import FakeEngine, fake_spec
from sfm_ros.errors import CalibrationError, ImageError
from sfm_ros.geometry import inverse
from sfm_ros.motion.metric_scale import LengthEvidence
from sfm_ros.motion.track_motion import TrackMotion
from sfm_ros.odometry import VisualOdometry
from training.preparation.teacher.lengths import smoothed_lengths, supported

WARM_UP = 250
"""Frames that the odometry passes twice: at first it has to learn the pitch of the camera and,
where the road is plain, to find the scale at all."""
_PAUSE_NS = 10_000_000_000
"""Between the two passes: they are not connected."""
_FORWARD = 0.95
_SOON = 4
"""Frames within which a vehicle keeps its speed."""
_SAME_SPEED = (0.0, 0.1)
"""Logarithm of the ratio of the lengths, and its standard deviation."""

Frames = Callable[[], Iterable[Frame | None]]
"""Starts an iteration over the frames of a drive; None stands for a damaged image."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DriveMotion:
    """How the camera moved.

    Attributes:
        T_world_camera: (N, 4, 4) poses, meters; the first is the identity.
        segments: (N,) frames with the same number are connected by known motions; -1 marks a
            frame whose motion from the one before it is unknown.
        normal: (3,) unit normal of the road in the camera, pointing down.
    """

    T_world_camera: FloatArray
    segments: npt.NDArray[np.int64]
    normal: FloatArray

    def is_connected(self, i: int, j: int) -> bool:
        """Whether the motion between two frames is known."""
        return bool(self.segments[i] >= 0 and self.segments[i] == self.segments[j])


def find_drive_motion(frames: Frames, camera_height_m: float) -> DriveMotion:
    """The motion of a drive, metric by the height of the camera above the road.

    Args:
        frames: of the drive; it is passed once, and its beginning twice.
        camera_height_m: of the camera above the road.
    """
    recorder = _Recorder(camera_height_m)
    for frame in islice(frames(), WARM_UP):
        recorder.pass_over(frame)
    recorder.pause()
    for frame in frames():
        recorder.add(frame)
    return recorder.motion()


class _Recorder:
    """Steps the odometry and keeps what each of its steps was found from."""

    def __init__(self, camera_height_m: float) -> None:
        config = SfmConfig(
            odometry=OdometryConfig(mode="geometric"),
            scale=ScaleConfig(source="camera_height", camera_height=camera_height_m),
        )
        engine = FakeEngine(fake_spec(sequence_length=2))
        self._motion = TrackMotion(config, engine.spec)
        self._odometry = VisualOdometry(engine, config, self._motion)
        self._steps: list[FloatArray] = []
        self._evidence: list[LengthEvidence | None] = []
        self._segments: list[int] = []
        self._last = np.eye(4)
        self._segment = self._newest_ns = self._later_ns = 0

    def pass_over(self, frame: Frame | None) -> bool:
        """Let the odometry see a frame; returns whether its motion from the last is known."""
        if frame is None:
            return False
        self._newest_ns = frame.stamp_ns
        try:
            stamp_ns = frame.stamp_ns + self._later_ns
            estimate = self._odometry.step(replace(frame, stamp_ns=stamp_ns))
        except (ImageError, CalibrationError):  # the node drops such a frame
            return False
        if estimate.status in (TrackingStatus.LOST, TrackingStatus.INITIALIZING):
            self._segment += 1
        assert estimate.T_odom_camera is not None  # known since the first frame
        self._last = estimate.T_odom_camera.copy()
        return estimate.T_prev_curr is not None

    def pause(self) -> None:
        """The frames begin again."""
        self._later_ns = self._newest_ns + _PAUSE_NS

    def add(self, frame: Frame | None) -> None:
        """Record the next frame of the drive."""
        before, is_first = self._last, not self._steps
        is_known = self.pass_over(frame)
        self._steps.append(inverse(before) @ self._last if is_known else np.eye(4))
        self._evidence.append(self._motion.scale.evidence if is_known else None)
        self._segments.append(self._segment if is_known or is_first else -1)

    def motion(self) -> DriveMotion:
        """The motion of all frames since the first `add`."""
        steps = np.array(self._steps).reshape(-1, 4, 4)
        translations = steps[:, :3, 3]
        lengths = np.linalg.norm(translations, axis=1)
        moving = [k for k, e in enumerate(self._evidence) if e is not None and lengths[k] > 0]
        log_lengths = np.log(lengths[moving])
        evidence = self._evidence_of(moving)
        smooth = smoothed_lengths(log_lengths, evidence)
        segments = np.array(self._segments, dtype=np.int64)
        segments[np.array(moving, dtype=np.int64)[~supported(smooth, evidence)]] = -1
        steps[moving, :3, 3] *= np.exp(smooth - log_lengths)[:, None]
        poses = np.tile(np.eye(4), (len(steps), 1, 1))
        for k in range(1, len(steps)):
            poses[k] = poses[k - 1] @ steps[k]
        return DriveMotion(
            T_world_camera=poses,
            segments=segments,
            normal=_road_normal(translations[moving]),
        )

    def _evidence_of(self, moving: list[int]) -> list[LengthEvidence]:
        """Of these steps; where tracks do not connect neighbors, the speed hardly changes."""
        result = []
        for before, k in zip([-_SOON, *moving], moving, strict=False):
            evidence = self._evidence[k]
            assert evidence is not None
            if evidence.log_ratio is None and k - before < _SOON:
                evidence = replace(evidence, log_ratio=_SAME_SPEED)
            result.append(evidence)
        return result


def _road_normal(translations: FloatArray) -> FloatArray:
    """(3,) normal of the road that a vehicle with these steps keeps to; no roll."""
    directions = translations / np.maximum(np.linalg.norm(translations, axis=1), 1e-9)[:, None]
    ahead = directions[directions[:, 2] > _FORWARD]
    pitch = float(np.median(ahead[:, 1] / ahead[:, 2])) if len(ahead) else 0.0
    normal = np.array([0.0, 1.0, -pitch])
    return np.asarray(normal / np.linalg.norm(normal))
