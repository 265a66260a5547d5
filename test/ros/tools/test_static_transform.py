"""sfm_static_transform: its arguments, the axes of its transform, and late subscribers."""

from __future__ import annotations

import math
import signal
import sys
from collections.abc import Callable

import pytest
from rig.probe import Probe, Program, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from sfm_ros.ros import compat
from sfm_ros.ros.tools import static_transform
from sfm_ros.ros.tools.extrinsics import extrinsics_matrix

COMMAND = [sys.executable, "-m", "sfm_ros.ros.tools.static_transform"]


def test_optical_axes_of_a_camera_facing_ahead() -> None:
    T = extrinsics_matrix([1.0, 0.5, 1.5], [0.0, 0.0, 0.0], optical=True)
    assert T[:3, 3] == pytest.approx([1.0, 0.5, 1.5])
    assert T[:3, 2] == pytest.approx([1, 0, 0])  # forward
    assert T[:3, 0] == pytest.approx([0, -1, 0])  # the image's right is the robot's right
    assert T[:3, 1] == pytest.approx([0, 0, -1])


def test_angles_follow_urdf() -> None:
    left = extrinsics_matrix([0, 0, 0], [0, 0, math.pi / 2], optical=True)
    assert left[:3, 2] == pytest.approx([0, 1, 0])
    down = extrinsics_matrix([0, 0, 0], [0, math.radians(30), 0], optical=True)
    assert down[:3, 2] == pytest.approx([math.cos(math.pi / 6), 0, -0.5])
    rolled = extrinsics_matrix([0, 0, 0], [math.pi / 2, 0, math.pi / 2], optical=False)
    assert rolled[:3, 2] == pytest.approx([1, 0, 0])  # yaw turns the z axis that roll has turned


def test_late_subscriber_receives_the_transform(
    probe: Probe, start: Callable[[list[str]], Program]
) -> None:
    messages = compat.transform_message_class()
    if messages is None:
        pytest.skip("tf2_msgs is not installed")
    options = ["--parent", "base_link", "--child", "cam_optical", "--xyz", "1", "0", "1.5"]
    program = start([*COMMAND, *options, "--optical"])
    wait_until(lambda: probe.node.count_publishers("/tf_static"), "a publisher of /tf_static")
    received = probe.listen("/tf_static", messages, compat.STATIC_TF_LISTENER_QOS)
    (transform,) = wait_until(lambda: received and received[0].transforms, "the transform")
    q = transform.transform.rotation
    assert (transform.header.frame_id, transform.child_frame_id) == ("base_link", "cam_optical")
    assert [q.x, q.y, q.z, q.w] == pytest.approx([-0.5, 0.5, -0.5, 0.5])
    assert program.end(signal.SIGINT) == 0


@pytest.mark.parametrize(
    ("parent", "child", "expected"),
    [
        ("a", "a", "both 'a', expected two"),
        ("/a", "a", "both 'a'"),
        ("a", "/", "'/' is not the name of a frame"),
    ],
)
def test_invalid_frames_are_refused(
    parent: str,
    child: str,
    expected: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(static_transform, "run", lambda *_: 0)
    with pytest.raises(SystemExit) as refused:
        static_transform.main(["--parent", parent, "--child", child])
    assert refused.value.code == 2 and expected in capsys.readouterr().err


def test_negative_numbers_in_every_form(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(static_transform, "StaticTransform", made.append)
    monkeypatch.setattr(static_transform, "run", lambda make, *_: make())
    monkeypatch.setattr(static_transform.compat, "transform_message_class", lambda: object)
    numbers = ["--xyz", "-1.", "-.5", "-1e-3", "--rpy", "0", "-0", "-0.0"]
    static_transform.main(["--parent", "/base", "--child", "-1", *numbers])
    moved = made[0].transform.translation
    assert [moved.x, moved.y, moved.z] == [-1.0, -0.5, -0.001]
    assert (made[0].header.frame_id, made[0].child_frame_id) == ("base", "-1")
