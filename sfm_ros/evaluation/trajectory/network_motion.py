"""Errors of the motion a model predicts: by its networks alone, and with tracked keypoints.

One pass gives both: `VisualOdometry` steps through the frames, and the raw prediction is recorded
between the engine and the odometry.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from sfm_ros.config import DepthConfig, HealthConfig, ScaleConfig, SfmConfig
from sfm_ros.datatypes import FloatArray, OdometryEstimate, Prediction, TrackingStatus
from sfm_ros.engines.base import Engine
from sfm_ros.errors import SourceError, TrajectoryError
from sfm_ros.evaluation.trajectory.metrics import OdometryMetrics, evaluate_odometry
from sfm_ros.evaluation.trajectory.snippets import increments, mean_motion, straight_line
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.geometry import se3_exp, se3_log
from sfm_ros.odometry import VisualOdometry
from sfm_ros.source import SourceItem
from sfm_ros.window import Window

NETWORKS, HYBRID, STRAIGHT, MEAN = "networks alone", "hybrid", "straight line", "mean motion"
_LEAST_PAIRS = 3
_CONFIG = SfmConfig(
    depth=DepthConfig(mode="network"),
    scale=ScaleConfig(source="none"),
    # A model is evaluated on every image, including those that the node would reject.
    health=HealthConfig(
        min_contrast=0.0, min_structure=0.0, max_exposure_jump=0.0, reject_frozen=False
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MotionRun:
    """Trajectories of one pass over a sequence, in network units.

    Attributes:
        networks: integrated from the pose network alone.
        hybrid: of the odometry's default mode, in which keypoints give rotation and direction.
        ground_truth: of the same frames.
        held: frames at which the node held its pose instead of accepting the motion.
    """

    networks: Trajectory
    hybrid: Trajectory
    ground_truth: Trajectory
    held: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MotionScore:
    """Errors of one trajectory.

    Attributes:
        metrics: the standard metrics, including snippets.
        yaw_correlation, length_correlation: correlation of the yaw and of the length of each step
            with the ground truth; None if either is constant. A pose network that predicts the
            same motion for every pair has a good snippet error and no correlation.
        held: frames at which the pose was held.
    """

    metrics: OdometryMetrics
    yaw_correlation: float | None
    length_correlation: float | None
    held: int = 0


def run_motion(engine: Engine, items: Iterable[SourceItem]) -> MotionRun:
    """Step through frames in order of time, each with its ground-truth pose.

    Raises:
        SourceError: a frame has no ground-truth pose, the sequence has a gap, or it is shorter
            than a window.
    """
    recorder = _MotionRecorder(engine)
    for item in items:
        recorder.step(item)
    return recorder.run()


def score_motion(run: MotionRun, alignment: str) -> dict[str, MotionScore]:
    """Errors of the two trajectories and of the baselines, by name.

    Raises:
        TrajectoryError: unknown alignment, or a trajectory that is not finite.
    """
    count, stamps = len(run.ground_truth), run.ground_truth.stamps_ns
    trajectories = {
        NETWORKS: run.networks,
        HYBRID: run.hybrid,
        STRAIGHT: Trajectory(stamps, straight_line(count)),
        MEAN: Trajectory(stamps, mean_motion(run.ground_truth.poses)),
    }
    gt_steps = increments(run.ground_truth.poses)
    scores = {}
    for name, trajectory in trajectories.items():
        steps = increments(trajectory.poses)
        scores[name] = MotionScore(
            metrics=evaluate_odometry(trajectory, run.ground_truth, alignment),
            yaw_correlation=correlation(_yaws(steps), _yaws(gt_steps)),
            length_correlation=correlation(_lengths(steps), _lengths(gt_steps)),
            held=run.held if name == HYBRID else 0,
        )
    return scores


def correlation(first: FloatArray, second: FloatArray) -> float | None:
    """Pearson correlation; None for fewer than three pairs or if either side is constant."""
    if len(first) != len(second):
        raise TrajectoryError(f"{len(first)} values cannot be paired with {len(second)}")
    if len(first) < _LEAST_PAIRS:
        return None
    # Steps of a constant motion still differ by rounding.
    if min(_spread(first), _spread(second)) < 1e-9:
        return None
    return float(np.corrcoef(first, second)[0, 1])


class _MotionRecorder:
    """Steps the odometry and records its poses beside the raw predictions of the engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = _RecordingEngine(engine)
        self._odometry = VisualOdometry(self._engine, _CONFIG)
        self._stamps: list[int] = []
        self._ground_truth: list[FloatArray] = []
        self._networks: list[FloatArray] = []
        self._hybrid: list[FloatArray] = []
        self._held = 0

    def step(self, item: SourceItem) -> None:
        index = len(self._stamps)
        if item.T_world_camera is None:
            raise SourceError(f"frame {index} has no ground-truth pose; add the file of the poses")
        self._engine.last = None
        estimate = self._odometry.step(item.frame)
        self._stamps.append(item.frame.stamp_ns)
        self._ground_truth.append(item.T_world_camera)
        if self._engine.last is not None:
            self._append(self._engine.last, estimate)
        elif self._networks:
            reasons = ", ".join(reason.value for reason in estimate.reasons)
            raise SourceError(
                f"frame {index} does not follow the one before it ({reasons}); pass a range of "
                "frames without a gap"
            )

    def _append(self, prediction: Prediction, estimate: OdometryEstimate) -> None:
        assert estimate.T_odom_camera is not None  # known since the first frame
        if self._networks:
            self._networks.append(self._networks[-1] @ prediction.T_prev_curr)
        else:
            steps = prediction.increments
            self._networks = list(accumulate(steps, np.matmul, initial=np.eye(4)))
            # The first full window is integrated as a whole: the poses within are interpolated.
            whole = se3_log(estimate.T_odom_camera)
            self._hybrid = [se3_exp(whole * k / len(steps)) for k in range(len(steps))]
        self._hybrid.append(estimate.T_odom_camera)
        self._held += estimate.status is TrackingStatus.LOST

    def run(self) -> MotionRun:
        if not self._networks:
            raise SourceError(
                f"{len(self._stamps)} frames are fewer than the "
                f"{self._engine.spec.sequence_length} of a window"
            )
        stamps = np.array(self._stamps)
        return MotionRun(
            networks=Trajectory(stamps, np.stack(self._networks)),
            hybrid=Trajectory(stamps, np.stack(self._hybrid)),
            ground_truth=Trajectory(stamps, np.stack(self._ground_truth)),
            held=self._held,
        )


class _RecordingEngine:
    """Forwards to another engine and keeps the last prediction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name, self.precision, self.spec = engine.name, engine.precision, engine.spec
        self.last: Prediction | None = None

    def infer(self, window: Window) -> Prediction:
        self.last = self._engine.infer(window)
        return self.last

    def close(self) -> None:
        self._engine.close()


def _yaws(steps: FloatArray) -> FloatArray:
    return np.arctan2(steps[:, 0, 2], steps[:, 2, 2])


def _lengths(steps: FloatArray) -> FloatArray:
    return np.linalg.norm(steps[:, :3, 3], axis=1)


def _spread(values: FloatArray) -> float:
    return float(np.std(values)) / max(float(np.abs(values).max()), math.ulp(1.0))
