"""The program around a node: it starts, spins, and ends on a signal."""

from __future__ import annotations

import sys
from collections.abc import Callable

import cv2
import rclpy
from rclpy.exceptions import InvalidHandle
from rclpy.executors import ExternalShutdownException, MultiThreadedExecutor
from rclpy.node import Node
from rclpy.utilities import remove_ros_args

from sfm_ros.cli.program import program_parser
from sfm_ros.errors import SfmRosError
from sfm_ros.ros.process.dds_profile import give_memory_back
from sfm_ros.ros.process.refusals import REFUSALS, one_line_errors, reason_of
from sfm_ros.ros.process.signals import SignalWatchdog
from sfm_ros.safety.streams import secure_output

NODE_NAME = "sfm_node"


def check_command_line(name: str, description: str | None, epilog: str) -> None:
    """Print the help of a node if it is asked for, and refuse words that are no arguments of ROS.

    Args:
        name: of the program.
        description, epilog: of its help.
    """
    program_parser(description, name, epilog).parse_args(remove_ros_args(sys.argv)[1:])


def spin(node: Node) -> None:
    """Spin until the context is shut down.

    If a callback destroys a subscription (a managed node that is deactivated), rclpy's executor
    may fail on it in another thread; it works again when it spins again.
    """
    executor = MultiThreadedExecutor(2)
    executor.add_node(node)
    while True:
        try:
            executor.spin()
        except InvalidHandle:
            continue
        return


def run(
    make_node: Callable[[], Node],
    args: list[str] | None = None,
    name: str = NODE_NAME,
    work: Callable[[Node], None] = spin,
) -> int:
    """Make a node and let it work until a signal comes, it fails, or the work is done.

    Args:
        make_node: makes the node; its ``failure`` is the reason why it cannot continue, or None.
        args: command line; by default the process's own.
        name: of the program, for messages.
        work: done with the node; ends soon after the node's context has ended.

    Returns:
        0 after SIGINT or SIGTERM or when the work is done, 1 if the node refused to start or
        failed.
    """
    secure_output()
    signals = SignalWatchdog(name)
    # On images this small OpenCV's threads cost more than they gain: with two of them an image
    # takes 3 to 5 % more processor time, and is not finished earlier.
    cv2.setNumThreads(1)
    give_memory_back()
    try:
        with one_line_errors():
            rclpy.init(args=args)
    except SfmRosError as error:
        print(f"{name} cannot start: {error}", file=sys.stderr)
        return 1
    node = None
    try:
        if not signals.was_signaled:
            node = make_node()
            work(node)
    except ExternalShutdownException:
        pass
    except (SfmRosError, *REFUSALS) as error:
        if rclpy.ok():  # else the signal came while the node was being built
            stage = "cannot start" if node is None else "stopped"
            reason = error if isinstance(error, SfmRosError) else reason_of(error)
            print(f"{name} {stage}: {reason}", file=sys.stderr)
            return 1
    except Exception:
        if rclpy.ok():
            raise
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    failure = getattr(node, "failure", None)
    if failure is not None:
        print(f"{name} stopped: {failure}", file=sys.stderr)
        return 1
    return 0
