"""Wait until nodes subscribe to topics, so that they receive a recording from its first message.

    python -m sfm_ros.ros.tools.subscription_wait --wait-for /sfm_node /camera/image_raw

The player does the same by itself; this program does it before ``ros2 bag play``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence

import rclpy
from rclpy.node import Node
from rclpy.utilities import remove_ros_args

from sfm_ros.cli.program import program_parser
from sfm_ros.errors import SourceError, printable
from sfm_ros.ros.graph import full_name
from sfm_ros.ros.process.program import run
from sfm_ros.safety.streams import secure_output

_NAME = "sfm_subscription_wait"
_POLL_S = 0.02
_REPEAT_S = 10.0
"""After this time what is still missing is logged again."""


def add_wait_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--wait-for`` and ``--wait-timeout``, of which `wait_for_nodes` takes the values."""
    parser.add_argument(
        "--wait-for",
        nargs=2,
        action="append",
        default=[],
        metavar=("NODE", "TOPIC"),
        help="start when this node subscribes to this topic; full names; may be repeated",
    )
    parser.add_argument(
        "--wait-timeout",
        type=float,
        default=30.0,
        metavar="S",
        help="seconds to wait for subscribers, inf: for ever (default: %(default)s)",
    )


def wait_for_nodes(
    node: Node, expected: Sequence[Sequence[str]], timeout_s: float, log: Callable[[str], object]
) -> None:
    """Wait until each (node, topic) of full names is a subscription, or the context ends.

    Args:
        node: looks at the graph.
        expected: full names of nodes, each with the topic it must subscribe to.
        timeout_s: how long to wait.
        log: logs one line: what is waited for, when that changes, and every ten seconds.

    Raises:
        SourceError: the time is over; names what is missing.
    """
    begun = time.monotonic()
    logged, logged_s = "", begun
    while node.context.ok():
        missing = [pair for pair in expected if not _subscribes(node, *pair)]
        if not missing:
            return
        now, text = time.monotonic(), _description(node, missing, timeout_s == float("inf"))
        if now - begun > timeout_s:
            raise SourceError(f"after {timeout_s:g} s still waiting for {text}")
        if text != logged or now - logged_s > _REPEAT_S:
            log(f"waiting for {text}")
            logged, logged_s = text, now
        time.sleep(_POLL_S)


def _subscribes(node: Node, name: str, topic: str) -> bool:
    return any(full_name(info) == name for info in node.get_subscriptions_info_by_topic(topic))


def _description(node: Node, missing: Sequence[Sequence[str]], by_hand: bool) -> str:
    """What is missing, by node, and how a managed node is activated that does not do it itself."""
    topics: dict[str, list[str]] = {}
    for name, topic in missing:
        topics.setdefault(name, []).append(topic)
    offered = {name for name, _ in node.get_service_names_and_types()}
    return "; ".join(
        f"{printable(name)} to subscribe to {', '.join(map(printable, found))}"
        + (
            f" (ros2 lifecycle set {name} configure, then activate)"
            if by_hand and f"{name}/change_state" in offered
            else ""
        )
        for name, found in topics.items()
    )


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = program_parser(__doc__, _NAME)
    add_wait_options(parser)
    return parser.parse_args(arguments)


def main(args: list[str] | None = None) -> int:
    """Wait; 0 once all subscribe, 1 if the time is over."""
    if args is None:
        secure_output()
    arguments = sys.argv if args is None else [_NAME, *args]
    options = parse(remove_ros_args(arguments)[1:])
    return run(
        lambda: rclpy.create_node(_NAME),
        arguments,
        _NAME,
        lambda node: wait_for_nodes(
            node, options.wait_for, options.wait_timeout, node.get_logger().info
        ),
    )


if __name__ == "__main__":
    sys.exit(main())
