"""The worker thread with a fake node: no middleware, no process."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

import cv2
import numpy as np
import rclpy.logging
from rig.camera import HEIGHT, PERIOD_NS, WIDTH, image_message, info_message
from rig.fake_node import CONFIG, FORWARD, STAND, TroubledEngine
from rig.fake_ros import FakeLookup, FakeNode
from rig.probe import wait_until
from sensor_msgs.msg import CompressedImage, Image

from sfm_ros.config import config_from_dict
from sfm_ros.engines.fake_engine import FakeEngine
from sfm_ros.odometry import VisualOdometry
from sfm_ros.ros.node.calibration import CalibrationCache
from sfm_ros.ros.node.extrinsics import ExtrinsicsLookup
from sfm_ros.ros.node.mailbox import Mailbox
from sfm_ros.ros.node.publishers import Outputs
from sfm_ros.ros.node.run_statistics import RunStatistics
from sfm_ros.ros.node.speed import SpeedInput
from sfm_ros.ros.node.worker import WARNING_PERIOD_S, Pipeline, Waiting, Worker


class Options:
    """Stands for the parameters of a node."""

    def __init__(self) -> None:
        self.config = CONFIG


class Bench:
    """A worker with everything around it, and what it did.

    Args:
        engine: the networks.
        wait_s: how long the first image waits for TF; with 0 no TF is asked.
        logger: of the node.
    """

    def __init__(
        self, engine: FakeEngine | None = None, wait_s: float = 0.0, logger: Any = None
    ) -> None:
        self.node = FakeNode(logger=logger)
        self.options = Options()
        self.statistics = RunStatistics()
        self.mailbox: Mailbox[Waiting] = Mailbox("every", capacity=1000)
        self.failures: list[str] = []
        self.on_failure: Callable[[str], None] = lambda _: None
        self.now_ns = 10**12
        self.calibration = CalibrationCache("/camera_info")
        node: Any = self.node
        self.outputs = Outputs(node, self.options.config)
        pipeline = Pipeline(
            calibration=self.calibration,
            odometry=VisualOdometry(engine or TroubledEngine(), self.options.config),
            extrinsics=ExtrinsicsLookup(
                FakeLookup if wait_s else lambda: None, "base_link", wait_s, lambda _: None
            ),
            outputs=self.outputs,
            speeds=SpeedInput(),
        )
        options: Any = self.options
        self.worker = Worker(node, options, pipeline, self.statistics, self._fail)

    def _fail(self, reason: str) -> None:
        self.failures.append(reason)
        self.on_failure(reason)

    def show(self, *levels: int) -> None:
        """Put images of these levels into the mailbox."""
        for level in levels:
            self.now_ns += PERIOD_NS
            self.put(image_message(level, self.now_ns))

    def put(self, message: Image | CompressedImage) -> None:
        self.statistics.image_received()
        self.mailbox.put((message, time.monotonic_ns()))

    def values(self) -> dict[str, str]:
        status = self.statistics.diagnostic("node", {"image_topic": "/image"})
        return {entry.key: entry.value for entry in status.values}

    def wait_for(self, key: str, value: str) -> None:
        """Wait until the status has a value."""
        wait_until(lambda: self.values().get(key) == value, f"{key} {value}; {self.values()}")

    def positions(self) -> list[float]:
        """x of the odometry so far."""
        return [m.pose.pose.position.x for m in self.node.published("~/odometry")]


@pytest.fixture
def make_bench() -> Iterator[Callable[..., Bench]]:
    """Starts workers that end with the test."""
    benches: list[Bench] = []

    def make(*args: Any, **kwargs: Any) -> Bench:
        benches.append(Bench(*args, **kwargs))
        benches[-1].worker.start(benches[-1].mailbox)
        return benches[-1]

    yield make
    for bench in benches:
        bench.mailbox.close()
        bench.worker.stop()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    """A worker with a calibration."""
    made = make_bench()
    made.calibration.take(info_message())
    return made


def test_images_become_odometry_and_depth(bench: Bench) -> None:
    bench.show(STAND, FORWARD, FORWARD, FORWARD)
    bench.wait_for("processed", "4")
    assert bench.positions() == pytest.approx([1.0, 1.5])
    assert bench.node.published("~/odometry")[-1].child_frame_id == "camera_body"
    assert len(bench.node.published("~/depth/image")) == 2
    values = bench.values()
    assert (values["status"], values["odometry"]) == ("tracking", "2")
    for stage in ("queue", "convert", "preprocess", "publish", "total", "engine"):
        assert float(values[f"latency_{stage}_p50_ms"]) >= 0
    camera, *rest = bench.node.get_logger().texts("info")
    assert camera.startswith("/camera_info: the images are taken as rectified, with K, fx 80.0")
    assert rest == ["initializing: window_not_full", "tracking"]


def test_bad_image_is_dropped_and_the_next_is_processed(bench: Bench) -> None:
    bench.show(STAND, FORWARD, FORWARD)
    bad = image_message(FORWARD, bench.now_ns + 1)
    bad.encoding = "jpeg2000"
    bench.put(bad)
    bench.wait_for("rejected", "1")
    assert bench.values()["reasons"] == "bad_image"
    assert "'jpeg2000'" in bench.values()["last_trouble"]
    bench.show(FORWARD)
    bench.wait_for("processed", "4")
    assert bench.positions() == pytest.approx([1.0, 1.5])


def test_image_beyond_the_limit_is_dropped_before_it_is_decoded(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Any] = []
    data = cv2.imencode(".png", np.full((HEIGHT, WIDTH), 40_000, np.uint16))[1].tobytes()
    monkeypatch.setattr(cv2, "imdecode", lambda *_: decoded.append(True))
    bench.options.config = config_from_dict({"preprocess": {"max_megapixels": 0.001}})
    bench.put(CompressedImage(format="mono16; png compressed", data=data))
    bench.wait_for("rejected", "1")
    assert bench.values()["reasons"] == "bad_image"
    assert "expected at most 0.001 million" in bench.values()["last_trouble"]
    assert not decoded


def test_image_of_another_size_is_dropped(bench: Bench) -> None:
    bench.calibration.take(info_message(width=WIDTH // 2, height=HEIGHT // 2))
    bench.show(STAND)
    bench.wait_for("rejected", "1")
    assert bench.values()["reasons"] == "calibration_mismatch"


def test_each_kind_of_problem_is_logged_although_repeated_ones_are_not(
    make_bench: Callable[..., Bench], capfd: pytest.CaptureFixture
) -> None:
    """With rclpy's own logger, which throttles by the line that logs."""
    bench = make_bench(logger=rclpy.logging.get_logger("worker_test"))
    bench.calibration.take(info_message())
    for number in range(5):
        bad = image_message(FORWARD, bench.now_ns + number)
        bad.encoding = f"unknown{number}"
        bench.put(bad)
    bench.wait_for("rejected", "5")
    bench.calibration.take(info_message(width=WIDTH // 2, height=HEIGHT // 2))
    bench.show(STAND, STAND)
    bench.wait_for("rejected", "7")
    logged = "".join(capfd.readouterr())
    assert "image dropped: " in logged
    assert ["'unknown0'" in logged, "'unknown1'" in logged] == [True, False]
    assert logged.count("its calibration is for") == 1


def test_images_wait_for_a_calibration(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench()
    bench.show(STAND, FORWARD, FORWARD)
    bench.wait_for("status", "waiting_for_calibration")
    assert "on /camera_info: none has been received" in bench.values()["last_trouble"]
    bench.calibration.take(info_message(focal=0.0))
    wait_until(lambda: "focal length" in bench.values()["last_trouble"], "the reason")
    assert not bench.positions()
    bench.calibration.take(info_message())
    bench.wait_for("processed", "3")
    assert bench.positions() == pytest.approx([1.0])


def test_live_option_is_applied_to_the_next_image(bench: Bench) -> None:
    bench.show(STAND, FORWARD, FORWARD)
    bench.wait_for("processed", "3")
    bench.options.config = config_from_dict(
        {"health": {"max_speed": 4.0}, "node": {"publish_depth": False}}
    )
    bench.show(FORWARD)  # 5 m/s
    bench.wait_for("processed", "4")
    assert bench.values()["reasons"] == "implausible_motion"
    assert bench.positions() == pytest.approx([1.0])
    assert len(bench.node.published("~/depth/image")) == 1


def test_reset_puts_the_next_image_at_the_origin(bench: Bench) -> None:
    bench.show(STAND, FORWARD, FORWARD)
    bench.wait_for("processed", "3")
    bench.worker.reset()
    bench.show(STAND, FORWARD, FORWARD)
    bench.wait_for("processed", "6")
    assert bench.positions() == pytest.approx([1.0, 1.0])
    assert len(bench.outputs.trajectory.trajectory()[0] or ()) == 1


def test_failing_engine_ends_the_worker(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(TroubledEngine(fail_after=0))
    # As a program may do that destroys its node: from the worker's own thread.
    bench.on_failure = lambda _: bench.worker.stop()
    bench.calibration.take(info_message())
    bench.show(STAND, STAND, STAND, STAND)
    wait_until(lambda: bench.failures, "the failure")
    assert bench.failures == ["the engine 'fake' failed: the library is out of memory"]
    assert (bench.values()["status"], bench.values()["reasons"]) == ("lost", "engine_failed")
    assert bench.mailbox.closed  # no callback waits for room


class BrokenEngine(TroubledEngine):
    """Fails in an unexpected way."""

    def infer(self, window: Any) -> Any:
        raise ZeroDivisionError


def test_unexpected_error_is_reported_with_its_traceback(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(BrokenEngine())
    bench.calibration.take(info_message())
    bench.show(STAND, STAND, STAND)
    wait_until(lambda: bench.failures, "the failure")
    assert bench.failures[0].startswith("the worker failed:\nTraceback")
    assert "ZeroDivisionError" in bench.failures[0]


def test_error_after_the_middleware_was_shut_down_is_none(
    make_bench: Callable[..., Bench],
) -> None:
    bench = make_bench(BrokenEngine())
    bench.node.context_is_ok = False
    bench.calibration.take(info_message())
    bench.show(STAND, STAND, STAND)
    wait_until(lambda: bench.mailbox.closed, "the end of the worker")
    bench.worker.stop()
    assert not bench.failures


def test_stop_ends_a_wait_for_tf(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench(wait_s=60.0)
    bench.calibration.take(info_message())
    bench.show(STAND)
    wait_until(lambda: not len(bench.mailbox), "the image to be taken")
    bench.mailbox.close()
    bench.worker.stop()
    assert bench.values()["processed"] == "0" and not bench.failures


def named(bench: Bench, frame_id: str) -> Image:
    bench.now_ns += PERIOD_NS
    return image_message(FORWARD, bench.now_ns, frame_id)


@pytest.mark.parametrize("frame_id", ["x" * 5_000_000, "\x1b[2J\n[INFO] all is well"])
def test_frame_of_an_image_cannot_forge_or_flood_the_log(bench: Bench, frame_id: str) -> None:
    bench.put(named(bench, frame_id))
    bench.wait_for("rejected", "1")
    shown = [text for _, text in bench.node.get_logger().lines] + [bench.values()["last_trouble"]]
    assert any("expected at most 256 printable characters" in text for text in shown)
    assert all(text.isprintable() and len(text) < 1000 for text in shown)
    bench.show(STAND, STAND, FORWARD)
    bench.wait_for("status", "tracking")


def test_images_of_many_frames_leave_the_first_working(bench: Bench) -> None:
    """A peer gives each of its images another frame."""
    bench.show(STAND)
    for index in range(50):
        bench.put(named(bench, f"other{index}"))
    bench.wait_for("rejected", "35")
    assert "expected one of the 16 so far" in bench.values()["last_trouble"]
    bench.show(STAND, STAND, FORWARD)
    bench.wait_for("processed", str(1 + 15 + 3))
    assert bench.values()["status"] == "tracking"


def test_changes_of_the_status_do_not_flood_the_log(bench: Bench) -> None:
    """A dropped image is logged once in a while, and what follows it only after such a line."""
    begin_s = time.monotonic()
    for _ in range(500):
        bench.put(named(bench, "camera\n"))
        bench.show(STAND)
    bench.wait_for("received", "1000")
    bench.wait_for("rejected", "500")
    bench.wait_for("processed", "500")
    periods = math.ceil((time.monotonic() - begin_s) / WARNING_PERIOD_S)
    lines = [
        (level, text)
        for level, text in bench.node.get_logger().lines
        if "images are taken as" not in text
    ]
    warnings = [text for level, text in lines if level == "warning"]
    assert 1 <= len(warnings) <= periods + 1
    assert all(first != second for first, second in zip(lines, lines[1:], strict=False))


def test_lost_motion_is_a_warning_with_value_and_limit(bench: Bench) -> None:
    bench.options.config = config_from_dict(
        {"odometry": {"mode": "network"}, "health": {"max_speed": 4.0}}
    )
    bench.show(STAND, STAND, STAND, FORWARD, FORWARD, FORWARD)
    bench.wait_for("processed", "6")
    assert bench.node.get_logger().texts("warning") == [
        "lost: implausible_motion (5 units per second, health.max_speed is 4)"
    ]
    assert bench.values()["last_trouble"].endswith("health.max_speed is 4)")
