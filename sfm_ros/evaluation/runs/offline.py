"""Runs the odometry over a source offline: every frame, in order, nothing dropped.

It is the object that the node runs, called as the node calls it. What comes of a frame does not
depend on how long anything took, so two runs give the same estimates to the last bit.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np

from sfm_ros.datatypes import FloatArray, OdometryEstimate, Reason
from sfm_ros.errors import CalibrationError, ImageError
from sfm_ros.evaluation.runs.depth_samples import SnapshotKeeper
from sfm_ros.evaluation.runs.ground_truth import GroundTruthDepth
from sfm_ros.evaluation.runs.prefetch import prefetched
from sfm_ros.evaluation.runs.result import OFFLINE, Percentiles, RunResult, StatusTimeline
from sfm_ros.evaluation.runs.timings import Timings
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.odometry import VisualOdometry
from sfm_ros.preprocess import Prepared
from sfm_ros.source import Source, SourceItem

DepthOf = Callable[[SourceItem], GroundTruthDepth | None]


def depth_of_item(item: SourceItem) -> GroundTruthDepth | None:
    """The ground-truth depth that came with a frame, on the grid of its image."""
    if item.depth_m is None:
        return None
    return GroundTruthDepth(depth=item.depth_m, camera=item.frame.intrinsics, is_rectified=False)


class OfflineRun:
    """One pass over a source.

    What is kept of a frame is a few hundred bytes; images and depth are kept of some frames
    only, however many there are.

    Args:
        odometry: what the node runs.
        engine: name of its engine.
        frames_to_start: frames at the start that get no odometry, because the window is not full.
    """

    def __init__(self, odometry: VisualOdometry, engine: str, frames_to_start: int) -> None:
        self._odometry = odometry
        self._engine = engine
        self._frames_to_start = frames_to_start
        self.timings = Timings()
        self._frames = self._rejected = 0
        self._trouble: str | None = None
        self._interrupted = False
        self._intervals = StatusTimeline()
        self._image_stamps = array("q")
        self._poses = _PoseLog()
        self._ground_truth_poses = _PoseLog()

    def run(
        self,
        source: Source,
        limit: int | None = None,
        depth_of: DepthOf = depth_of_item,
        on_frame: Callable[[], object] = lambda: None,
    ) -> RunResult:
        """Take the frames in, one after the other.

        Ctrl-C ends the pass; what there is until then is returned.

        Args:
            source: the frames.
            limit: at most so many of them.
            depth_of: ground-truth depth of a frame.
            on_frame: called after each.

        Raises:
            SourceError: the source cannot be read to its end.
            EngineError: the inference library failed.
        """
        expected = len(source) if limit is None else min(len(source), limit)
        keeper = SnapshotKeeper(expected, self._odometry.config.preprocess.input)
        start = time.perf_counter()
        items = prefetched(self._prepared(islice(source, limit)))
        try:
            for item, prepared in items:
                self._take(item, prepared, keeper, depth_of)
                on_frame()
        except KeyboardInterrupt:
            self._interrupted = True
        finally:
            items.close()
        return self._result(keeper, time.perf_counter() - start)

    @property
    def ground_truth_trajectory(self) -> Trajectory | None:
        """The ground-truth poses that came with the frames; None where none did.

        Raises:
            TrajectoryError: they are not finite.
        """
        return self._ground_truth_poses.trajectory()

    def _prepared(
        self, items: Iterable[SourceItem]
    ) -> Iterator[tuple[SourceItem, Prepared | None]]:
        """The frames with what the networks will look at; None where ``step`` is to say why."""
        for item in items:
            try:
                yield item, self._odometry.prepare(item.frame)
            except (ImageError, CalibrationError):
                yield item, None

    def _take(
        self,
        item: SourceItem,
        prepared: Prepared | None,
        keeper: SnapshotKeeper,
        depth_of: DepthOf,
    ) -> None:
        index, frame = self._frames, item.frame
        self._frames += 1
        self._image_stamps.append(frame.stamp_ns)
        if item.T_world_camera is not None:
            self._ground_truth_poses.add(frame.stamp_ns, item.T_world_camera)
        try:
            estimate = self._odometry.step(frame, prepared)
        except (ImageError, CalibrationError) as error:  # the node drops such a frame
            self._rejected += 1
            self._trouble = str(error)
            self._intervals.add(frame.stamp_ns, "rejected")
            return
        self._note(estimate)
        if prepared is not None and keeper.wants(index):
            keeper.add(index, prepared.rgb, estimate, depth_of(item))

    def _note(self, estimate: OdometryEstimate) -> None:
        if Reason.TIME_REVERSED in estimate.reasons:  # the node's path begins anew, too
            self._poses = _PoseLog()
        self._intervals.add_estimate(estimate.stamp_ns, estimate.status, estimate.reasons)
        self.timings.add(estimate.stamp_ns, estimate.timings_ns)
        if estimate.T_odom_camera is not None and estimate.T_prev_curr is not None:
            self._poses.add(estimate.stamp_ns, estimate.T_odom_camera)

    def _result(self, keeper: SnapshotKeeper, seconds: float) -> RunResult:
        estimate = self._poses.trajectory()
        steps = self.timings.totals_ms()
        received = 0 if estimate is None else len(estimate)
        return RunResult(
            mode=OFFLINE,
            frames=self._frames,
            frames_to_start=self._frames_to_start,
            rejected=self._rejected,
            estimate=estimate,
            intervals=self._intervals.intervals,
            snapshots=keeper.snapshots,
            image_stamps_ns=np.array(self._image_stamps, dtype=np.int64),
            latency=Percentiles.of(steps),
            stages=self.timings.stages(),
            frames_per_second=received / seconds if received and seconds > 0 else None,
            inference_s=self.timings.inference_s(),
            engine=self._engine,
            trouble=self._trouble,
            interrupted=self._interrupted,
        )


class _PoseLog:
    """Poses with their stamps, packed; of poses with the same stamp the first."""

    def __init__(self) -> None:
        self._stamps = array("q")
        self._numbers = array("d")

    def add(self, stamp_ns: int, pose: FloatArray) -> None:
        self._stamps.append(stamp_ns)
        self._numbers.frombytes(np.ascontiguousarray(pose, dtype=np.float64).tobytes())

    def trajectory(self) -> Trajectory | None:
        if not self._stamps:
            return None
        stamps, first = np.unique(np.array(self._stamps, dtype=np.int64), return_index=True)
        return Trajectory(stamps, np.array(self._numbers).reshape(-1, 4, 4)[first])
