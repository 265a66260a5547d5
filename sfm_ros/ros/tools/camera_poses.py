"""The camera's poses in odometry messages, which may be those of the robot that carries it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from nav_msgs.msg import Odometry
from rclpy.node import Node

from sfm_ros.datatypes import FloatArray, body_frame_name
from sfm_ros.geometry import inverse, make_transform, matrix_from_quat_xyzw, quat_xyzw_from_matrix
from sfm_ros.ros.conversions import T_BODY_OPTICAL, stamp_to_ns
from sfm_ros.ros.tf_lookup import UNLIMITED, Lookup, make_lookup

Row = tuple[int, int, tuple[float, ...]]
"""Stamp and time of arrival in ns; x y z qx qy qz qw of the camera in body axes."""


class CameraPoses:
    """Turns the poses of odometry messages into those of the camera, from its first one on.

    With the extrinsics T_body_camera, and odom at the body's first pose, the camera moves by
    T_body_camera^-1 @ T_odom_body @ T_body_camera. Of the camera itself nothing is looked up.

    Attributes:
        optical_frame: of the images; None while no image has been received.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._lookup: Lookup | None = None
        self._waiting: deque[tuple[Odometry, int]] = deque()
        self._T_start_camera: FloatArray | None = None
        self.optical_frame: str | None = None

    def add(self, message: Odometry, received_ns: int) -> None:
        """Add a message; `take` has its pose once the extrinsics are known."""
        self._waiting.append((message, received_ns))

    def take(self) -> Iterator[Row]:
        """The poses that are known and were not taken yet, in order."""
        while self._waiting and self.optical_frame is not None:
            message, received_ns = self._waiting[0]
            pose = self._pose(message, self.optical_frame)
            if pose is None:
                return
            self._waiting.popleft()
            yield stamp_to_ns(message.header.stamp), received_ns, pose

    def lacking(self) -> str:
        """Which poses were not taken, and why; empty if all were."""
        if not self._waiting:
            return ""
        child = self._waiting[0][0].child_frame_id
        return (
            f"{len(self._waiting)} odometries are not recorded: TF does not connect their frame "
            f"'{child}' with '{self.optical_frame or 'the images, of which none came'}'"
        )

    def close(self) -> None:
        """Unsubscribe from TF."""
        if self._lookup is not None:
            self._lookup.close()

    def _pose(self, message: Odometry, optical_frame: str) -> tuple[float, ...] | None:
        p, q = message.pose.pose.position, message.pose.pose.orientation
        pose = (p.x, p.y, p.z, q.x, q.y, q.z, q.w)
        if message.child_frame_id == body_frame_name(optical_frame):
            return pose
        T_body_camera = self._extrinsics(message, optical_frame)
        if T_body_camera is None:
            return None
        if self._T_start_camera is None:
            self._T_start_camera = T_body_camera
        T_odom_body = make_transform(matrix_from_quat_xyzw(pose[3:]), pose[:3])
        T_camera = inverse(self._T_start_camera) @ T_odom_body @ T_body_camera
        T = T_BODY_OPTICAL @ T_camera @ inverse(T_BODY_OPTICAL)
        return (*T[:3, 3].tolist(), *quat_xyzw_from_matrix(T[:3, :3]))

    def _extrinsics(self, message: Odometry, optical_frame: str) -> FloatArray | None:
        if self._lookup is None:
            self._lookup = make_lookup(self._node, most_load=UNLIMITED)
        if self._lookup is None:
            return None
        stamp_ns, child = stamp_to_ns(message.header.stamp), message.child_frame_id
        found = self._lookup.find(child, optical_frame, stamp_ns)
        return self._lookup.find(child, optical_frame) if found is None else found
