"""Messages to core types and back, in pure functions.

The algorithm works in optical axes (x right, y down, z forward), ROS in body axes (x forward, y
left, z up; REP 103). Poses are turned from one into the other by ``ros.node.body_odometry`` only.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Time
from geometry_msgs.msg import Pose, TransformStamped
from nav_msgs.msg import Odometry
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

from sfm_ros.datatypes import (
    MAX_FRAME_ID,
    OPTICAL_FRAME,
    CameraIntrinsics,
    DepthMap,
    FloatArray,
    Frame,
    RgbImage,
    is_frame_id,
)
from sfm_ros.errors import ImageError, printable
from sfm_ros.formats.gray_range import GrayLevels
from sfm_ros.formats.image_codec import SUPPORTED_ENCODINGS, decode_message
from sfm_ros.geometry import R_BODY_OPTICAL, make_transform, se3_log
from sfm_ros.ros.compat import byte_array, create_cloud, decode_with_cv_bridge, quaternion_message

_NS = 1_000_000_000

T_BODY_OPTICAL: FloatArray = make_transform(R_BODY_OPTICAL, np.zeros(3))
"""The camera's body-axis frame from its optical frame: the same point, other axes (REP 103)."""


def stamp_to_ns(stamp: Time) -> int:
    """A message's time as integer nanoseconds."""
    return int(stamp.sec) * _NS + int(stamp.nanosec)


def stamp_from_ns(stamp_ns: int) -> Time:
    """Integer nanoseconds as a message's time."""
    sec, nanosec = divmod(int(stamp_ns), _NS)
    return Time(sec=sec, nanosec=nanosec)


def header(stamp_ns: int, frame_id: str) -> Header:
    """A header with this time and frame."""
    return Header(stamp=stamp_from_ns(stamp_ns), frame_id=frame_id)


def frame_from_image(
    message: Image | CompressedImage,
    intrinsics: CameraIntrinsics,
    max_megapixels: float | None = None,
    levels: GrayLevels | None = None,
) -> Frame:
    """A Frame of a raw or compressed image and its calibration; ``levels`` as `decode_message`.

    Raises:
        ImageError: the image cannot be decoded, is compressed and larger than ``max_megapixels``,
            its stamp is not a time, or its frame_id no name.
        CalibrationError: the image has another size than its calibration.
    """
    stamp = message.header.stamp
    if stamp.nanosec >= _NS:  # no message with this stamp could be published
        raise ImageError(f"the stamp has {stamp.nanosec} nanoseconds, expected less than {_NS}")
    frame_id = message.header.frame_id
    if not is_frame_id(frame_id):
        raise ImageError(
            f"the frame_id is '{printable(frame_id, 60)}', expected at most {MAX_FRAME_ID} "
            "printable characters"
        )
    return Frame(
        stamp_ns=stamp_to_ns(stamp),
        rgb=_decode(message, max_megapixels, levels),
        intrinsics=intrinsics,
        frame_id=frame_id.lstrip("/") or OPTICAL_FRAME,
    )


def _decode(
    message: Image | CompressedImage, max_megapixels: float | None, levels: GrayLevels | None
) -> RgbImage:
    """Decode with our own decoder, or with cv_bridge an encoding that only it supports."""
    if getattr(message, "encoding", None) in (None, *SUPPORTED_ENCODINGS):
        return decode_message(message, max_megapixels, levels)
    rgb = decode_with_cv_bridge(message)
    return decode_message(message) if rgb is None else rgb


def depth_to_image(depth: DepthMap, image_header: Header) -> Image:
    """A depth map as 32FC1: meters along the optical axis, NaN where invalid (REP 118)."""
    return _image(np.asarray(depth, dtype="<f4"), "32FC1", image_header)


def rgb_to_image(rgb: RgbImage, image_header: Header) -> Image:
    """An image of (h, w, 3) uint8 as rgb8."""
    return _image(rgb, "rgb8", image_header)


def _image(pixels: npt.NDArray, encoding: str, image_header: Header) -> Image:
    height, width = pixels.shape[:2]
    return Image(
        header=image_header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=pixels.nbytes // height,
        data=byte_array(pixels),
    )


def info_from_intrinsics(camera: CameraIntrinsics, info_header: Header) -> CameraInfo:
    """The CameraInfo of a calibration."""
    P = camera.P if camera.P is not None else np.hstack([camera.K, np.zeros((3, 1))])
    R = camera.R if camera.R is not None else np.eye(3)
    return CameraInfo(
        header=info_header,
        width=camera.width,
        height=camera.height,
        distortion_model=camera.distortion_model,
        d=list(camera.distortion) or [0.0] * 5,
        k=camera.K.ravel().tolist(),
        r=R.ravel().tolist(),
        p=P.ravel().tolist(),
    )


def cloud_from_depth(
    depth: DepthMap, rgb: RgbImage, camera: CameraIntrinsics, cloud_header: Header
) -> PointCloud2:
    """An organized cloud in the optical frame, one colored point per pixel; NaN where invalid."""
    # As geometry.back_project does, but in the single precision of the message.
    x = ((np.arange(camera.width) - camera.cx) / camera.fx).astype(np.float32)
    y = ((np.arange(camera.height) - camera.cy) / camera.fy).astype(np.float32)
    points = np.empty((*depth.shape, 4), dtype=np.float32)
    np.multiply(depth, x, out=points[..., 0])
    np.multiply(depth, y[:, None], out=points[..., 1])
    points[..., 2] = depth
    # The bytes of 0x00RRGGBB, as RViz and PCL expect colors in a field of type float.
    r, g, b = (rgb[..., channel].astype(np.uint32) for channel in range(3))
    points[..., 3] = (r << 16 | g << 8 | b).view(np.float32)
    return create_cloud(cloud_header, points)


def pose_message(T: FloatArray) -> Pose:
    """A (4, 4) transform as a Pose."""
    pose = Pose()
    pose.position.x, pose.position.y, pose.position.z = (float(v) for v in T[:3, 3])
    pose.orientation = quaternion_message(T[:3, :3])
    return pose


def transform_message(
    T_parent_child: FloatArray, stamp_ns: int, parent: str, child: str
) -> TransformStamped:
    """A (4, 4) T_parent_child as a TransformStamped."""
    return transform_of_pose(pose_message(T_parent_child), header(stamp_ns, parent), child)


def transform_of_pose(pose: Pose, parent_header: Header, child: str) -> TransformStamped:
    """The transform to a frame whose pose in the header's frame is given."""
    message = TransformStamped(header=parent_header, child_frame_id=child)
    t, p = message.transform.translation, pose.position
    t.x, t.y, t.z = p.x, p.y, p.z
    message.transform.rotation = pose.orientation
    return message


def odometry_message(
    odom_header: Header,
    child: str,
    T_odom_child: FloatArray,
    covariance: FloatArray,
    T_prev_curr: FloatArray,
    motion_covariance: FloatArray,
    dt_ns: int,
) -> Odometry:
    """An Odometry message.

    Args:
        odom_header: stamp and odom frame.
        child: frame whose pose and velocity this is.
        T_odom_child: (4, 4) pose, body axes.
        covariance: (6, 6) of the pose, fixed axes of the odom frame.
        T_prev_curr: (4, 4) last motion of ``child`` in its own axes; the twist is the constant
            velocity that produces it.
        motion_covariance: (6, 6) of that motion.
        dt_ns: duration of that motion, above zero.
    """
    message = Odometry(header=odom_header, child_frame_id=child)
    message.pose.pose = pose_message(T_odom_child)
    message.pose.covariance = np.asarray(covariance, dtype=np.float64).ravel()
    dt_s = dt_ns * 1e-9
    rates = se3_log(T_prev_curr) / dt_s
    message.twist.covariance = (np.asarray(motion_covariance) / dt_s**2).ravel()
    linear, angular = message.twist.twist.linear, message.twist.twist.angular
    linear.x, linear.y, linear.z, angular.x, angular.y, angular.z = (float(v) for v in rates)
    return message
