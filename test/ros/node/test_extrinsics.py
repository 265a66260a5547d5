"""Which body the odometry describes, and where the camera is on it; last, over the middleware."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rig.camera import FRAME, PERIOD_NS
from rig.fake_node import FORWARD
from rig.fake_ros import FakeLookup
from rig.own_node import OwnNode

from sfm_ros.datatypes import FloatArray, body_frame_name
from sfm_ros.errors import ImageError
from sfm_ros.geometry import make_transform, se3_exp, so3_exp
from sfm_ros.ros.compat import STATIC_TF_QOS
from sfm_ros.ros.conversions import T_BODY_OPTICAL, stamp_to_ns, transform_message
from sfm_ros.ros.node.extrinsics import Extrinsics, ExtrinsicsLookup

RNG = np.random.default_rng(5)
SECOND = 1_000_000_000


def random_transform() -> FloatArray:
    return se3_exp(RNG.uniform(-2, 2, 6))


def turned(degrees: float) -> FloatArray:
    return make_transform(so3_exp([0, 0, np.radians(degrees)]), np.zeros(3))


class Bench:
    """An extrinsics lookup, the TF it sees, and what it logs."""

    def __init__(self, base_frame: str = "base", wait_s: float = 0.0) -> None:
        self.tf = FakeLookup()
        self.logged: list[str] = []
        self.lookups = 0
        self.refused: list[str] = []
        self.extrinsics = ExtrinsicsLookup(
            self._subscribe, base_frame, wait_s, self.logged.append, self.refused.append
        )

    def _subscribe(self) -> FakeLookup:
        self.lookups += 1
        self.tf.receives = {"/tf", "/tf_static"}
        return self.tf

    def at(self, stamp_ns: int = 0, optical_frame: str = "eye") -> Extrinsics:
        found = self.extrinsics.at(optical_frame, stamp_ns)
        assert found is not None
        return found


@pytest.mark.parametrize(
    ("optical", "body"),
    [
        ("camera_optical", "camera_body"),
        ("camera_color_optical_frame", "camera_color_body_frame"),
        ("camera", "camera_body"),
    ],
)
def test_name_of_the_body_frame(optical: str, body: str) -> None:
    assert body_frame_name(optical) == body


@pytest.mark.parametrize("base_frame", ["base", "", "eye"])
def test_extrinsics_are_never_invented(base_frame: str) -> None:
    """TF does not connect the frames, there is no base frame, or the image's frame is the base."""
    bench = Bench(base_frame)
    found = bench.at()
    assert (found.child, found.is_known) == ("eye_body", False)
    assert np.allclose(found.T_body_camera, T_BODY_OPTICAL)
    assert found.publish_optical_frame
    assert bench.at(SECOND) is found


def test_optical_frame_gets_no_second_parent() -> None:
    bench = Bench()
    bench.tf.tree.add("camera_link", "eye", np.eye(4))
    found = bench.at()
    assert not found.is_known and not found.publish_optical_frame


def test_interrupted_wait_for_tf_decides_nothing() -> None:
    bench = Bench(wait_s=60.0)
    bench.extrinsics.stop()
    assert bench.extrinsics.at("eye", 0) is None
    bench.tf.tree.add("base", "eye", random_transform())
    bench.extrinsics.resume()
    assert bench.at().is_known


def test_first_image_waits_for_tf() -> None:
    bench = Bench(wait_s=60.0)
    timer = threading.Timer(0.05, bench.tf.tree.add, ("base", "eye", np.eye(4)))
    timer.start()
    assert bench.at().is_known
    timer.join()


def test_known_extrinsics_are_used() -> None:
    bench, T = Bench(), random_transform()
    bench.tf.tree.add("base", "eye", T)
    found = bench.at()
    assert (found.child, found.is_known, found.is_static) == ("base", True, True)
    assert np.allclose(found.T_body_camera, T)
    assert not found.publish_optical_frame


def test_without_tf_the_camera_is_the_body_at_once() -> None:
    lookup = ExtrinsicsLookup(lambda: None, "base", 60.0, lambda _: None)
    found = lookup.at("camera_optical", 0)
    assert found is not None
    assert found.child == "camera_body" and not found.publish_optical_frame
    assert lookup.lookup is None


def test_tf_is_unsubscribed_if_the_camera_is_the_body() -> None:
    bench = Bench()
    for frame in ("eye", "eye", "other_eye"):
        bench.at(optical_frame=frame)
        assert not bench.tf.receives and bench.extrinsics.lookup is None
    assert bench.lookups == 2  # each camera is looked up once


def test_static_camera_needs_static_transforms_only() -> None:
    bench = Bench()
    bench.tf.tree.add("base", "eye", np.eye(4))
    bench.tf.tree.add("odom", "base", np.eye(4), 1)  # above both: irrelevant
    bench.at()
    assert bench.tf.receives == {"/tf_static"}
    bench.tf.tree.add("base", "pan", turned(5), 1)
    bench.tf.tree.add("pan", "other_eye", np.eye(4))
    assert not bench.at(1, "other_eye").is_static  # TF is received in full for another camera
    assert bench.tf.receives == {"/tf", "/tf_static"}


def test_corrected_static_transform_is_used_and_logged_once() -> None:
    bench, T = Bench(), random_transform()
    bench.tf.tree.add("base", "eye", random_transform())
    bench.at()
    bench.tf.tree.add("base", "eye", T)
    assert np.array_equal(bench.at(SECOND).T_body_camera, T)
    bench.at(2 * SECOND)
    assert (
        sum("another static transform from 'base' to 'eye'" in line for line in bench.logged) == 1
    )


def test_moving_camera_is_looked_up_at_the_stamp_of_the_image() -> None:
    bench = Bench()
    bench.tf.tree.add("pan", "eye", T_BODY_OPTICAL)
    for index in range(4):
        bench.tf.tree.add("base", "pan", turned(10.0 * index), index * SECOND // 10)
    for stamp_ns, degrees in ((0, 0.0), (SECOND // 20, 5.0), (SECOND // 10, 10.0)):
        found = bench.at(stamp_ns)
        assert found.T_body_camera == pytest.approx(turned(degrees) @ T_BODY_OPTICAL)
        assert found.is_known and not found.is_static
    assert bench.tf.receives == {"/tf", "/tf_static"}


def test_newest_transform_is_used_if_tf_does_not_reach_the_stamp() -> None:
    bench = Bench()
    bench.tf.tree.add("base", "eye", turned(0.0), 0)
    bench.at()
    bench.tf.tree.add("base", "eye", turned(20.0), SECOND // 10)
    assert bench.at(9 * SECOND).T_body_camera == pytest.approx(turned(20.0))


def test_last_extrinsics_remain_if_tf_loses_the_frame() -> None:
    bench = Bench()
    bench.tf.tree.add("base", "eye", turned(30.0))
    bench.at()
    bench.tf.tree = type(bench.tf.tree)()
    assert bench.at(SECOND).T_body_camera == pytest.approx(turned(30.0))


@pytest.mark.parametrize("meters", [1001.0, 9e7])
def test_camera_far_from_its_robot_counts_as_unknown(meters: float) -> None:
    """At the first image; later the last extrinsics remain."""
    far = make_transform(np.eye(3), [0.0, -meters, 0.0])
    first, later = Bench(), Bench()
    first.tf.tree.add("base", "eye", far)
    assert not first.at().is_known
    later.tf.tree.add("base", "eye", turned(30.0))
    later.at()
    later.tf.tree.add("base", "eye", far)
    assert later.at(SECOND).T_body_camera == pytest.approx(turned(30.0))
    for bench in (first, later):
        assert f"at (0, {-meters:g}, 0) m of 'base', expected at most 1000 m" in bench.refused[0]


def test_corrections_without_end_do_not_flood_the_log() -> None:
    bench = Bench()
    for index in range(500):
        bench.tf.tree.add("base", "eye", turned(float(index % 2)))
        found = bench.at(index)
        assert found.T_body_camera == pytest.approx(turned(float(index % 2)))
    assert len(bench.logged) <= 20


def test_frames_of_the_images_are_limited() -> None:
    bench = Bench()
    for index in range(16):
        bench.extrinsics.admit(f"eye{index}")
        bench.at(0, f"eye{index}")
    bench.extrinsics.admit("eye3")
    with pytest.raises(ImageError, match="'eye16', expected one of the 16 so far"):
        bench.extrinsics.admit("eye16")


# ---- over the middleware ----------------------------------------------------------------------


@pytest.fixture
def robot(
    request: pytest.FixtureRequest, own_node: Callable[..., OwnNode]
) -> tuple[OwnNode, list[Odometry]]:
    """A node with TF topics of its own, and its odometry."""
    pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not built")
    remaps = [word for name in ("tf", "tf_static") for word in ("-r", f"/{name}:={name}")]
    space = f"/{request.function.__name__}"
    node = own_node(space, *remaps, node__extrinsics_wait_s=60.0)
    return node, node.listen("sfm_node/odometry", Odometry)


def publish_transforms(node: OwnNode, topic: str, *transforms: TransformStamped) -> None:
    from tf2_msgs.msg import TFMessage

    qos = STATIC_TF_QOS if topic == "tf_static" else None
    message = TFMessage(transforms=list(transforms))
    node.probe.publish(f"{node.space}/{topic}", message, qos)


def yaw_deg(message: Odometry) -> float:
    q = message.pose.pose.orientation
    return np.degrees(2 * np.arctan2(q.z, q.w))


def xy(message: Odometry) -> list[float]:
    p = message.pose.pose.position
    return [p.x, p.y]


def test_pan_of_the_camera_enters_each_pose(robot: tuple[OwnNode, list[Odometry]]) -> None:
    """The images do not move while TF turns the camera to the left: the robot turns right."""
    node, odometry = robot
    samples = [  # less than the history that is kept
        transform_message(turned(0.5 * i), i * PERIOD_NS, "base_link", "pan") for i in range(90)
    ]
    publish_transforms(node, "tf_static", transform_message(T_BODY_OPTICAL, 0, "pan", FRAME))
    node.calibrate()

    def has_odometry() -> bool:
        publish_transforms(node, "tf", *samples)  # again: the first may be lost
        return len(odometry) > 5

    node.show_until(has_odometry, "odometry")
    first_deg = 0.5 * node.first_stamp_ns / PERIOD_NS
    for message in odometry[:5]:
        pan_deg = 0.5 * stamp_to_ns(message.header.stamp) / PERIOD_NS
        assert message.child_frame_id == "base_link"
        assert yaw_deg(message) == pytest.approx(first_deg - pan_deg, abs=1e-6)
        assert message.twist.twist.angular.z == pytest.approx(np.radians(-5.0), abs=1e-6)


def test_corrected_static_transform_does_not_move_the_robot(
    robot: tuple[OwnNode, list[Odometry]],
) -> None:
    """TF first has the camera facing ahead; it faces left, 1 m in front of the center."""
    node, odometry = robot
    wrong = transform_message(T_BODY_OPTICAL, 0, "base_link", FRAME)
    publish_transforms(node, "tf_static", wrong)
    node.calibrate()
    node.show_until(lambda: odometry, "odometry")
    node.show_until(lambda: odometry[-1].pose.pose.position.x >= 1.0, "one meter", FORWARD)
    T_base_camera = make_transform(turned(90.0)[:3, :3], [1.0, 0.0, 0.0]) @ T_BODY_OPTICAL
    publish_transforms(node, "tf_static", transform_message(T_base_camera, 0, "base_link", FRAME))
    log = "another static transform from 'base_link'"
    node.show_until(lambda: log in node.program.output, "the correction")
    count = len(odometry)
    node.show_until(lambda: len(odometry) > count, "odometry after it")
    x = odometry[-1].pose.pose.position.x
    assert xy(odometry[-1]) == pytest.approx([x, 0.0], abs=1e-9)
    assert x == pytest.approx(round(2 * x) / 2, abs=1e-9)  # whole steps ahead, and no jump
    node.show_until(lambda: odometry[-1].pose.pose.position.y > 0, "a step to the left", FORWARD)
    assert odometry[-1].pose.pose.position.x == pytest.approx(x, abs=1e-9)
