"""The odometry on TF, and the camera's optical frame if nothing else publishes it."""

from __future__ import annotations

import threading
from collections import deque

from geometry_msgs.msg import Pose, TransformStamped
from rclpy.node import Node
from std_msgs.msg import Header

from sfm_ros.datatypes import FloatArray
from sfm_ros.geometry import inverse
from sfm_ros.ros.compat import Broadcaster, make_broadcaster, make_static_broadcaster
from sfm_ros.ros.conversions import pose_message, transform_message, transform_of_pose
from sfm_ros.ros.node.extrinsics import Extrinsics

_REMEMBERED = 300
"""Transforms that are known to be the node's own: some seconds of a fast camera."""


class OdometryBroadcaster:
    """Broadcasts the odometry; until the first pose the node does not publish on TF.

    Args:
        node: the node that sends.
        is_inverted: send child -> odom instead of odom -> child.
    """

    def __init__(self, node: Node, is_inverted: bool) -> None:
        self._node = node
        self._is_inverted = is_inverted
        self._moving: Broadcaster | None = None
        self._static: Broadcaster | None = None
        self._seen: set[str] = set()
        self._lock = threading.Lock()
        self._sent: deque[TransformStamped] = deque(maxlen=_REMEMBERED)

    @property
    def child(self) -> str | None:
        """The frame that is moved; None until the first pose."""
        with self._lock:
            return self._sent[-1].child_frame_id if self._sent else None

    def has_sent(self, transform: TransformStamped) -> bool:
        """Whether a transform that was received is one of the last that were sent."""
        with self._lock:
            return transform in reversed(self._sent)  # most often the newest

    def close(self) -> None:
        """Destroy the publishers."""
        for broadcaster in (self._moving, self._static):
            if broadcaster is not None:
                self._node.destroy_publisher(broadcaster.pub_tf)
        self._moving = self._static = None

    def send(
        self, odom: Header, pose: Pose, T_odom_body: FloatArray, extrinsics: Extrinsics
    ) -> None:
        """Send a pose.

        Args:
            odom: its stamp and the odom frame.
            pose: of the body.
            T_odom_body: (4, 4) the same.
            extrinsics: name the body.
        """
        if self._moving is None:
            self._moving = make_broadcaster(self._node)
            self._static = make_static_broadcaster(self._node)
        if self._moving is None:  # no tf2_msgs; the node has logged it at its start
            return
        if extrinsics.optical_frame not in self._seen:
            self._seen.add(extrinsics.optical_frame)
            self._send_optical_frame(extrinsics)
        if self._is_inverted:
            body = Header(stamp=odom.stamp, frame_id=extrinsics.child)
            inverted = pose_message(inverse(T_odom_body))
            transform = transform_of_pose(inverted, body, odom.frame_id)
        else:
            transform = transform_of_pose(pose, odom, extrinsics.child)
        with self._lock:
            self._sent.append(transform)
        self._moving.sendTransform(transform)

    def _send_optical_frame(self, extrinsics: Extrinsics) -> None:
        if extrinsics.publish_optical_frame and self._static is not None:
            frames = extrinsics.child, extrinsics.optical_frame
            self._static.sendTransform(transform_message(extrinsics.T_body_camera, 0, *frames))
