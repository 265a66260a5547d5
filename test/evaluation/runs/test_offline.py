"""Offline runs: every frame in order, the node's rules, the same bits again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bundles import tilted_wall
from corridor import ahead
from corridor import frames as drawn_frames
from small_bags import CAMERA, PERIOD_NS, SmallSequence, image, stamp

from sfm_ros.config import DepthConfig, ModelConfig, OdometryConfig, SfmConfig
from sfm_ros.datatypes import Frame, Prediction, Reason, ScaleSource
from sfm_ros.engines.factory import resolve_bundle
from sfm_ros.engines.fake_engine import FakeEngine, fake_spec
from sfm_ros.engines.onnx_engine import OnnxEngine
from sfm_ros.errors import EngineError, ImageError, SourceError
from sfm_ros.evaluation.runs.depth_samples import KEPT_FRAMES, SnapshotKeeper, png_of, sixteen_bit
from sfm_ros.evaluation.runs.offline import OfflineRun, prefetched
from sfm_ros.evaluation.runs.result import Percentiles, RunResult, Timings
from sfm_ros.odometry import VisualOdometry
from sfm_ros.preprocess import ImagePreparer, Prepared
from sfm_ros.source import Source, SourceItem
from sfm_ros.window import Window

STEP = 0.7


def moving(_: Window) -> np.ndarray:
    T_prev_curr = np.eye(4)
    T_prev_curr[2, 3] = STEP
    return T_prev_curr


def wall(window: Window) -> np.ndarray:
    return tilted_wall(window.intrinsics.width, window.intrinsics.height)


def offline(engine: FakeEngine | None = None) -> OfflineRun:
    """A run of the networks alone: the images of the sequence are too small to be tracked."""
    config = SfmConfig(odometry=OdometryConfig(mode="network"), depth=DepthConfig(mode="network"))
    return OfflineRun(engine or FakeEngine(fake_spec(width=64, height=32), moving, wall), config)


class Items:
    """A source of given items; an exception among them is raised at its index."""

    name = "items"

    def __init__(self, *items: SourceItem | Exception) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[SourceItem]:
        for item in self._items:
            if isinstance(item, Exception):
                raise item
            yield item


def at(times: list[int]) -> Items:
    """A sequence whose frames are at these multiples of the period."""
    items = list(SmallSequence(len(times)))
    return Items(
        *(
            replace(i, frame=replace(i.frame, stamp_ns=stamp(k)))
            for i, k in zip(items, times, strict=True)
        )
    )


def statuses(result: RunResult) -> list[tuple[str, int]]:
    return [(interval.status, interval.frames) for interval in result.intervals]


def test_every_frame_gets_a_pose() -> None:
    result = offline().run(SmallSequence(12))
    assert (result.frames, result.frames_lost, result.rejected) == (12, 0, 0)
    assert result.estimate is not None and len(result.estimate) == 10
    assert result.estimate.stamps_ns.tolist() == [stamp(i) for i in range(2, 12)]
    assert np.diff(result.estimate.positions[:, 2]) == pytest.approx(STEP)
    assert result.scale_source is ScaleSource.MODEL
    assert statuses(result) == [("initializing", 2), ("tracking", 10)]
    assert set(result.stages) >= {"preprocess", "inference", "odometry"}
    assert result.step_time is not None and result.step_time.p99 >= result.step_time.p50 > 0
    assert result.latency is None, "there is no way through the middleware"


def test_images_are_prepared_once_in_another_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by = []
    prepare = ImagePreparer.prepare

    def noted(self: ImagePreparer, frame: Frame) -> Prepared:
        by.append((frame.stamp_ns, threading.current_thread() is threading.main_thread()))
        return prepare(self, frame)

    monkeypatch.setattr(ImagePreparer, "prepare", noted)
    result = offline().run(SmallSequence(12))
    assert by == [(stamp(i), False) for i in range(12)]
    kept = {snapshot.stamp_ns: snapshot.rgb for snapshot in result.snapshots}
    alone = ImagePreparer(64, 32)
    for item in list(SmallSequence(12))[2:]:
        shown = kept[item.frame.stamp_ns]
        assert shown is not None and np.array_equal(shown, prepare(alone, item.frame).rgb)


def test_image_that_cannot_be_prepared_is_rejected() -> None:
    unknown = replace(CAMERA, distortion_model="of the moon", distortion=(0.1,))
    items = list(SmallSequence(8))
    items[4] = replace(items[4], frame=replace(items[4].frame, intrinsics=unknown))
    result = offline().run(Items(*items))
    assert statuses(result)[:3] == [("initializing", 2), ("tracking", 2), ("rejected", 1)]
    assert result.rejected == 1 and "of the moon" in (result.trouble or "")
    assert result.estimate is not None and len(result.estimate) == 5


def test_speeds_of_the_frames_make_lengths_metric() -> None:
    """Steps of 0.8 m; the speeds state twice as much."""
    poses = ahead([0.8] * 9)
    items = [SourceItem(frame=f, speed_m_s=16.0) for f in drawn_frames(poses)]
    config = SfmConfig(odometry=OdometryConfig(mode="geometric"))
    result = OfflineRun(FakeEngine(fake_spec(metric=False)), config).run(Items(*items))
    assert result.scale_source is ScaleSource.EXTERNAL and result.estimate is not None
    steps = np.diff(result.estimate.positions[:, 2])
    assert steps == pytest.approx(1.6, rel=0.1)
    assert result.covariances is not None and len(result.covariances) == len(result.estimate)
    assert np.linalg.eigvalsh(result.covariances[-1]).min() > 0
    assert result.depth_flicker is None  # the networks did not run


def test_limit_and_empty_source() -> None:
    assert offline().run(SmallSequence(12), limit=4).frames == 4
    nothing = offline().run(Items())
    assert nothing.frames == 0 and nothing.estimate is None and nothing.frames_lost == 0
    assert nothing.step_time is None and nothing.intervals == ()


def test_gap_and_duplicate_have_reasons() -> None:
    result = offline().run(at([0, 1, 2, 3, 3, 4, 30, 31, 32]))
    reasons = {interval.reasons for interval in result.intervals}
    assert ("duplicate_stamp",) in reasons and ("gap", "window_not_full") in reasons
    assert result.estimate is not None and len(result.estimate) == 4
    assert result.frames_lost == 9 - 2 - 4


def test_time_reversal_restarts_the_path() -> None:
    result = offline().run(at([10, 11, 12, 13, 0, 1, 2, 3]))
    assert result.estimate is not None
    assert result.estimate.stamps_ns.tolist() == [stamp(2), stamp(3)]
    assert any(Reason.TIME_REVERSED.value in s.reasons for s in result.intervals)


class FailingEngine(FakeEngine):
    """Fails on some windows."""

    def infer(self, window: Window) -> Prediction:
        if window.stamps_ns[-1] == stamp(5):
            raise ImageError("the image is upside down")
        if window.stamps_ns[-1] == stamp(8):
            raise EngineError("out of memory")
        return super().infer(window)


def test_unusable_frame_is_dropped() -> None:
    engine = FailingEngine(fake_spec(width=64, height=32), moving, wall)
    result = offline(engine).run(SmallSequence(8))
    assert result.rejected == 1 and result.trouble == "the image is upside down"
    assert ("rejected", 1) in statuses(result) and result.frames_lost == 1
    with pytest.raises(EngineError, match="out of memory"):
        offline(engine).run(SmallSequence(12))


def test_damaged_source_is_an_error_and_leaves_no_thread() -> None:
    with pytest.raises(SourceError, match="damaged"):
        offline().run(Items(*list(SmallSequence(4)), SourceError("the bag is damaged")))
    names = [thread.name for thread in threading.enumerate()]
    assert not any(name.startswith("sfm_prefetch") for name in names)


def test_ctrl_c_returns_the_result_until_then() -> None:
    seen = []

    def on_frame() -> None:
        seen.append(1)
        if len(seen) == 7:
            raise KeyboardInterrupt

    result = offline().run(SmallSequence(12), on_frame=on_frame)
    assert result.interrupted and result.frames == 7
    assert result.estimate is not None and len(result.estimate) == 5


def test_number_of_kept_frames_is_bounded() -> None:
    """A source that announces 10 frames and yields 1000."""
    keeper = SnapshotKeeper(10)
    estimate = None
    engine = FakeEngine(fake_spec(width=64, height=32), moving, wall)
    odometry = VisualOdometry(engine)
    for item in SmallSequence(3):
        estimate = odometry.step(item.frame)
    assert estimate is not None and estimate.depth is not None
    for index in range(1000):
        if keeper.needs(index):
            later = replace(estimate, stamp_ns=stamp(index))
            keeper.add(index, np.zeros((32, 64, 3), np.uint8), later, None)
    kept = [(s.stamp_ns - stamp(0)) // PERIOD_NS for s in keeper.snapshots]
    assert KEPT_FRAMES < len(kept) <= 2 * KEPT_FRAMES
    assert set(np.diff(kept)) == {16} and kept[-1] > 950


def test_depth_is_compared_with_ground_truth() -> None:
    """The ground truth is twice the depth: no error when scaled, one half when not."""
    spec = fake_spec(width=64, height=32)
    twice = [replace(item, depth_m=2 * wall_of(item.frame)) for item in SmallSequence(4)]
    result = offline(FakeEngine(spec, moving, wall)).run(Items(*twice))
    snapshot = result.snapshots[-1]
    assert snapshot.scaled is not None and snapshot.unscaled is not None
    assert snapshot.scaled.abs_rel == pytest.approx(0.0, abs=1e-5)
    assert snapshot.scaled.scale == pytest.approx(2.0, rel=1e-5)
    assert snapshot.unscaled.abs_rel == pytest.approx(0.5, rel=1e-5)
    assert snapshot.ground_truth is not None and snapshot.ground_truth.shape == (32, 64)
    assert np.nanmedian(snapshot.ground_truth / snapshot.depth) == pytest.approx(2.0, rel=1e-5)


def wall_of(frame: Frame) -> np.ndarray:
    """The engine's wall on the grid of the image, which is the network's."""
    assert frame.intrinsics is CAMERA
    height, width = frame.rgb.shape[:2]
    return tilted_wall(width, height)


def test_sixteen_bit_depth_has_256_units_per_meter(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    depth = np.array([[1.0, np.nan, 0.0], [-2.0, 255.9, 300.0]], np.float32)
    assert sixteen_bit(depth).tolist() == [[256, 0, 0], [0, 65510, 0]]
    (tmp_path / "d.png").write_bytes(png_of(depth))
    assert np.array_equal(
        cv2.imread(str(tmp_path / "d.png"), cv2.IMREAD_UNCHANGED), sixteen_bit(depth)
    )


def test_timings_are_of_steps_with_inference(tmp_path: Path) -> None:
    timings = Timings()
    timings.add(1, {"preprocess": 1_000_000})
    timings.add(2, {"preprocess": 2_000_000, "inference": 10_000_000})
    timings.add(3, {"preprocess": 4_000_000, "inference": 20_000_000})
    assert timings.totals_ms().tolist() == [12.0, 24.0]
    assert timings.inference_s() == pytest.approx(0.03)
    assert timings.stages()["preprocess"] == Percentiles(p50=3.0, p99=pytest.approx(3.98))
    timings.write(tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().splitlines() == [
        "stamp_ns,preprocess_ns,inference_ns",
        "1,1000000,0",
        "2,2000000,10000000",
        "3,4000000,20000000",
    ]
    assert Timings().stages() == {} and Timings().inference_s() == 0


def test_prefetching_keeps_order_and_is_bounded() -> None:
    made = []

    def source() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    items = prefetched(source(), ahead=2)
    assert [next(items) for _ in range(5)] == list(range(5))
    items.close()
    assert len(made) <= 5 + 2 + 2
    assert list(prefetched(iter(range(50)), ahead=3)) == list(range(50))


def textured(frames: int = 8) -> Source:
    """Images of the size of the shipped model's input."""
    camera = replace(CAMERA, width=416, height=128, fx=240.0, fy=240.0, cx=207.5, cy=63.5)
    items = []
    for index in range(frames):
        frame = Frame(stamp_ns=stamp(index), rgb=image(index, 416, 128), intrinsics=camera)
        items.append(SourceItem(frame=frame))
    return Items(*items)


def test_shipped_model_does_not_depend_on_threads() -> None:
    bundle = resolve_bundle("default")
    seen = []
    for threads in (1, 2, 2):
        engine = OnnxEngine(bundle, ModelConfig(threads=threads))
        result = OfflineRun(engine).run(textured())
        assert result.estimate is not None and len(result.snapshots) > 4
        depths = [snapshot.depth.tobytes() for snapshot in result.snapshots]
        seen.append((result.estimate.poses.tobytes(), depths))
    assert seen[0] == seen[1], "one and two threads differ"
    assert seen[1] == seen[2], "two starts differ"
