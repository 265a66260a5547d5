"""Everything the node publishes for an image, made from its estimate alone."""

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
from sfm_ros.datatypes import CameraIntrinsics, DepthMap, OdometryEstimate, Reason
from sfm_ros.geometry import MAX_POSITION_M, is_position, is_rotation
from sfm_ros.ros import conversions
from sfm_ros.ros.node.body_odometry import BodyMotion, BodyOdometry
from sfm_ros.ros.node.extrinsics import Extrinsics
from sfm_ros.ros.node.trajectory_log import TrajectoryLog
from sfm_ros.ros.node.transform_broadcaster import OdometryBroadcaster

_PATH_PERIOD_S = 0.5
"""A long path is large; a display needs it no more often."""
_MAX_VARIANCE = 1e30
"""Of a pose: beyond any use, and far from the largest number."""


class Outputs:
    """The node's publishers.

    Odometry and TF are published for a frame to which the motion is known. If it is not (a window
    that fills, a rejected output) there is no pose, rather than a wrong one. Depth in all its
    forms and the path are made for subscribers only.

    Attributes:
        trajectory: the poses published since the odometry started.
        broadcaster: sends them on TF.
    """

    def __init__(self, node: Node, config: SfmConfig) -> None:
        options = config.node
        self.configure(config)
        self.trajectory = TrajectoryLog(options.trajectory_length)
        # In an evaluation nothing may be lost for a subscriber that is slow for a moment.
        qos = QoSProfile(depth=1000 if options.image_queue == "every" else 10)
        few = QoSProfile(depth=2)
        self._node = node
        self._odometry = node.create_publisher(Odometry, "~/odometry", qos)
        self._path = node.create_publisher(Path, "~/path", QoSProfile(depth=1))
        self._depth = node.create_publisher(Image, "~/depth/image", qos)
        self._depth_info = node.create_publisher(CameraInfo, "~/depth/camera_info", qos)
        self._uncertainty = node.create_publisher(Image, "~/depth/uncertainty", qos)
        self._depth_color = node.create_publisher(Image, "~/depth/image_color", few)
        self._cloud = node.create_publisher(PointCloud2, "~/points", few)
        self.broadcaster = OdometryBroadcaster(node, options.invert_tf)
        self._body = BodyOdometry()
        self._poses: deque[PoseStamped] = deque(maxlen=options.path_length)
        self._path_due_s = 0.0
        self._limits = SteadyLimits()
        self._info_camera: CameraIntrinsics | None = None
        self._info = CameraInfo()

    def configure(self, config: SfmConfig) -> None:
        """Apply the live options from the next estimate on."""
        self._options = config.node
        self._max_uncertainty = config.depth.max_uncertainty

    def close(self) -> None:
        """Destroy the publishers."""
        self.broadcaster.close()
        for publisher in self._publishers():
            self._node.destroy_publisher(publisher)

    def _publishers(self) -> tuple[Publisher, ...]:
        depth = self._depth, self._depth_info, self._uncertainty, self._depth_color
        return self._odometry, self._path, *depth, self._cloud

    def have_subscribers(self) -> bool:
        """Whether there is a subscription to one of the topics; TF is not among them."""
        return any(publisher.get_subscription_count() for publisher in self._publishers())

    def clear(self) -> None:
        """Start again: the next image is at the origin."""
        self._poses.clear()
        self.trajectory.clear()
        self._body.reset()

    def publish(self, estimate: OdometryEstimate, extrinsics: Extrinsics) -> str:
        """Publish what an estimate holds, the pose first and what people look at last.

        Returns:
            What was withheld because it is not finite or cannot be true, and why; empty if
            nothing was.
        """
        if Reason.TIME_REVERSED in estimate.reasons:
            self.clear()
        withheld = ""
        motion = self._body.update(estimate, extrinsics)
        if motion is not None:
            withheld = why_withheld(motion, estimate.dt_ns)
            if not withheld:
                self._publish_pose(estimate, motion, extrinsics)
        if estimate.depth is not None and estimate.depth_intrinsics is not None:
            self._publish_depth(estimate, estimate.depth, estimate.depth_intrinsics)
        self._publish_path()
        return withheld

    def _publish_pose(
        self, estimate: OdometryEstimate, motion: BodyMotion, extrinsics: Extrinsics
    ) -> None:
        odom = conversions.header(estimate.stamp_ns, self._options.odom_frame)
        message = conversions.odometry_message(
            odom,
            extrinsics.child,
            motion.T_odom_body,
            motion.covariance,
            motion.T_prev_curr,
            motion.motion_covariance,
            estimate.dt_ns,
        )
        if self._options.publish_odometry:
            self._odometry.publish(message)
        pose = message.pose.pose
        if self._options.publish_tf:
            self.broadcaster.send(odom, pose, motion.T_odom_body, extrinsics)
        self.trajectory.add(estimate.stamp_ns, pose)
        self._poses.append(PoseStamped(header=odom, pose=pose))

    def _publish_path(self) -> None:
        now = time.monotonic()
        if not self._poses or now < self._path_due_s or not self._options.publish_path:
            return
        if self._path.get_subscription_count():
            self._path.publish(Path(header=self._poses[-1].header, poses=list(self._poses)))
            self._path_due_s = now + _PATH_PERIOD_S

    def _publish_depth(
        self, estimate: OdometryEstimate, depth: DepthMap, camera: CameraIntrinsics
    ) -> None:
        options = self._options
        header = conversions.header(estimate.stamp_ns, estimate.frame_id)
        if _is_needed(options.publish_depth, self._depth_info):
            self._depth_info.publish(self._info_of(camera, header))
        uncertainty = estimate.depth_uncertainty
        if uncertainty is not None and _is_needed(options.publish_depth, self._uncertainty):
            self._uncertainty.publish(conversions.depth_to_image(uncertainty, header))
        forms = (
            (options.publish_depth, self._depth),
            (options.publish_depth_color, self._depth_color),
            (options.publish_points, self._cloud),
        )
        needed = [publisher for is_on, publisher in forms if _is_needed(is_on, publisher)]
        if not needed:
            return
        depth = _finite_or_nan(depth)
        if self._depth in needed:
            self._depth.publish(conversions.depth_to_image(depth, header))
        if uncertainty is not None and self._max_uncertainty > 0:
            depth = np.where(uncertainty <= self._max_uncertainty, depth, np.float32(np.nan))
        if self._depth_color in needed:
            colors = color_of_depth(depth, self._limits.follow(depth))
            self._depth_color.publish(conversions.rgb_to_image(colors, header))
        if self._cloud in needed and estimate.rgb is not None:
            cloud = conversions.cloud_from_depth(depth, estimate.rgb, camera, header)
            self._cloud.publish(cloud)

    def _info_of(self, camera: CameraIntrinsics, header: Header) -> CameraInfo:
        """The CameraInfo of the depth grid, made again only if the grid has changed."""
        if camera is not self._info_camera:
            self._info = conversions.info_from_intrinsics(camera, header)
            self._info_camera = camera
        self._info.header = header
        return self._info


def why_withheld(motion: BodyMotion, dt_ns: int) -> str:
    """Why a motion must not be published; empty if it may.

    The one guard of all poses: what passes is finite in each form in which it is published, and
    nothing else is published, broadcast, or saved.
    """
    for name, T in (("pose", motion.T_odom_body), ("motion", motion.T_prev_curr)):
        if not (is_position(T[:3, 3]) and is_rotation(T[:3, :3])):
            return (
                f"the {name} is withheld: position {T[:3, 3].tolist()}, expected a rotation and "
                f"at most {MAX_POSITION_M:g} m; call ~/reset to start again at the origin"
            )
    if not np.all(np.abs(motion.covariance) <= _MAX_VARIANCE) or dt_ns <= 0:
        return (
            f"the pose is withheld: its largest variance is {np.abs(motion.covariance).max():g}, "
            f"expected at most {_MAX_VARIANCE:g}, over {dt_ns} ns, expected more than 0; call "
            "~/reset to start again at the origin"
        )
    return ""


def _finite_or_nan(depth: DepthMap) -> DepthMap:
    """The depth with NaN, which marks an unknown one, instead of what overflows as a point."""
    if np.abs(depth).max() <= MAX_POSITION_M:  # False for NaN too
        return depth
    with np.errstate(invalid="ignore"):
        return np.where(np.abs(depth) <= MAX_POSITION_M, depth, np.float32(np.nan))


def _is_needed(is_on: bool, publisher: Publisher) -> bool:
    return is_on and publisher.get_subscription_count() > 0
