"""Runs the odometry over a source in this process: every frame, in order, nothing dropped.

It is the same object that the node runs, called as the node calls it. The estimates do not depend
on how long anything took, so two runs give the same estimates to the last bit.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import TypeVar

import numpy as np

from sfm_ros.config import SfmConfig
from sfm_ros.datatypes import FloatArray, OdometryEstimate, Reason, RgbImage, ScaleSource
from sfm_ros.engines.base import Engine
from sfm_ros.errors import CalibrationError, ImageError
from sfm_ros.evaluation.depth.flicker import DepthFlicker
from sfm_ros.evaluation.runs.depth_samples import SnapshotKeeper
from sfm_ros.evaluation.runs.ground_truth import GroundTruthDepth, depth_of_frame
from sfm_ros.evaluation.runs.result import (
    MULTIVIEW,
    NETWORK,
    OFFLINE,
    Percentiles,
    RunResult,
    StatusTimeline,
    Timings,
)
from sfm_ros.formats.trajectory import Trajectory
from sfm_ros.odometry import VisualOdometry
from sfm_ros.preprocess import Prepared
from sfm_ros.source import Source, SourceItem

_Item = TypeVar("_Item")


class OfflineRun:
    """One pass over a source.

    A frame adds a few hundred bytes; images and depth are kept of a fixed number of frames.
    """

    def __init__(self, engine: Engine, config: SfmConfig | None = None) -> None:
        self._engine = engine
        self._odometry = VisualOdometry(engine, config or SfmConfig())
        self._timings = Timings()
        self._image_stamps: list[int] = []
        self._poses: dict[int, FloatArray] = {}
        self._covariances: dict[int, FloatArray] = {}
        self._flicker, self._network_flicker = DepthFlicker(), DepthFlicker()
        self._timeline = StatusTimeline()
        self._scale_source = ScaleSource.UNKNOWN
        self._is_measured = False
        self._rejected = 0
        self._trouble: str | None = None
        self._interrupted = False

    def run(
        self,
        source: Source,
        limit: int | None = None,
        depth_of: Callable[[SourceItem], GroundTruthDepth | None] = depth_of_frame,
        on_frame: Callable[[], object] = lambda: None,
        on_estimate: Callable[[RgbImage, OdometryEstimate], object] = lambda rgb, estimate: None,
    ) -> RunResult:
        """Process the frames one after the other.

        Ctrl-C ends the pass; the result until then is returned.

        Args:
            source: the frames.
            limit: at most this many of them.
            depth_of: ground-truth depth of a frame.
            on_frame: called after each frame.
            on_estimate: called with the network's input and the estimate of each frame.

        Raises:
            SourceError: the source cannot be read to its end.
            EngineError: the inference library failed.
        """
        expected = len(source) if limit is None else min(len(source), limit)
        keeper = SnapshotKeeper(expected)
        start = time.perf_counter()
        items = prefetched(self._prepared(islice(source, limit)))
        try:
            for item, prepared in items:
                estimate = self._process(item, prepared, keeper, depth_of)
                if estimate is not None and prepared is not None:
                    on_estimate(prepared.rgb, estimate)
                on_frame()
        except KeyboardInterrupt:
            self._interrupted = True
        finally:
            items.close()
        return self._result(keeper, time.perf_counter() - start)

    def _prepared(
        self, items: Iterable[SourceItem]
    ) -> Iterator[tuple[SourceItem, Prepared | None]]:
        """The frames with the networks' input; None if ``step`` shall raise the error."""
        for item in items:
            try:
                yield item, self._odometry.prepare(item.frame)
            except (ImageError, CalibrationError):
                yield item, None

    def _process(
        self,
        item: SourceItem,
        prepared: Prepared | None,
        keeper: SnapshotKeeper,
        depth_of: Callable[[SourceItem], GroundTruthDepth | None],
    ) -> OdometryEstimate | None:
        """The estimate of a frame; None if the node drops such a frame."""
        index, stamp_ns = len(self._image_stamps), item.frame.stamp_ns
        self._image_stamps.append(stamp_ns)
        if item.speed_m_s is not None:
            self._odometry.add_speed(stamp_ns, item.speed_m_s)
        try:
            estimate = self._odometry.step(item.frame, prepared)
        except (ImageError, CalibrationError) as error:  # the node drops such a frame
            self._rejected += 1
            self._trouble = str(error)
            self._timeline.add(stamp_ns, "rejected")
            return None
        self._record(estimate)
        if prepared is not None and keeper.needs(index):
            keeper.add(index, prepared.rgb, estimate, depth_of(item))
        return estimate

    def _record(self, estimate: OdometryEstimate) -> None:
        if Reason.TIME_REVERSED in estimate.reasons:  # the node's path restarts, too
            self._poses.clear()
            self._covariances.clear()
        reasons = [reason.value for reason in estimate.reasons]
        self._timeline.add(estimate.stamp_ns, estimate.status.value, reasons)
        self._timings.add(estimate.stamp_ns, estimate.timings_ns)
        self._flicker.add(estimate)
        self._network_flicker.add(replace(estimate, depth=estimate.network_depth))
        self._is_measured |= estimate.depth_uncertainty is not None
        if estimate.T_odom_camera is not None and estimate.T_prev_curr is not None:
            self._poses.setdefault(estimate.stamp_ns, estimate.T_odom_camera)
            self._covariances.setdefault(estimate.stamp_ns, estimate.covariance)
            self._scale_source = estimate.scale.source

    def _covariances_of(self, estimate: Trajectory) -> FloatArray:
        return np.stack([self._covariances[stamp] for stamp in estimate.stamps_ns.tolist()])

    def _result(self, keeper: SnapshotKeeper, seconds: float) -> RunResult:
        received = len(self._poses)
        estimate = Trajectory.of(self._poses) if self._poses else None
        return RunResult(
            mode=OFFLINE,
            frames=len(self._image_stamps),
            frames_to_start=self._engine.spec.sequence_length - 1,
            rejected=self._rejected,
            estimate=estimate,
            covariances=None if estimate is None else self._covariances_of(estimate),
            depth_flicker=self._flicker.mean,
            flicker_by_method={
                NETWORK: self._network_flicker.median,
                **({MULTIVIEW: self._flicker.median} if self._is_measured else {}),
            },
            intervals=self._timeline.intervals,
            snapshots=keeper.snapshots,
            image_stamps_ns=np.array(self._image_stamps, dtype=np.int64),
            step_time=Percentiles.of(self._timings.totals_ms()),
            stages=self._timings.stages(),
            frames_per_second=received / seconds if received and seconds > 0 else None,
            inference_s=self._timings.inference_s(),
            engine=f"{self._engine.name} {self._engine.precision}",
            scale_source=self._scale_source,
            trouble=self._trouble,
            interrupted=self._interrupted,
            timings=self._timings,
        )


def prefetched(items: Iterable[_Item], ahead: int = 3) -> Generator[_Item, None, None]:
    """The same items in the same order, up to ``ahead`` of them made in another thread.

    An error of the source is raised at the position of its item. Close the generator if it may be
    left early: the thread ends with it.
    """
    iterator, end = iter(items), object()
    reader = ThreadPoolExecutor(1, thread_name_prefix="sfm_prefetch")
    pending = deque(reader.submit(next, iterator, end) for _ in range(ahead))
    try:
        while (item := pending.popleft().result()) is not end:
            pending.append(reader.submit(next, iterator, end))
            yield item  # type: ignore[misc]  # not the end
    finally:
        reader.shutdown(cancel_futures=True)
