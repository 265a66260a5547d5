"""Several cameras in one process, on one executor."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from rig.probe import TIMEOUT_S, Probe, Program, wait_until

pytest.importorskip("rclpy", reason="ROS 2 (rclpy) is not installed")

from diagnostic_msgs.msg import DiagnosticStatus
from nav_msgs.msg import Odometry
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from rig.camera import PERIOD_NS, image_message, info_message
from rig.fake_node import FORWARD, STAND, TroubledEngine

from sfm_ros.config import config_from_dict
from sfm_ros.ros.conversions import stamp_to_ns
from sfm_ros.ros.node.lifecycle import SfmLifecycleNode
from sfm_ros.ros.node.node import SfmNode

CONFIG = config_from_dict(
    {
        "odometry": {"mode": "network"},
        "node": {"image_queue": "every", "extrinsics_wait_s": 0.0},
    }
)


def connect(node: Node, probe: Probe, name: str, kind: type) -> list:
    """The messages of one of the node's topics, once its publisher and the probe are connected."""
    received = probe.listen(node.resolve_topic_name(f"~/{name}"), kind)
    (publisher,) = (p for p in node.publishers if p.topic_name.endswith(f"/sfm_node/{name}"))
    wait_until(publisher.get_subscription_count, f"the subscription to {name}")
    return received


def drive(probe: Probe, space: str, first: int, count: int) -> int:
    """Show images to a node; the stamp of the last."""
    probe.publish(f"{space}/camera_info", info_message())
    for index in range(first, first + count):
        level = FORWARD if index else STAND
        probe.publish(f"{space}/image", image_message(level, (index + 1) * PERIOD_NS))
    return (first + count) * PERIOD_NS


def test_other_camera_continues_when_an_engine_fails(
    probe: Probe, executor: MultiThreadedExecutor
) -> None:
    failures: list[str] = []
    nodes = {}
    for name, engine in (("left", TroubledEngine(fail_after=2)), ("right", TroubledEngine())):
        node = SfmNode(
            engine,
            CONFIG,
            on_failure=failures.append,
            namespace=name,
            context=executor.context,
        )
        executor.add_node(node)
        nodes[f"/{name}"] = node
    received = {s: connect(node, probe, "odometry", Odometry) for s, node in nodes.items()}

    def wait_for_odometry(space: str, stamp_ns: int) -> None:
        wait_until(
            lambda: any(stamp_to_ns(m.header.stamp) == stamp_ns for m in list(received[space])),
            f"odometry of {space}",
        )

    for space in received:
        wait_for_odometry(space, drive(probe, space, 0, 4))
    drive(probe, "/left", 4, 1)
    wait_until(lambda: failures, "the failure")
    assert "out of memory" in failures[0] and len(failures) == 1
    # They are not processed any more, and no callback waits for room in the mailbox.
    states = connect(nodes["/left"], probe, "status", DiagnosticStatus)
    drive(probe, "/left", 5, 40)

    def count() -> int:
        values = {entry.key: entry.value for entry in states[-1].values} if states else {}
        return int(values.get("received", 0))

    wait_until(lambda: count() == 45, "the count of all images")
    wait_for_odometry("/right", drive(probe, "/right", 4, 3))
    assert received["/right"][-1].pose.pose.position.x == pytest.approx(3.0)


def test_node_may_be_destroyed_when_it_fails(
    probe: Probe, executor: MultiThreadedExecutor
) -> None:
    ended = threading.Event()

    def end(_: str) -> None:
        node.destroy_node()
        ended.set()

    engine = TroubledEngine(fail_after=1)
    node = SfmNode(engine, CONFIG, on_failure=end, namespace="brief", context=executor.context)
    executor.add_node(node)
    received = connect(node, probe, "status", DiagnosticStatus)
    drive(probe, "/brief", 0, 5)
    assert ended.wait(TIMEOUT_S)
    wait_until(
        lambda: any(m.message == "lost: engine_failed" for m in list(received)), "the last status"
    )


def test_cleanup_keeps_entities_of_other_owners(executor: MultiThreadedExecutor) -> None:
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


def test_program_ends_without_destroying_its_node(start: Callable[..., Program]) -> None:
    program = start([sys.executable, "-c", FORGETFUL, str(Path(__file__).parent)])
    assert program.end() == 0
    assert "at the end" in program.output
