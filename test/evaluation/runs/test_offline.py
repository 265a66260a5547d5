"""Runs offline: every frame in order, the node's rules, the same bits again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_bags import CAMERA, PERIOD_NS, Drive, image, pose, stamp

from sfm_ros.datatypes import Frame, Prediction, Reason
from sfm_ros.engines.factory import resolve_bundle
from sfm_ros.engines.fake_engine import FakeEngine, fake_spec
from sfm_ros.engines.onnx_engine import OnnxEngine
from sfm_ros.errors import EngineError, ImageError, SourceError, TrajectoryError
from sfm_ros.evaluation.runs.depth_samples import WANTED, SnapshotKeeper, png_of, sixteen_bit
from sfm_ros.evaluation.runs.offline import OfflineRun
from sfm_ros.evaluation.runs.prefetch import prefetched
from sfm_ros.evaluation.runs.result import Percentiles, RunResult
from sfm_ros.evaluation.runs.timings import Timings
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
    return np.tile(
        np.linspace(60.0, 3.0, window.intrinsics.height, dtype=np.float32)[:, None],
        (1, window.intrinsics.width),
    )


def offline(engine: FakeEngine | None = None) -> OfflineRun:
    engine = engine or FakeEngine(fake_spec(width=64, height=32), moving, wall)
    return OfflineRun(VisualOdometry(engine), engine.name, engine.spec.sequence_length - 1)


class Items:
    """A source of given items; an exception among them is raised in its place."""

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
    """A drive whose frames come at these multiples of the period."""
    items = list(Drive(len(times)))
    return Items(
        *(
            replace(i, frame=replace(i.frame, stamp_ns=stamp(k)))
            for i, k in zip(items, times, strict=True)
        )
    )


def statuses(result: RunResult) -> list[tuple[str, int]]:
    return [(interval.status, interval.frames) for interval in result.intervals]


def test_every_frame_goes_in_and_its_pose_comes_out() -> None:
    run = offline()
    result = run.run(Drive(12))
    assert (result.frames, result.frames_lost, result.rejected) == (12, 0, 0)
    assert result.estimate is not None and len(result.estimate) == 10
    assert result.estimate.stamps_ns.tolist() == [stamp(i) for i in range(2, 12)]
    assert np.diff(result.estimate.positions[:, 2]) == pytest.approx(STEP)
    assert statuses(result) == [("initializing", 2), ("tracking", 10)]
    assert set(result.stages) >= {"preprocess", "inference", "odometry"}
    assert result.latency is not None and result.latency.p99 >= result.latency.p50 > 0
    true = run.ground_truth_trajectory
    assert true is not None and np.array_equal(true.poses[3], pose(3))


def test_images_are_prepared_once_each_in_another_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by = []
    prepare = ImagePreparer.prepare

    def noted(self: ImagePreparer, frame: Frame) -> Prepared:
        by.append((frame.stamp_ns, threading.current_thread() is threading.main_thread()))
        return prepare(self, frame)

    monkeypatch.setattr(ImagePreparer, "prepare", noted)
    result = offline().run(Drive(12))
    assert by == [(stamp(i), False) for i in range(12)]
    kept = {snapshot.stamp_ns: snapshot.rgb for snapshot in result.snapshots}
    alone = ImagePreparer(64, 32)
    for item in list(Drive(12))[2:]:
        shown = kept[item.frame.stamp_ns]
        assert shown is not None and np.array_equal(shown, prepare(alone, item.frame).rgb)


def test_a_image_that_cannot_be_prepared_is_rejected_in_its_place() -> None:
    unknown = replace(CAMERA, distortion_model="of the moon", distortion=(0.1,))
    items = list(Drive(8))
    items[4] = replace(items[4], frame=replace(items[4].frame, intrinsics=unknown))
    result = offline().run(Items(*items))
    assert statuses(result)[:3] == [("initializing", 2), ("tracking", 2), ("rejected", 1)]
    assert result.rejected == 1 and "of the moon" in (result.trouble or "")
    assert result.estimate is not None and len(result.estimate) == 5


def test_a_limit_and_an_empty_source() -> None:
    assert offline().run(Drive(12), limit=4).frames == 4
    nothing = offline().run(Items())
    assert nothing.frames == 0 and nothing.estimate is None and nothing.frames_lost == 0
    assert nothing.latency is None and nothing.intervals == ()


def test_a_gap_and_a_duplicate_are_told_with_their_reasons() -> None:
    result = offline().run(at([0, 1, 2, 3, 3, 4, 30, 31, 32]))
    reasons = {interval.reasons for interval in result.intervals}
    assert ("duplicate_stamp",) in reasons and ("gap", "window_not_full") in reasons
    assert result.estimate is not None and len(result.estimate) == 4
    assert result.frames_lost == 9 - 2 - 4


def test_where_time_goes_back_the_path_begins_anew() -> None:
    result = offline().run(at([10, 11, 12, 13, 0, 1, 2, 3]))
    assert result.estimate is not None
    assert result.estimate.stamps_ns.tolist() == [stamp(2), stamp(3)]
    assert any(Reason.TIME_REVERSED.value in s.reasons for s in result.intervals)


class Choosy(FakeEngine):
    """Cannot take some windows."""

    def infer(self, window: Window) -> Prediction:
        if window.stamps_ns[-1] == stamp(5):
            raise ImageError("the image is upside down")
        if window.stamps_ns[-1] == stamp(8):
            raise EngineError("out of memory")
        return super().infer(window)


def test_a_frame_that_cannot_be_used_is_dropped_as_the_node_does() -> None:
    engine = Choosy(fake_spec(width=64, height=32), moving, wall)
    result = offline(engine).run(Drive(8))
    assert result.rejected == 1 and result.trouble == "the image is upside down"
    assert ("rejected", 1) in statuses(result) and result.frames_lost == 1
    with pytest.raises(EngineError, match="out of memory"):
        offline(engine).run(Drive(12))


def test_a_source_that_breaks_off_is_an_error_and_leaves_no_thread() -> None:
    with pytest.raises(SourceError, match="damaged"):
        offline().run(Items(*list(Drive(4)), SourceError("the bag is damaged")))
    assert "sfm_prefetch" not in [thread.name for thread in threading.enumerate()]


def test_ctrl_c_keeps_what_was_done() -> None:
    seen = []

    def on_frame() -> None:
        seen.append(1)
        if len(seen) == 7:
            raise KeyboardInterrupt

    result = offline().run(Drive(12), on_frame=on_frame)
    assert result.interrupted and result.frames == 7
    assert result.estimate is not None and len(result.estimate) == 5


def test_true_poses_that_are_no_numbers_are_an_error() -> None:
    items = list(Drive(3))
    broken = np.array(items[1].T_world_camera)
    broken[0, 3] = np.nan
    run = offline()
    run.run(Items(items[0], replace(items[1], T_world_camera=broken), items[2]))
    with pytest.raises(TrajectoryError, match="not finite"):
        run.ground_truth_trajectory  # noqa: B018


def test_depth_is_kept_of_so_many_frames_however_long_the_run_is() -> None:
    """A source that says it has 10 frames and gives 1000."""
    keeper = SnapshotKeeper(10, "auto")
    estimate = None
    engine = FakeEngine(fake_spec(width=64, height=32), moving, wall)
    odometry = VisualOdometry(engine)
    for item in Drive(3):
        estimate = odometry.step(item.frame)
    assert estimate is not None and estimate.depth is not None
    for index in range(1000):
        if keeper.wants(index):
            later = replace(estimate, stamp_ns=stamp(index))
            keeper.add(index, np.zeros((32, 64, 3), np.uint8), later, None)
    kept = [(s.stamp_ns - stamp(0)) // PERIOD_NS for s in keeper.snapshots]
    assert WANTED < len(kept) <= 2 * WANTED
    assert set(np.diff(kept)) == {16} and kept[-1] > 950


def test_depth_of_a_frame_is_compared_with_its_ground_truth() -> None:
    """A ground truth that is twice the depth: right when scaled, half when not."""
    spec = fake_spec(width=64, height=32)
    twice = [replace(item, depth_m=2 * wall_of(item.frame)) for item in Drive(4)]
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
    column = np.linspace(60.0, 3.0, frame.rgb.shape[0], dtype=np.float32)
    return np.tile(column[:, None], (1, frame.rgb.shape[1]))


def test_sixteen_bit_depth_is_in_steps_of_a_256th(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    depth = np.array([[1.0, np.nan, 0.0], [-2.0, 255.9, 300.0]], np.float32)
    assert sixteen_bit(depth).tolist() == [[256, 0, 0], [0, 65510, 0]]
    (tmp_path / "d.png").write_bytes(png_of(depth))
    assert np.array_equal(
        cv2.imread(str(tmp_path / "d.png"), cv2.IMREAD_UNCHANGED), sixteen_bit(depth)
    )


def test_timings_count_the_steps_in_which_the_networks_ran(tmp_path: Path) -> None:
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


def test_reading_ahead_keeps_the_order_and_never_runs_away() -> None:
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


def test_the_shipped_model_says_the_same_with_one_and_two_threads() -> None:
    bundle = resolve_bundle("default")
    seen = []
    for threads in (1, 2, 2):
        engine = OnnxEngine(bundle, threads=threads)
        result = OfflineRun(
            VisualOdometry(engine), engine.name, engine.spec.sequence_length - 1
        ).run(textured())
        assert result.estimate is not None and len(result.snapshots) > 4
        depths = [snapshot.depth.tobytes() for snapshot in result.snapshots]
        seen.append((result.estimate.poses.tobytes(), depths))
    assert seen[0] == seen[1], "one and two threads differ"
    assert seen[1] == seen[2], "a second start differs"
