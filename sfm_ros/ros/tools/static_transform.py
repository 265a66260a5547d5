"""Publish where a camera sits on the robot, on /tf_static, until told to stop.

    sfm_static_transform --parent base_link --child camera_optical --xyz 1.2 0 1.5 --optical

The angles are those of the camera's body (x forward, y left, z up: REP 103). With --optical the
child is its optical frame (x right, y down, z forward), whose axes are turned once more; it is
what images and camera_info name. It is tf2_ros' static_transform_publisher for machines without
tf2_ros, and for people who do not know by heart what -0.5 0.5 -0.5 0.5 means.
"""

from __future__ import annotations

import argparse
import math
import sys

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.utilities import remove_ros_args

from sfm_ros.datatypes import FloatArray
from sfm_ros.geometry import R_BODY_OPTICAL, make_transform, so3_exp
from sfm_ros.ros import compat
from sfm_ros.ros.conversions import transform_message
from sfm_ros.ros.process.program import run

_X, _Y, _Z = np.eye(3)


class StaticTransform(Node):
    """Publishes one transform for whoever is there or comes later."""

    def __init__(self, transform: TransformStamped) -> None:
        super().__init__("sfm_static_transform")
        broadcaster = compat.make_static_broadcaster(self)
        assert broadcaster is not None  # else main has refused
        self._broadcaster = broadcaster
        self._broadcaster.sendTransform(transform)


def extrinsics_matrix(xyz: list[float], rpy: list[float], optical: bool) -> FloatArray:
    """(4, 4) T_parent_child of a camera.

    Args:
        xyz: meters in the parent frame.
        rpy: roll, pitch, yaw of the camera's body in radians, about the parent's fixed axes in
            this order, as in URDF.
        optical: the child is the optical frame.
    """
    roll, pitch, yaw = rpy
    R = so3_exp(yaw * _Z) @ so3_exp(pitch * _Y) @ so3_exp(roll * _X)
    return make_transform(R @ R_BODY_OPTICAL if optical else R, xyz)


def _frame(text: str) -> str:
    """A frame's name as TF 2 has it; ROS 1 began names with a slash."""
    name = text.strip().lstrip("/")
    if not name:
        raise argparse.ArgumentTypeError(f"'{text}' names no frame")
    return name


def _guarded(argument: str) -> str:
    """The argument so that argparse takes no negative number, like -1e-3 or -1., for an option."""
    try:
        float(argument)
    except ValueError:
        return argument
    return f" {argument}"


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="sfm_static_transform",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--parent", required=True, type=_frame, metavar="FRAME")
    parser.add_argument("--child", required=True, type=_frame, metavar="FRAME")
    parser.add_argument("--xyz", nargs=3, type=float, default=[0.0] * 3, metavar=("X", "Y", "Z"))
    parser.add_argument("--rpy", nargs=3, type=float, default=[0.0] * 3, metavar=("R", "P", "Y"))
    parser.add_argument("--degrees", action="store_true", help="--rpy is in degrees")
    parser.add_argument("--optical", action="store_true", help="the child has optical axes")
    options = parser.parse_args([_guarded(argument) for argument in arguments])
    if options.degrees:
        options.rpy = [math.radians(angle) for angle in options.rpy]
    if not np.all(np.isfinite([*options.xyz, *options.rpy])):
        parser.error("expected finite numbers")
    if options.parent == options.child:
        parser.error(f"parent and child are both '{options.parent}', expected two frames")
    return options


def main(args: list[str] | None = None) -> int:
    """Publish until SIGINT or SIGTERM; 1 where tf2_msgs is not installed."""
    arguments = sys.argv if args is None else ["sfm_static_transform", *args]
    options = _parse(remove_ros_args(arguments)[1:])
    if compat.transform_message_class() is None:
        print(
            "sfm_static_transform: tf2_msgs is not installed; install it with: pip install "
            "./third_party/tf2_msgs",
            file=sys.stderr,
        )
        return 1
    T_parent_child = extrinsics_matrix(options.xyz, options.rpy, options.optical)
    transform = transform_message(T_parent_child, 0, options.parent, options.child)
    return run(lambda: StaticTransform(transform), arguments, "sfm_static_transform")


if __name__ == "__main__":
    sys.exit(main())
