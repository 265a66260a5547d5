"""Everything the node publishes, made from an estimate and nothing else."""

from __future__ import annotations

import time
from collections import deque

import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry, Path
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from sfm_ros.config import SfmConfig
from sfm_ros.datatypes import CameraIntrinsics, OdometryEstimate, Reason
from sfm_ros.pose import motion_covariance
from sfm_ros.ros import conversions
from sfm_ros.ros.compat import make_broadcaster
from sfm_ros.ros.mounting import Mounting

_PATH_PERIOD_S = 0.5
"""A long path is large; nobody watches it faster."""


class Outputs:
    """The node's publishers.

    Odometry and TF are published for a frame the pose was really moved to. Where the motion is not
    known (a window that fills, a rejected output) there is no pose, rather than one that is wrong.
    """

    def __init__(self, node: Node, options: SfmConfig) -> None:
        self._config = config = options.node
        self._noise = options.noise
        # For an evaluation nothing may be lost to a reader that is slow for a moment.
        qos = QoSProfile(depth=1000 if config.delivery == "every" else 10)
        self._odometry = node.create_publisher(Odometry, "~/odometry", qos)
        self._path = node.create_publisher(Path, "~/path", QoSProfile(depth=1))
        self._depth = node.create_publisher(Image, "~/depth", qos)
        self._depth_info = node.create_publisher(CameraInfo, "~/depth/camera_info", qos)
        self._cloud = node.create_publisher(PointCloud2, "~/points", QoSProfile(depth=2))
        self._broadcaster = make_broadcaster(node) if config.publish_tf else None
        self._poses: deque[PoseStamped] = deque(maxlen=config.path_length)
        self._path_due_s = 0.0
        self._info_camera: CameraIntrinsics | None = None
        self._info = CameraInfo()

    def clear(self) -> None:
        """The odometry began anew."""
        self._poses.clear()

    def publish(self, estimate: OdometryEstimate, mounting: Mounting) -> None:
        """Send what there is of an estimate, the pose first and the transform last.

        This process listens to /tf too: what it sends there wakes its executor, which would take
        turns with the rest of the publishing.
        """
        if Reason.TIME_REVERSED in estimate.reasons:
            self.clear()
        odometry = None
        if estimate.T_odom_camera is not None and estimate.T_prev_curr is not None:
            odometry = self._publish_odometry(estimate, mounting)
        if estimate.depth is not None and estimate.depth_intrinsics is not None:
            self._publish_depth(estimate)
        if odometry is not None:
            self._publish_transform_and_path(odometry)

    def _publish_odometry(self, estimate: OdometryEstimate, mounting: Mounting) -> Odometry:
        assert estimate.T_odom_camera is not None and estimate.T_prev_curr is not None
        B = mounting.T_body_camera
        T_odom_body = conversions.pose_in_body_axes(estimate.T_odom_camera, B)
        odom = conversions.header(estimate.stamp_ns, self._config.odom_frame)
        message = conversions.odometry_message(
            odom,
            mounting.child,
            T_odom_body,
            conversions.covariance_in_body_axes(estimate.covariance, estimate.T_odom_camera, B),
            conversions.pose_in_body_axes(estimate.T_prev_curr, B),
            motion_covariance(self._noise, float(np.linalg.norm(estimate.T_prev_curr[:3, 3]))),
            estimate.dt_ns,
        )
        self._odometry.publish(message)
        return message

    def _publish_transform_and_path(self, odometry: Odometry) -> None:
        odom, pose = odometry.header, odometry.pose.pose
        if self._broadcaster is not None:
            self._broadcaster.sendTransform(
                conversions.transform_of_pose(pose, odom, odometry.child_frame_id)
            )
        self._poses.append(PoseStamped(header=odom, pose=pose))
        now = time.monotonic()
        if self._path.get_subscription_count() and now >= self._path_due_s:
            self._path.publish(Path(header=odom, poses=list(self._poses)))
            self._path_due_s = now + _PATH_PERIOD_S

    def _publish_depth(self, estimate: OdometryEstimate) -> None:
        assert estimate.depth is not None and estimate.depth_intrinsics is not None
        header = conversions.header(estimate.stamp_ns, estimate.frame_id)
        if self._config.publish_depth:
            self._depth_info.publish(self._info_of(estimate.depth_intrinsics, header))
            self._depth.publish(conversions.depth_to_image(estimate.depth, header))
        if self._cloud.get_subscription_count():
            self._cloud.publish(
                conversions.cloud_from_depth(estimate.depth, estimate.depth_intrinsics, header)
            )

    def _info_of(self, camera: CameraIntrinsics, header: Header) -> CameraInfo:
        """The CameraInfo of the depth grid, made anew only where the grid has changed."""
        if camera is not self._info_camera:
            self._info = conversions.info_from_intrinsics(camera, header)
            self._info_camera = camera
        self._info.header = header
        return self._info
