"""Publish ground-truth poses as a path beside the estimated one: ~/path, in the odometry frame.

The ground truth of a bag is in a frame of its own (a world, the first camera). It is aligned with
the odometry at the first image for which both have a pose; how far the paths diverge afterwards is
the error in scale, direction and position. Topics to remap: ``ground_truth``, ``odometry`` (both
input).
"""

from __future__ import annotations

import sys
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, PoseWithCovarianceStamped
from nav_msgs.msg import Odometry, Path
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.utilities import remove_ros_args
from std_msgs.msg import Header

from sfm_ros.bags.pose_messages import pose_of
from sfm_ros.bags.reader import Record
from sfm_ros.cli.program import program_parser
from sfm_ros.datatypes import FloatArray, is_frame_id
from sfm_ros.errors import SourceError
from sfm_ros.geometry import inverse
from sfm_ros.ros.conversions import pose_message, stamp_to_ns
from sfm_ros.ros.process.program import run
from sfm_ros.ros.tf_lookup import make_lookup

_NAME = "sfm_ground_truth_path"
_TYPES = {
    "nav_msgs/msg/Odometry": Odometry,
    "geometry_msgs/msg/PoseStamped": PoseStamped,
    "geometry_msgs/msg/PoseWithCovarianceStamped": PoseWithCovarianceStamped,
}
_KEPT = 5_000
_PERIOD_S = 0.5
_MAX_DIFFERENCE_NS = 20_000_000
_ANYTHING = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)


class GroundTruthPath(Node):
    """Collects ground-truth poses and publishes them as a path once they are aligned.

    Args:
        type_name: type of the messages on ``ground_truth``.
    """

    def __init__(self, type_name: str) -> None:
        super().__init__("sfm_ground_truth")
        self._ground_truth: deque[tuple[int, FloatArray]] = deque(maxlen=_KEPT)
        self._poses: deque[PoseStamped] = deque(maxlen=_KEPT)
        self._estimates: deque[tuple[int, FloatArray, str, str]] = deque(maxlen=100)
        self._ground_truth_child = ""
        self._T_odom_gt: FloatArray | None = None
        self._T_body_child: FloatArray = np.eye(4)
        self._odom_frame = "odom"
        self._due_s = 0.0
        self._tree = make_lookup(self)
        self._path = self.create_publisher(Path, "~/path", QoSProfile(depth=1))
        self.create_subscription(
            _TYPES[type_name], "ground_truth", self._on_ground_truth, _ANYTHING
        )
        self.create_subscription(Odometry, "odometry", self._on_odometry, _ANYTHING)

    def _on_ground_truth(self, message: Any) -> None:
        pose = usable_pose(message)
        if pose is None:
            return
        stamp_ns = stamp_to_ns(message.header.stamp)
        if self._ground_truth and stamp_ns < self._ground_truth[-1][0]:
            self._restart()  # the bag loops
        self._ground_truth_child = getattr(message, "child_frame_id", "")
        self._ground_truth.append((stamp_ns, pose))
        if self._T_odom_gt is not None:
            self._poses.append(self._aligned(pose))
            self._publish()

    def _on_odometry(self, message: Odometry) -> None:
        pose = usable_pose(message)
        if self._T_odom_gt is None and pose is not None:
            frames = (message.header.frame_id, message.child_frame_id)
            self._estimates.append((stamp_to_ns(message.header.stamp), pose, *frames))
            self._align()

    def _restart(self) -> None:
        self._ground_truth.clear()
        self._poses.clear()
        self._estimates.clear()
        self._T_odom_gt = None

    def _align(self) -> None:
        """Align the ground truth with the odometry at the first image with a pose of both."""
        for stamp_ns, T_odom_child, odom, child in self._estimates:
            near = nearest(self._ground_truth, stamp_ns)
            if near is None or abs(near[0] - stamp_ns) > _MAX_DIFFERENCE_NS:
                continue
            T_child_body = self._ground_truth_body(child)
            self._T_odom_gt = T_odom_child @ T_child_body @ inverse(near[1])
            self._T_body_child, self._odom_frame = inverse(T_child_body), odom
            self._poses.extend(self._aligned(pose) for _, pose in self._ground_truth)
            return

    def _ground_truth_body(self, child: str) -> FloatArray:
        """(4, 4) T_child_body from the body of the ground-truth poses to that of the odometry.

        Identity if TF does not connect the two or the ground truth names no child frame.
        """
        if self._tree is None or self._ground_truth_child in ("", child):
            return np.eye(4)
        found = self._tree.find(child, self._ground_truth_child)
        return np.eye(4) if found is None else found

    def _aligned(self, T_gt_body: FloatArray) -> PoseStamped:
        """A ground-truth pose as the pose of the odometry's child in the odometry frame."""
        assert self._T_odom_gt is not None
        pose = pose_message(self._T_odom_gt @ T_gt_body @ self._T_body_child)
        return PoseStamped(header=Header(frame_id=self._odom_frame), pose=pose)

    def _publish(self) -> None:
        now = time.monotonic()
        if now < self._due_s or not self._path.get_subscription_count():
            return
        self._due_s = now + _PERIOD_S
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self._odom_frame)
        self._path.publish(Path(header=header, poses=list(self._poses)))


def nearest(
    entries: Sequence[tuple[int, FloatArray]], stamp_ns: int
) -> tuple[int, FloatArray] | None:
    """The entry with the nearest stamp, of entries in order of time; None if there are none."""
    after = bisect_left(entries, stamp_ns, key=lambda entry: entry[0])
    around = [entries[index] for index in (after - 1, after) if 0 <= index < len(entries)]
    return min(around, key=lambda entry: abs(entry[0] - stamp_ns), default=None)


def usable_pose(message: Any) -> FloatArray | None:
    """(4, 4) pose of a message; None if it or the name of a frame cannot be used."""
    names = message.header.frame_id, getattr(message, "child_frame_id", "")
    if not all(map(is_frame_id, names)):
        return None
    try:
        return pose_of(Record("a topic", 0, message))
    except SourceError:
        return None


def main(args: list[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM."""
    arguments = sys.argv if args is None else [_NAME, *args]
    parser = program_parser(__doc__, _NAME)
    parser.add_argument("--type", choices=tuple(_TYPES), default="nav_msgs/msg/Odometry")
    options = parser.parse_args(remove_ros_args(arguments)[1:])
    return run(lambda: GroundTruthPath(options.type), arguments, _NAME)


if __name__ == "__main__":
    sys.exit(main())
