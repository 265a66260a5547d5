"""Every live option of the node's own block, set over ROS, makes a difference."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rig.probe import FAKE_NODE, Probe, Program, ros_arguments, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")
pytest.importorskip("tf2_msgs.msg", reason="tf2_msgs is not built")

from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Path as PathMessage
from rig.camera_driver import Camera
from rig.fake_node import FORWARD
from rig.fault_rig import LATCHED
from rig.own_node import OwnNode
from sensor_msgs.msg import Image, PointCloud2
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from sfm_ros.config import iter_fields
from sfm_ros.ros.conversions import stamp_to_ns

OUTPUTS = {
    "publish_odometry": "odometry",
    "publish_tf": "tf",
    "publish_path": "path",
    "publish_depth": "depth",
    "publish_depth_color": "color",
    "publish_points": "points",
}
"""Switches, and what they switch."""


class Node(Camera):
    """A live node whose every output is received."""

    def __init__(self, probe: Probe, program: Program, folder: Path) -> None:
        super().__init__(probe, program)
        self.folder = folder
        listen = probe.listen
        self.states = listen("/sfm_node/status", DiagnosticStatus, LATCHED)
        self.kept: dict[str, list] = {
            "odometry": self.odometry,
            "depth": self.depth,
            "path": listen("/sfm_node/path", PathMessage),
            "color": listen("/sfm_node/depth/image_color", Image),
            "points": listen("/sfm_node/points", PointCloud2),
            "tf": listen("/tf", TFMessage),
        }

    def set(self, option: str, value: Any) -> None:
        """Set an option of the node's block."""
        assert self.set_parameter(f"node.{option}", value).successful

    def show_until(self, condition: Callable[[], Any], what: str) -> None:
        """Show images, not faster than a camera, until a condition is true."""

        def show() -> Any:
            self.show(FORWARD)
            time.sleep(0.03)
            return condition()

        self.program.wait_until(show, f"{what}")

    def since(self, output: str, stamp_ns: int) -> int:
        """Number of messages of an output that are later than a stamp."""
        return sum(_stamp_ns(message) > stamp_ns for message in list(self.kept[output]))

    def newest(self, key: str) -> str:
        """A value of the newest diagnostics."""
        return next(v.value for v in self.diagnostics[-1].status[0].values if v.key == key)


def _stamp_ns(message: Any) -> int:
    stamped = message.transforms[0] if hasattr(message, "transforms") else message
    return stamp_to_ns(stamped.header.stamp)


@pytest.fixture(scope="module")
def running(probe: Probe, domain: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One node for the whole module."""
    folder = tmp_path_factory.mktemp("run")
    options = ros_arguments(node__extrinsics_wait_s=0.0, node__trajectory_folder=str(folder))
    program = Program([*FAKE_NODE, "{}", *options], domain)
    node = Node(probe, program, folder)
    try:
        node.connect()
        node.show_until(lambda: all(node.kept.values()), "every output")
        yield node
    finally:
        program.kill()


def check_output(node: Node, option: str) -> None:
    """Off: it ceases, while another output continues. On: it is there again."""
    output = OUTPUTS[option]
    witness = "odometry" if output != "odometry" else "depth"
    node.set(option, False)
    off_ns = node.now_ns
    node.show_until(lambda: node.since(witness, off_ns) > 20, f"the {witness} beside")
    assert node.since(output, off_ns) == 0
    node.set(option, True)
    on_ns = node.now_ns
    node.show_until(lambda: node.since(output, on_ns), f"the {output} again")


def check_publish_status(node: Node, option: str) -> None:
    node.set(option, False)
    node.values()  # what was published before has arrived by now
    count = len(node.states)
    node.values()
    node.values()
    assert len(node.states) == count
    node.set(option, True)
    wait_until(lambda: len(node.states) > count, "a status")


def check_trajectory_file(node: Node, option: str) -> None:
    for name in ("first.tum", "second.tum"):
        node.set(option, name)
        assert node.call(Trigger, "/sfm_node/save_trajectory").success
        assert (node.folder / name).stat().st_size > 0


def check_max_rate_hz(node: Node, option: str) -> None:
    """Images come at 30 Hz at most."""
    node.set(option, 1.0)
    before = int(node.newest("skipped"))
    node.show_until(lambda: int(node.newest("skipped")) > before + 10, "skipped images")
    node.set(option, 0.0)
    since = int(node.values()["skipped"])
    on_ns = node.now_ns
    node.show_until(lambda: node.since("odometry", on_ns) > 20, "odometry")
    assert int(node.values()["skipped"]) == since


def check_idle_without_subscribers(node: Node, option: str) -> None:
    """In a namespace in which nothing subscribes to the outputs."""
    own = OwnNode(node.probe, node.probe.domain, "/idle", node__publish_tf="false")
    try:
        own.calibrate()
        for value, message in ((True, "idle: no_subscribers"), (False, "tracking")):
            assert node.set_parameter(f"node.{option}", value, "/idle/sfm_node").successful
            own.show_until(partial(_is_in_state, own, message), message)
    finally:
        own.program.kill()


def _is_in_state(node: OwnNode, message: str) -> bool:
    return node.message() == message


CHECKS: dict[str, Callable[[Node, str], None]] = {
    **dict.fromkeys(OUTPUTS, check_output),
    "publish_status": check_publish_status,
    "trajectory_file": check_trajectory_file,
    "max_rate_hz": check_max_rate_hz,
    "idle_without_subscribers": check_idle_without_subscribers,
}


def test_every_live_option_has_a_check() -> None:
    live = {name for name, option, _ in iter_fields() if option.metadata["live"]}
    assert {f"node.{option}" for option in CHECKS} == {n for n in live if n.startswith("node.")}


@pytest.mark.parametrize("option", CHECKS)
def test_live_option_makes_a_difference(option: str, running: Node) -> None:
    CHECKS[option](running, option)
