"""Wait until the node has processed all images that it was sent, and log how many.

    python -m sfm_ros.ros.tools.node_drain --node /sfm_node

The node may lag behind a recording: with ``node.image_queue: every`` the images wait for it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.utilities import remove_ros_args

from sfm_ros.cli.program import program_parser
from sfm_ros.errors import SourceError
from sfm_ros.ros.process.program import run
from sfm_ros.safety.streams import secure_output

_NAME = "sfm_node_drain"
_QUIET_S = 5.0
"""The node is done when nothing has changed for so long; it reports once a second."""
_ABSENT_S = 15.0
_POLL_S = 0.2
_COUNTERS = ("received", "processed", "rejected", "skipped")


def wait_until_done(node: Node, name: str, log: Callable[[str], object]) -> bool:
    """Wait until a node's counts stand still, or the context ends.

    Args:
        node: subscribes to the other one's status.
        name: full name of the other node.
        log: logs one line with the counts.

    Returns:
        Whether the node is done; else it has not reported for long, or the context has ended.
    """
    newest: list[dict[str, str]] = []
    received_s = changed_s = time.monotonic()

    def on_status(status: DiagnosticStatus) -> None:
        nonlocal received_s, changed_s
        values = {entry.key: entry.value for entry in status.values}
        received_s = time.monotonic()
        if not newest or any(values.get(c) != newest[0].get(c) for c in _COUNTERS):
            changed_s = received_s
        newest[:] = [values]

    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    node.create_subscription(DiagnosticStatus, f"{name}/status", on_status, latched)
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    while node.context.ok():
        executor.spin_once(timeout_sec=_POLL_S)
        now = time.monotonic()
        if now - received_s > _ABSENT_S:
            return False
        if newest and received_s - changed_s > _QUIET_S:
            counts = newest[0]
            log(
                f"{name} is done: {counts.get('received')} images received, "
                f"{counts.get('odometry')} odometries published"
            )
            return True
    return False


def main(args: list[str] | None = None) -> int:
    """Wait; 0 if the node is done or the wait is ended by a signal, 1 if the node has ended."""
    if args is None:
        secure_output()
    arguments = sys.argv if args is None else [_NAME, *args]
    parser = program_parser(__doc__, _NAME)
    parser.add_argument("--node", required=True, metavar="NODE", help="full name of the node")
    options = parser.parse_args(remove_ros_args(arguments)[1:])
    return run(
        lambda: rclpy.create_node(_NAME),
        arguments,
        _NAME,
        lambda node: _drain(node, options.node),
    )


def _drain(node: Node, name: str) -> None:
    if not wait_until_done(node, name, node.get_logger().info) and node.context.ok():
        raise SourceError(
            f"{name} has not reported its status for {_ABSENT_S:g} s: it ended before it had "
            "processed the recording"
        )


if __name__ == "__main__":
    sys.exit(main())
