"""Thousands of damaged messages give named errors or finite numbers, and nothing else."""

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
from rig.fake_ros import FakeNode
from rig.mutations import damaged_image, damaged_info, damaged_stamps, fitting_image, stamps
from sensor_msgs.msg import CameraInfo, Image

from sfm_ros.config import NodeConfig, OdometryConfig, SfmConfig
from sfm_ros.datatypes import CameraIntrinsics, OdometryEstimate, TrackingStatus
from sfm_ros.errors import CalibrationError, ImageError
from sfm_ros.odometry import VisualOdometry
from sfm_ros.ros import conversions
from sfm_ros.ros.node.calibration import CalibrationCache
from sfm_ros.ros.node.extrinsics import Extrinsics
from sfm_ros.ros.node.publishers import Outputs

SEED = 20240607


def check_message(topic: str, message: Any) -> None:
    """A published message can be sent, and all its numbers are finite."""
    serialize_message(message)
    if hasattr(message, "data"):  # REP 117: NaN marks an unknown depth
        kind = np.uint8 if getattr(message, "encoding", "") == "rgb8" else np.float32
        assert not np.isinf(np.frombuffer(message.data, kind)).any(), topic
    assert all(np.isfinite(number) for number in numbers_in(message)), message


def numbers_in(message: Any) -> Iterator[float]:
    """All floating point numbers in a message."""
    for name, kind in message.get_fields_and_field_types().items():
        value = getattr(message, name)
        if kind.startswith(("double", "float", "sequence<double", "sequence<float")):
            yield from np.ravel(value)
        elif hasattr(value, "get_fields_and_field_types"):
            yield from numbers_in(value)


class Chain:
    """What is done with a message between the middleware's two ends, without the middleware."""

    def __init__(self, mode: str = "network") -> None:
        config = SfmConfig(
            node=NodeConfig(path_length=3, trajectory_length=10),
            odometry=OdometryConfig(mode=mode),
        )
        self.node = FakeNode(check_message)
        self.odometry = VisualOdometry(TroubledEngine(), config)
        self.outputs = Outputs(self.node, config)  # type: ignore[arg-type]
        self.calibration = CalibrationCache()
        self.results: Counter[str] = Counter()

    def calibrate(self, info: CameraInfo) -> None:
        self.calibration.take(info)

    def show(self, image: Image) -> TrackingStatus | None:
        """The status after an image; None if it is refused."""
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


def show_damaged(chain: Chain, rng: np.random.Generator, clock: Iterator[int], count: int) -> None:
    chain.calibrate(info_message())
    for index in range(count):
        try:
            info, images = damaged_input(rng, clock)
            chain.calibrate(info)
            for image in images:
                chain.show(image)
        except Exception as error:
            raise AssertionError(f"mutation {index} of seed {SEED}, {count}") from error


@pytest.mark.parametrize("mode", ["hybrid", "geometric"])
def test_damaged_messages_do_no_harm_to_the_tracker(mode: str) -> None:
    chain = Chain(mode)
    show_damaged(chain, np.random.default_rng([SEED, 1]), stamps(), 400)
    assert min(chain.results[error] for error in ("ImageError", "CalibrationError")) > 40
    # These images show nothing to follow.
    assert chain.results[TrackingStatus.LOST.value] > 40


@pytest.mark.parametrize(
    "count", [2000, pytest.param(20_000, marks=pytest.mark.slow)], ids=["short", "long"]
)
def test_damaged_messages_give_finite_outputs_or_named_errors(
    count: int, capsys: pytest.CaptureFixture
) -> None:
    chain, rng, clock = Chain(), np.random.default_rng([SEED, count]), stamps()
    show_damaged(chain, rng, clock, count)
    published = sum(len(each.messages) for each in chain.node.publishers.values())
    with capsys.disabled():
        print(f"\n{count} mutations, seed {SEED}: {dict(chain.results)}, {published} messages out")
    assert chain.results[TrackingStatus.TRACKING.value] > count / 10  # not everything was refused
    assert min(chain.results[error] for error in ("ImageError", "CalibrationError")) > count / 10

    chain.odometry.reset()
    chain.calibrate(info_message())
    statuses = [chain.show(image_message(FORWARD, next(clock))) for _ in range(3)]
    assert statuses[-1] is TrackingStatus.TRACKING


EXTREME = (1e9, -1e20, 1e150, -1e308, np.nan, np.inf, -np.inf)


def damaged_array(rng: np.random.Generator, values: np.ndarray, share: float) -> np.ndarray:
    """Some of the numbers replaced by extreme ones, in the type of the array."""
    with np.errstate(over="ignore"):
        extreme = rng.choice(EXTREME, values.shape).astype(values.dtype)
    return np.where(rng.random(values.shape) < share, extreme, values)


def damaged_estimate(rng: np.random.Generator, stamp_ns: int, share: float) -> OdometryEstimate:
    """What an odometry with a fault could hand over: any number may be anything."""
    focal, center = (float(10 ** rng.uniform(-3, 9)) for _ in range(2))
    depth = damaged_array(rng, np.full((4, 6), 3.0, np.float32), share)
    return OdometryEstimate(
        stamp_ns=stamp_ns,
        frame_id="eye",
        status=TrackingStatus.TRACKING,
        T_odom_camera=damaged_array(rng, np.eye(4), share),
        T_prev_curr=damaged_array(rng, np.eye(4), share),
        dt_ns=int(rng.choice([1, 10**8, 2**62])),
        covariance=damaged_array(rng, np.eye(6), share),
        depth=depth,
        depth_intrinsics=CameraIntrinsics(
            width=6, height=4, fx=focal, fy=focal, cx=center, cy=-center
        ),
        rgb=np.full((4, 6, 3), 99, np.uint8),
    )


@pytest.mark.filterwarnings("ignore:.*encountered:RuntimeWarning")
@pytest.mark.parametrize("is_inverted", [False, True])
def test_nothing_that_is_not_finite_is_published(is_inverted: bool) -> None:
    """Whatever the odometry and the extrinsics are."""
    pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not built")
    rng, sent, withheld = np.random.default_rng(SEED), Counter[str](), []

    def check(topic: str, message: Any) -> None:
        check_message(topic, message)
        for transform in getattr(message, "transforms", []):
            assert all(np.isfinite(number) for number in numbers_in(transform)), transform
        sent[topic] += 1

    config = SfmConfig(node=NodeConfig(path_length=3, invert_tf=is_inverted))
    outputs = Outputs(FakeNode(check), config)  # type: ignore[arg-type]
    for index in range(1, 2006):
        share = float(rng.choice([0.0, 0.01, 0.1]))
        T_body_camera = damaged_array(rng, conversions.T_BODY_OPTICAL, share / 4)
        extrinsics = Extrinsics(
            child="body",
            optical_frame=f"eye{index % 3}",
            T_body_camera=T_body_camera,
            is_known=True,
            publish_optical_frame=False,
        )
        if index % 10 == 0:
            outputs.clear()
        reason = outputs.publish(damaged_estimate(rng, index * 10**8, share), extrinsics)
        withheld += [reason] if reason else []
    assert sent["~/odometry"] == sent["/tf"] and sent["~/odometry"] + len(withheld) == 2005
    assert min(sent["~/odometry"], len(withheld), sent["~/points"]) > 300
    assert all("is withheld: " in reason and "expected" in reason for reason in withheld)
    kept, _ = outputs.trajectory.trajectory()
    assert kept is not None and np.isfinite(kept.poses).all()
