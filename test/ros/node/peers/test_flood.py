"""Another participant floods the node: it continues, reports why, and shrinks again afterwards.

The measuring form is benchmarks/flood.py; here nothing depends on how long anything takes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rig.probe import REPOSITORY, Program, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")
pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not built")

from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rig.camera import FRAME, HEIGHT, WIDTH
from rig.camera_driver import Camera
from rig.own_node import OwnNode
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from sfm_ros.ros.conversions import T_BODY_OPTICAL, transform_message

FLOODS = {
    "calibrations": ("count_calibration_changed", ""),
    "transforms": ("", ""),
    "static_transforms": ("last_trouble", "at most 1000 static frames"),
    "frames": ("last_trouble", "printable characters"),
    "parameters": ("last_trouble", "changes of parameters within a second are refused"),
    "subscribers": ("last_trouble", "subscriptions to "),
}
"""Key of the status that reports a flood, and what its value contains.

How many transforms are too many depends on the machine.
"""
MOST_GROWTH_MB = 30.0
"""The messages of one flood alone would keep more."""


class FloodedNode(OwnNode):
    """A live node whose camera turns on the robot, so that it has to listen to TF."""

    def turn(self) -> None:
        """Publish the transform of the camera at the newest image."""
        self._stamp_of_tf = getattr(self, "_stamp_of_tf", 0) + 100_000_000
        transform: TransformStamped = transform_message(
            T_BODY_OPTICAL, self._stamp_of_tf, "base_link", FRAME
        )
        self.probe.publish(f"{self.space}/tf", TFMessage(transforms=[transform]))

    def value(self, key: str) -> str:
        """A value of the newest status."""
        values = {entry.key: entry.value for entry in self.states[-1].values}
        return values.get(key, "")

    def rss_mb(self) -> float:
        """Resident memory of the process."""
        lines = Path(f"/proc/{self.program.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmRSS"))


def flooder(node: FloodedNode, kind: str, seconds: float) -> Program:
    script = str(REPOSITORY / "benchmarks" / "flooder.py")
    words = ["--space", node.space, "--size", f"{WIDTH}x{HEIGHT}", "--seconds", str(seconds)]
    return Program([sys.executable, script, kind, *words], node.probe.domain)


@pytest.fixture
def node(request: pytest.FixtureRequest, probe, domain) -> FloodedNode:
    space = f"/{request.node.callspec.params['kind']}"
    remaps = [word for name in ("tf", "tf_static") for word in ("-r", f"/{name}:={name}")]
    made = FloodedNode(
        probe, domain, space, *remaps,
        node__image_queue="newest", node__extrinsics_wait_s=60.0,
    )  # fmt: skip
    request.addfinalizer(made.program.kill)
    return made


@pytest.mark.parametrize("kind", [*FLOODS, pytest.param("large_images", marks=pytest.mark.slow)])
def test_node_outlasts_a_flood(kind: str, node: FloodedNode) -> None:
    camera = Camera(node.probe, node.program)
    odometry = node.listen("sfm_node/odometry", Odometry)
    reset = f"{node.space}/sfm_node/reset"
    node.calibrate()

    def is_tracking() -> bool:
        node.turn()
        return node.message() == "tracking"

    def continues(count: int) -> Callable[[], bool]:
        return lambda: is_tracking() and len(odometry) > count + 10

    node.show_until(continues(0), "tracking before")
    assert odometry[-1].child_frame_id == "base_link"
    before_mb = node.rss_mb()
    key, text = FLOODS.get(kind, ("count_calibration_mismatch", ""))
    program = flooder(node, kind, 60.0 if key else 2.0)
    try:
        program.wait_for("flooding")
        if key:
            node.show_until(lambda: node.value(key) and text in node.value(key), f"{key} {text}")
        else:
            node.show_until(lambda: program.process.poll() is not None, "the end of the flood")
        assert camera.call(Trigger, reset).success  # while it floods
    finally:
        program.kill()
    node.show_until(continues(len(odometry)), "tracking after")
    assert node.program.process.poll() is None and "Traceback" not in node.program.output
    if kind != "large_images":  # Fast DDS keeps what is incomplete of a publisher that leaves
        wait_until(
            lambda: node.rss_mb() < before_mb + MOST_GROWTH_MB,
            lambda: f"{before_mb} MB; there are {node.rss_mb()}",
        )
    assert len(node.program.output) < 100_000
