"""Several cameras in one process, on one executor."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from rig.probe import Probe, Program, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry
from rclpy.executors import MultiThreadedExecutor
from rig.camera import PERIOD_NS, image_message, info_message
from rig.fake_node import FORWARD, STAND, TroubledEngine

from sfm_ros.config import config_from_dict
from sfm_ros.ros.conversions import stamp_to_ns
from sfm_ros.ros.node.lifecycle import SfmLifecycleNode
from sfm_ros.ros.node.node import SfmNode

CONFIG = config_from_dict({"node": {"image_queue": "every", "extrinsics_wait_s": 0.0}})


def drive(probe: Probe, space: str, first: int, count: int) -> int:
    """Show a camera some images; the stamp of the last."""
    probe.publish(f"{space}/camera_info", info_message())
    for index in range(first, first + count):
        level = FORWARD if index else STAND
        probe.publish(f"{space}/image", image_message(level, (index + 1) * PERIOD_NS))
    return (first + count) * PERIOD_NS


def test_one_camera_goes_on_where_the_engine_of_another_fails(
    probe: Probe, executor: MultiThreadedExecutor
) -> None:
    failures: list[str] = []
    for name, engine in (("left", TroubledEngine(fail_after=2)), ("right", TroubledEngine())):
        node = SfmNode(
            engine,
            CONFIG,
            on_failure=failures.append,
            namespace=name,
            context=executor.context,
        )
        executor.add_node(node)
    spaces = ("/left", "/right")
    received = {space: probe.listen(f"{space}/sfm_node/odometry", Odometry) for space in spaces}

    def answered(space: str, stamp_ns: int) -> bool:
        return any(stamp_to_ns(m.header.stamp) == stamp_ns for m in received[space])

    for space in received:
        stamp = drive(probe, space, 0, 4)
        wait_until(lambda s=space, t=stamp: answered(s, t), f"odometry of {space}")
    drive(probe, "/left", 4, 1)
    wait_until(lambda: failures, "the failure to be told")
    assert "out of memory" in failures[0] and len(failures) == 1
    # Nobody works on them any more, and no callback waits for room in the mailbox.
    said = probe.listen("/left/sfm_node/status", DiagnosticStatus)
    drive(probe, "/left", 5, 40)

    def reported() -> int:
        values = {entry.key: entry.value for entry in said[-1].values} if said else {}
        return int(values.get("received", 0))

    wait_until(lambda: reported() == 45, "all images to be heard of")
    stamp = drive(probe, "/right", 4, 3)
    wait_until(lambda: answered("/right", stamp), "odometry of the other camera")
    assert received["/right"][-1].pose.pose.position.x == pytest.approx(3.0)


def test_a_program_may_destroy_its_node_when_that_fails(
    probe: Probe, executor: MultiThreadedExecutor
) -> None:
    ended = threading.Event()

    def end(_: str) -> None:
        node.destroy_node()
        ended.set()

    engine = TroubledEngine(fail_after=1)
    node = SfmNode(engine, CONFIG, on_failure=end, namespace="brief", context=executor.context)
    executor.add_node(node)
    received = probe.listen("/brief/sfm_node/status", DiagnosticStatus)
    wait_until(lambda: received, "the node")
    drive(probe, "/brief", 0, 5)
    assert ended.wait(20)
    wait_until(lambda: any(m.message == "lost: engine_failed" for m in received), "its last word")


def test_cleanup_leaves_what_others_made_on_the_node(executor: MultiThreadedExecutor) -> None:
    node = SfmLifecycleNode(lambda _: TroubledEngine(), CONFIG, context=executor.context)
    before = len(list(node.publishers)), len(list(node.timers)), len(list(node.services))
    node.trigger_configure()
    mine = node.create_publisher(DiagnosticStatus, "mine", 1)
    node.trigger_activate()
    node.trigger_deactivate()
    node.trigger_cleanup()
    assert mine in node.publishers
    node.destroy_publisher(mine)
    after = len(list(node.publishers)), len(list(node.timers)), len(list(node.services))
    assert after == before and not [s for s in node.subscriptions if "image" in s.topic_name]
    node.destroy_node()


FORGETFUL = """
import sys
sys.path.insert(0, sys.argv[1])
import rclpy
from rig.fake_node import TroubledEngine
from sfm_ros.ros.node.node import SfmNode
rclpy.init()
node = SfmNode(TroubledEngine())
rclpy.try_shutdown()
print("at the end", flush=True)
"""


def test_a_program_that_forgets_to_destroy_its_node_ends(start: Callable[..., Program]) -> None:
    program = start([sys.executable, "-c", FORGETFUL, str(Path(__file__).parent)])
    assert program.end() == 0
    assert "at the end" in program.said
