"""The motion a model predicts, by its networks alone and as the node refines it, and its errors.

One run gives both: the node's own `VisualOdometry` steps through the frames, and the raw
prediction is noted on its way from the engine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sfm_ros.config import HealthConfig, ScaleConfig, SfmConfig
from sfm_ros.datatypes import FloatArray, Prediction, TrackingStatus
from sfm_ros.engines.base import Engine
from sfm_ros.errors import SourceError, TrajectoryError
from sfm_ros.evaluation.trajectory.metrics import OdometryMetrics, evaluate_odometry
from sfm_ros.evaluation.trajectory.snippets import mean_motion, straight_line
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.geometry import inverse
from sfm_ros.odometry import VisualOdometry
from sfm_ros.source import SourceItem
from sfm_ros.window import Window

NETWORKS, REFINED, STRAIGHT, MEAN = "networks alone", "refined", "straight line", "mean motion"
_LEAST_PAIRS = 3
_CONFIG = SfmConfig(
    scale=ScaleConfig(source="none"),
    # A model is judged by every image of a drive, whatever a robot would do with it.
    health=HealthConfig(
        min_contrast=0.0, min_structure=0.0, max_exposure_jump=0.0, reject_frozen=False
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MotionRun:
    """Trajectories of one pass over a drive, in the network's units.

    Attributes:
        networks: by the pose network alone.
        refined: as the node integrates it.
        ground_truth: of the same frames.
        held: frames at which the node held its pose instead of believing the motion.
    """

    networks: Trajectory
    refined: Trajectory
    ground_truth: Trajectory
    held: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MotionScore:
    """Errors of one trajectory over a drive.

    Attributes:
        metrics: the errors of the field, snippets included.
        yaw_correlation, length_correlation: of the turn and of the length of each step with the
            ground truth; None where one of the two never changes. A pose network that says the same
            motion for every pair has a good snippet error and no correlation.
        held: frames at which the pose was held.
    """

    metrics: OdometryMetrics
    yaw_correlation: float | None
    length_correlation: float | None
    held: int = 0


def run_motion(engine: Engine, items: Iterable[SourceItem]) -> MotionRun:
    """Step through a drive.

    Args:
        engine: the networks.
        items: frames in order of time, each with its ground-truth pose.

    Raises:
        SourceError: a frame has no ground-truth pose, the drive has a gap, or it is shorter than a window.
    """
    listener = _Listener(engine)
    odometry = VisualOdometry(listener, _CONFIG)
    stamps: list[int] = []
    ground_truth: list[FloatArray] = []
    networks: list[FloatArray] = []
    refined: list[FloatArray] = []
    held = 0
    for item in items:
        if item.T_world_camera is None:
            raise SourceError(
                f"frame {len(stamps)} has no ground-truth pose; add the file of the poses"
            )
        listener.received = None
        estimate = odometry.step(item.frame)
        stamps.append(item.frame.stamp_ns)
        ground_truth.append(item.T_world_camera)
        if listener.received is None:
            if networks:
                raise SourceError(
                    f"frame {len(stamps) - 1} does not follow the one before it "
                    f"({', '.join(reason.value for reason in estimate.reasons)}); give a range "
                    "of frames without a gap"
                )
            continue
        raw = listener.received.increments
        if not networks:
            networks = _chain(np.eye(4), raw)
            # A window that has just filled is integrated at once, or not at all.
            is_held = estimate.T_prev_curr is None
            refined = [np.eye(4)] * len(raw) if is_held else networks[:-1]
        else:
            networks.append(networks[-1] @ raw[-1])
        assert estimate.T_odom_camera is not None  # known since the first frame
        refined.append(estimate.T_odom_camera)
        held += estimate.status is TrackingStatus.LOST
    if not networks:
        raise SourceError(
            f"{len(stamps)} frames are fewer than the {engine.spec.sequence_length} of a window"
        )
    return MotionRun(
        networks=Trajectory(np.array(stamps), np.stack(networks)),
        refined=Trajectory(np.array(stamps), np.stack(refined)),
        ground_truth=Trajectory(np.array(stamps), np.stack(ground_truth)),
        held=held,
    )


def score_motion(run: MotionRun, alignment: str) -> dict[str, MotionScore]:
    """Errors of the two trajectories, and of two that look at no image, by name.

    Raises:
        TrajectoryError: unknown alignment, or a trajectory that is not finite.
    """
    count, stamps = len(run.ground_truth), run.ground_truth.stamps_ns
    baselines = {
        NETWORKS: run.networks,
        REFINED: run.refined,
        STRAIGHT: Trajectory(stamps, straight_line(count)),
        MEAN: Trajectory(stamps, mean_motion(run.ground_truth.poses)),
    }
    gt_steps = _steps(run.ground_truth.poses)
    scores = {}
    for name, trajectory in baselines.items():
        steps = _steps(trajectory.poses)
        scores[name] = MotionScore(
            metrics=evaluate_odometry(trajectory, run.ground_truth, alignment),
            yaw_correlation=correlation(_yaws(steps), _yaws(gt_steps)),
            length_correlation=correlation(_lengths(steps), _lengths(gt_steps)),
            held=run.held if name == REFINED else 0,
        )
    return scores


def correlation(first: FloatArray, second: FloatArray) -> float | None:
    """Pearson's, or None for fewer than three pairs or where one side never changes."""
    if len(first) != len(second):
        raise TrajectoryError(f"{len(first)} values cannot be paired with {len(second)}")
    if len(first) < _LEAST_PAIRS:
        return None
    # A trajectory that repeats one motion still varies by rounding.
    if min(_spread(first), _spread(second)) < 1e-9:
        return None
    return float(np.corrcoef(first, second)[0, 1])


class _Listener:
    """An engine that passes everything on and keeps the last prediction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name, self.spec = engine.name, engine.spec
        self.received: Prediction | None = None

    def infer(self, window: Window) -> Prediction:
        self.received = self._engine.infer(window)
        return self.received

    def close(self) -> None:
        self._engine.close()


def _chain(start: FloatArray, increments: FloatArray) -> list[FloatArray]:
    poses = [start]
    for T_prev_curr in increments:
        poses.append(poses[-1] @ T_prev_curr)
    return poses


def _steps(poses: FloatArray) -> FloatArray:
    """(N - 1, 4, 4) T_prev_curr."""
    return inverse(poses[:-1]) @ poses[1:]


def _yaws(steps: FloatArray) -> FloatArray:
    return np.arctan2(steps[:, 0, 2], steps[:, 2, 2])


def _lengths(steps: FloatArray) -> FloatArray:
    return np.linalg.norm(steps[:, :3, 3], axis=1)


def _spread(values: FloatArray) -> float:
    return float(np.std(values)) / max(float(np.abs(values).max()), math.ulp(1.0))
