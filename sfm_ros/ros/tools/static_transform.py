"""Publish the pose of a camera on the robot on /tf_static, until interrupted.

    sfm_static_transform --parent base_link --child camera_optical --xyz 1.2 0 1.5 --optical

The angles are those of the camera's body (x forward, y left, z up: REP 103). With --optical the
child is its optical frame (x right, y down, z forward), the frame of images and camera_info. This
is the static_transform_publisher of tf2_ros for machines without tf2_ros, and without the
quaternion -0.5 0.5 -0.5 0.5 of the optical axes.
"""

from __future__ import annotations

import argparse
import math
import sys

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.utilities import remove_ros_args

from sfm_ros.cli.program import program_parser
from sfm_ros.ros import compat
from sfm_ros.ros.conversions import transform_message
from sfm_ros.ros.process.program import run
from sfm_ros.ros.tools.extrinsics import extrinsics_matrix

_NAME = "sfm_static_transform"


class StaticTransform(Node):
    """Publishes one transform, to subscribers that start later too."""

    def __init__(self, transform: TransformStamped) -> None:
        super().__init__(_NAME)
        broadcaster = compat.make_static_broadcaster(self)
        assert broadcaster is not None  # main has checked that tf2_msgs is installed
        self._broadcaster = broadcaster
        self._broadcaster.sendTransform(transform)


def _frame(text: str) -> str:
    """A frame name of TF 2, without the leading slash of ROS 1."""
    name = text.strip().lstrip("/")
    if not name:
        raise argparse.ArgumentTypeError(f"'{text}' is not the name of a frame")
    return name


def _guarded(argument: str) -> str:
    """The argument in a form that keeps argparse from taking -1e-3 or -1. for an option."""
    try:
        float(argument)
    except ValueError:
        return argument
    return f" {argument}"


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = program_parser(__doc__, _NAME)
    add = parser.add_argument
    zero = [0.0] * 3
    add("--parent", required=True, type=_frame, metavar="FRAME")
    add("--child", required=True, type=_frame, metavar="FRAME")
    add("--xyz", nargs=3, type=float, default=zero, metavar=("X", "Y", "Z"), help="meters")
    add("--rpy", nargs=3, type=float, default=zero, metavar=("R", "P", "Y"), help="radians")
    add("--degrees", action="store_true", help="--rpy is in degrees")
    add("--optical", action="store_true", help="the child has optical axes")
    options = parser.parse_args([_guarded(argument) for argument in arguments])
    if options.degrees:
        options.rpy = [math.radians(angle) for angle in options.rpy]
    if not np.all(np.isfinite([*options.xyz, *options.rpy])):
        parser.error("expected finite numbers")
    if options.parent == options.child:
        parser.error(f"parent and child are both '{options.parent}', expected two frames")
    return options


def main(args: list[str] | None = None) -> int:
    """Publish until SIGINT or SIGTERM; 1 if tf2_msgs is not installed."""
    arguments = sys.argv if args is None else [_NAME, *args]
    options = _parse(remove_ros_args(arguments)[1:])
    if compat.transform_message_class() is None:
        print(
            f"{_NAME}: tf2_msgs is not installed; install it with: pip install "
            "./third_party/tf2_msgs",
            file=sys.stderr,
        )
        return 1
    T_parent_child = extrinsics_matrix(options.xyz, options.rpy, options.optical)
    transform = transform_message(T_parent_child, 0, options.parent, options.child)
    return run(lambda: StaticTransform(transform), arguments, _NAME)


if __name__ == "__main__":
    sys.exit(main())
