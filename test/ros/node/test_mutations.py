"""Damaged messages by the thousand: the project's errors, finite numbers, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from rclpy.serialization import serialize_message
from rig.camera import image_message, info_message
from rig.fake_node import FORWARD, TroubledEngine
from rig.mutations import damaged_image, damaged_info, damaged_stamps, fitting_image, stamps
from sensor_msgs.msg import CameraInfo, Image

from sfm_ros.config import NodeConfig, SfmConfig
from sfm_ros.datatypes import TrackingStatus
from sfm_ros.errors import CalibrationError, ImageError
from sfm_ros.odometry import VisualOdometry
from sfm_ros.ros import conversions
from sfm_ros.ros.node.calibration import CalibrationCache
from sfm_ros.ros.node.extrinsics import Extrinsics
from sfm_ros.ros.node.publishers import Outputs

SEED = 20240607


class Recorder:
    """A publisher whose subscriber reads everything: it must be sendable, and finite."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.count = 0

    def get_subscription_count(self) -> int:
        return 1

    def publish(self, message: Any) -> None:
        self.count += 1
        serialize_message(message)
        if hasattr(message, "data"):  # REP 117: NaN says that there is no depth here
            kind = np.uint8 if getattr(message, "encoding", "") == "rgb8" else np.float32
            assert not np.isinf(np.frombuffer(message.data, kind)).any(), self.topic
        assert all(np.isfinite(number) for number in numbers_in(message)), message


class Desk:
    """A node's place without a middleware: makes publishers that check what is published."""

    def __init__(self) -> None:
        self.publishers: dict[str, Recorder] = {}

    def create_publisher(self, _: type, topic: str, __: Any) -> Recorder:
        return self.publishers.setdefault(topic, Recorder(topic))


def numbers_in(message: Any) -> Iterator[float]:
    """All fields of a message that are or hold floating point numbers."""
    for name, kind in message.get_fields_and_field_types().items():
        value = getattr(message, name)
        if kind.startswith(("double", "float", "sequence<double", "sequence<float")):
            yield from np.ravel(value)
        elif hasattr(value, "get_fields_and_field_types"):
            yield from numbers_in(value)


class WholeWay:
    """The way of a message from the middleware to the publishers, without either."""

    def __init__(self) -> None:
        config = SfmConfig(node=NodeConfig(path_length=3, trajectory_length=10))
        self.desk = Desk()
        self.odometry = VisualOdometry(TroubledEngine(), config)
        self.outputs = Outputs(self.desk, config)  # type: ignore[arg-type]
        self.calibration = CalibrationCache()
        self.results: Counter[str] = Counter()

    def calibrate(self, info: CameraInfo) -> None:
        self.calibration.take(info)

    def show(self, image: Image) -> TrackingStatus | None:
        """What the odometry says of an image; None where it is refused."""
        try:
            intrinsics = self.calibration.wait(0)
            assert intrinsics is not None
            estimate = self.odometry.step(conversions.frame_from_image(image, intrinsics))
        except (ImageError, CalibrationError) as error:
            assert str(error)
            self.results[type(error).__name__] += 1
            return None
        extrinsics = Extrinsics(
            child="body",
            optical_frame=estimate.frame_id,
            T_body_camera=conversions.T_BODY_OPTICAL,
            is_known=False,
        )
        self.outputs.publish(estimate, extrinsics)
        self.results[estimate.status.value] += 1
        return estimate.status


def damaged_input(
    rng: np.random.Generator, clock: Iterator[int]
) -> tuple[CameraInfo, list[Image]]:
    """A calibration and images: one of both, or the stamps, damaged."""
    kind = rng.random()
    if kind < 0.5:
        good = image_message(FORWARD, next(clock))
        return info_message(), [good, damaged_image(rng, next(clock))]
    info = info_message() if kind < 0.6 else damaged_info(rng)
    images = [fitting_image(rng, info.width, info.height, next(clock)) for _ in range(3)]
    return info, damaged_stamps(rng, images) if kind < 0.6 else images


@pytest.mark.parametrize(
    "count", [2000, pytest.param(20_000, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_damaged_messages_give_finite_outputs_or_named_errors(
    count: int, capsys: pytest.CaptureFixture
) -> None:
    way, rng, clock = WholeWay(), np.random.default_rng([SEED, count]), stamps()
    way.calibrate(info_message())
    for index in range(count):
        try:
            info, images = damaged_input(rng, clock)
            way.calibrate(info)
            for image in images:
                way.show(image)
        except Exception as error:
            raise AssertionError(f"mutation {index} of seed {SEED}, {count}") from error
    published = sum(recorder.count for recorder in way.desk.publishers.values())
    with capsys.disabled():
        print(f"\n{count} mutations, seed {SEED}: {dict(way.results)}, {published} messages out")
    assert way.results[TrackingStatus.TRACKING.value] > count / 10  # it was not all refused
    assert way.results["ImageError"] > count / 10 and way.results["CalibrationError"] > count / 10

    way.odometry.reset()
    way.calibrate(info_message())
    said = [way.show(image_message(FORWARD, next(clock))) for _ in range(3)]
    assert said[-1] is TrackingStatus.TRACKING
