"""Everything the node publishes of the images, made from an estimate and nothing else."""

from __future__ import annotations

import time
from collections import deque

import numpy as np
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry, Path
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from sfm_ros.colormap import SteadyLimits, color_of_depth
from sfm_ros.config import SfmConfig
from sfm_ros.datatypes import CameraIntrinsics, DepthMap, FloatArray, OdometryEstimate, Reason
from sfm_ros.pose import motion_covariance
from sfm_ros.ros import conversions
from sfm_ros.ros.node.extrinsics import Extrinsics
from sfm_ros.ros.node.trajectory_log import TrajectoryLog
from sfm_ros.ros.node.transform_broadcaster import TransformSender

_PATH_PERIOD_S = 0.5
"""A long path is large; nobody watches it faster."""


class Outputs:
    """The node's publishers.

    Odometry and TF are published for a frame the pose was really moved to. Where the motion is not
    known (a window that fills, a rejected output) there is no pose, rather than one that is wrong.
    Depth in all its forms and the path are made only for subscribers.

    Attributes:
        trajectory: the poses published since the odometry began.
    """

    def __init__(self, node: Node, config: SfmConfig) -> None:
        options = config.node
        self.trajectory = TrajectoryLog(options.trajectory_length)
        # For an evaluation nothing may be lost to a reader that is slow for a moment.
        qos = QoSProfile(depth=1000 if options.image_queue == "every" else 10)
        few = QoSProfile(depth=2)
        self._odometry = node.create_publisher(Odometry, "~/odometry", qos)
        self._path = node.create_publisher(Path, "~/path", QoSProfile(depth=1))
        self._depth = node.create_publisher(Image, "~/depth/image", qos)
        self._depth_info = node.create_publisher(CameraInfo, "~/depth/camera_info", qos)
        self._depth_color = node.create_publisher(Image, "~/depth/image_color", few)
        self._cloud = node.create_publisher(PointCloud2, "~/points", few)
        self._transforms = TransformSender(node, options.invert_tf)
        self._poses: deque[PoseStamped] = deque(maxlen=options.path_length)
        self._path_due_s = 0.0
        self._limits = SteadyLimits()
        self._info_camera: CameraIntrinsics | None = None
        self._info = CameraInfo()

    def have_subscribers(self) -> bool:
        """Whether somebody subscribes to one of the topics; TF is not among them."""
        publishers = (
            self._odometry,
            self._path,
            self._depth,
            self._depth_info,
            self._depth_color,
            self._cloud,
        )
        return any(publisher.get_subscription_count() for publisher in publishers)

    def clear(self) -> None:
        """The odometry began anew."""
        self._poses.clear()
        self.trajectory.clear()

    def publish(
        self, estimate: OdometryEstimate, extrinsics: Extrinsics, config: SfmConfig
    ) -> None:
        """Send what there is of an estimate, the pose first and what only people look at last."""
        if Reason.TIME_REVERSED in estimate.reasons:
            self.clear()
        T_odom_camera, T_prev_curr = estimate.T_odom_camera, estimate.T_prev_curr
        if T_odom_camera is not None and T_prev_curr is not None:
            self._publish_pose(estimate, T_odom_camera, T_prev_curr, extrinsics, config)
        if estimate.depth is not None and estimate.depth_intrinsics is not None:
            self._publish_depth(estimate, estimate.depth, estimate.depth_intrinsics, config)
        self._publish_path(config)

    def _publish_pose(
        self,
        estimate: OdometryEstimate,
        T_odom_camera: FloatArray,
        T_prev_curr: FloatArray,
        extrinsics: Extrinsics,
        config: SfmConfig,
    ) -> None:
        B = extrinsics.T_body_camera
        T_odom_body = conversions.pose_in_body_axes(T_odom_camera, B)
        odom = conversions.header(estimate.stamp_ns, config.node.odom_frame)
        message = conversions.odometry_message(
            odom,
            extrinsics.child,
            T_odom_body,
            conversions.covariance_in_body_axes(estimate.covariance, T_odom_camera, B),
            conversions.pose_in_body_axes(T_prev_curr, B),
            motion_covariance(config.noise, float(np.linalg.norm(T_prev_curr[:3, 3]))),
            estimate.dt_ns,
        )
        if config.node.publish_odometry:
            self._odometry.publish(message)
        pose = message.pose.pose
        if config.node.publish_tf:
            self._transforms.send(odom, pose, T_odom_body, extrinsics)
        self.trajectory.add(estimate.stamp_ns, pose)
        self._poses.append(PoseStamped(header=odom, pose=pose))

    def _publish_path(self, config: SfmConfig) -> None:
        now = time.monotonic()
        if not self._poses or now < self._path_due_s or not config.node.publish_path:
            return
        if self._path.get_subscription_count():
            self._path.publish(Path(header=self._poses[-1].header, poses=list(self._poses)))
            self._path_due_s = now + _PATH_PERIOD_S

    def _publish_depth(
        self,
        estimate: OdometryEstimate,
        depth: DepthMap,
        camera: CameraIntrinsics,
        config: SfmConfig,
    ) -> None:
        header = conversions.header(estimate.stamp_ns, estimate.frame_id)
        if _is_due(config.node.publish_depth, self._depth_info):
            self._depth_info.publish(self._info_of(camera, header))
        if _is_due(config.node.publish_depth, self._depth):
            self._depth.publish(conversions.depth_to_image(depth, header))
        if _is_due(config.node.publish_depth_color, self._depth_color):
            colors = color_of_depth(depth, self._limits.follow(depth))
            self._depth_color.publish(conversions.rgb_to_image(colors, header))
        if _is_due(config.node.publish_points, self._cloud):
            self._cloud.publish(conversions.cloud_from_depth(depth, camera, header))

    def _info_of(self, camera: CameraIntrinsics, header: Header) -> CameraInfo:
        """The CameraInfo of the depth grid, made anew only where the grid has changed."""
        if camera is not self._info_camera:
            self._info = conversions.info_from_intrinsics(camera, header)
            self._info_camera = camera
        self._info.header = header
        return self._info


def _is_due(is_on: bool, publisher: Publisher) -> bool:
    return is_on and publisher.get_subscription_count() > 0
