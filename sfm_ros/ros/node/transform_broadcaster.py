"""The odometry on TF, either way round, and the camera's own frame where nobody else tells it."""

from __future__ import annotations

from geometry_msgs.msg import Pose
from rclpy.node import Node
from std_msgs.msg import Header

from sfm_ros.datatypes import FloatArray
from sfm_ros.geometry import inverse
from sfm_ros.ros.compat import Broadcaster, make_broadcaster, make_static_broadcaster
from sfm_ros.ros.conversions import pose_message, transform_message, transform_of_pose
from sfm_ros.ros.node.extrinsics import Extrinsics


class TransformSender:
    """Broadcasts from the first transform on; before that the node is no publisher of TF.

    Args:
        node: the node that sends.
        is_inverted: send child -> odom instead of odom -> child.
    """

    def __init__(self, node: Node, is_inverted: bool) -> None:
        self._node = node
        self._is_inverted = is_inverted
        self._broadcaster: Broadcaster | None = None
        self._static: Broadcaster | None = None
        self._told: set[str] = set()

    def send(
        self, odom: Header, pose: Pose, T_odom_body: FloatArray, extrinsics: Extrinsics
    ) -> None:
        """Send a pose.

        Args:
            odom: its stamp and the odom frame.
            pose: of the body.
            T_odom_body: (4, 4) the same.
            extrinsics: the body.
        """
        if self._broadcaster is None:
            self._broadcaster = make_broadcaster(self._node)
            self._static = make_static_broadcaster(self._node)
        if self._broadcaster is None:  # no tf2_msgs; said at the start
            return
        if extrinsics.optical_frame not in self._told:
            self._told.add(extrinsics.optical_frame)
            self._tell_the_camera(extrinsics)
        if self._is_inverted:
            body = Header(stamp=odom.stamp, frame_id=extrinsics.child)
            inverted = pose_message(inverse(T_odom_body))
            self._broadcaster.sendTransform(transform_of_pose(inverted, body, odom.frame_id))
        else:
            self._broadcaster.sendTransform(transform_of_pose(pose, odom, extrinsics.child))

    def _tell_the_camera(self, extrinsics: Extrinsics) -> None:
        if extrinsics.is_ours_to_tell and self._static is not None:
            self._static.sendTransform(
                transform_message(
                    extrinsics.T_body_camera, 0, extrinsics.child, extrinsics.optical_frame
                )
            )
