"""Makes the messages of a bag with one camera, its ground truth and a lidar, for rosbags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from sfm_ros.bags.reader import typestore
from sfm_ros.datatypes import CameraIntrinsics, FloatArray, Frame, body_frame_name
from sfm_ros.errors import ImageError
from sfm_ros.geometry import optical_to_body, quat_xyzw_from_matrix

GROUND_TRUTH_FRAME = "ground_truth"
"""Frame in which ground-truth poses are given: the first camera's, in body axes."""

STORE = typestore(False)
_TYPES = STORE.types
_VECTOR, _POINT, _QUATERNION = (
    _TYPES[f"geometry_msgs/msg/{name}"] for name in ("Vector3", "Point", "Quaternion")
)
_FLOAT32 = 7
_SCAN_FIELDS = ("x", "y", "z", "intensity")


def header(stamp_ns: int, frame_id: str) -> Any:
    """std_msgs/Header."""
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    stamp = _TYPES["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
    return _TYPES["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)


def image_message(frame: Frame, is_gray: bool = False) -> Any:
    """The image as sensor_msgs/Image: bgr8 as camera drivers send it, or mono8."""
    height, width = frame.rgb.shape[:2]
    pixels = frame.rgb[:, :, 0] if is_gray else frame.rgb[:, :, ::-1]
    return _TYPES["sensor_msgs/msg/Image"](
        header=header(frame.stamp_ns, frame.frame_id),
        height=height,
        width=width,
        encoding="mono8" if is_gray else "bgr8",
        is_bigendian=0,
        step=(1 if is_gray else 3) * width,
        data=np.ascontiguousarray(pixels).reshape(-1),
    )


def encode_image(frame: Frame, kind: str, quality: int, is_gray: bool = False) -> bytes:
    """The image as a ``png`` or ``jpeg`` file, the latter with a quality of 1 to 100.

    Raises:
        ImageError: OpenCV cannot encode it.
    """
    pixels = frame.rgb[:, :, 0] if is_gray else cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR)
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality] if kind == "jpeg" else []
    ok, data = cv2.imencode(f".{kind}", pixels, settings)
    if not ok:
        raise ImageError(f"cannot encode an image of shape {frame.rgb.shape} as {kind}")
    return data.tobytes()


def compressed_image_message(
    data: bytes, kind: str, stamp_ns: int, frame_id: str, is_gray: bool = False
) -> Any:
    """The bytes of an image file as sensor_msgs/CompressedImage, in image_transport's format."""
    encoding = "mono8" if is_gray else "bgr8"
    return _TYPES["sensor_msgs/msg/CompressedImage"](
        header=header(stamp_ns, frame_id),
        format=f"{encoding}; {kind} compressed {encoding}",
        data=np.frombuffer(data, dtype=np.uint8),
    )


def camera_info_message(camera: CameraIntrinsics, stamp_ns: int, frame_id: str) -> Any:
    """The calibration as sensor_msgs/CameraInfo; without P the rectified image has the same K."""
    P = np.hstack([camera.K, np.zeros((3, 1))]) if camera.P is None else camera.P
    R = np.eye(3) if camera.R is None else camera.R
    roi = _TYPES["sensor_msgs/msg/RegionOfInterest"](
        x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    return _TYPES["sensor_msgs/msg/CameraInfo"](
        header=header(stamp_ns, frame_id),
        height=camera.height,
        width=camera.width,
        distortion_model=camera.distortion_model,
        d=np.array(camera.distortion, dtype=np.float64),
        k=camera.K.reshape(-1),
        r=np.asarray(R, dtype=np.float64).reshape(-1),
        p=np.asarray(P, dtype=np.float64).reshape(-1),
        binning_x=0,
        binning_y=0,
        roi=roi,
    )


def ground_truth_message(T_world_camera: FloatArray, stamp_ns: int, camera_frame: str) -> Any:
    """The ground-truth pose as nav_msgs/Odometry in body axes (REP 103), no covariance or twist.

    ``camera_frame`` is the optical frame of the camera; the child is its body frame.
    """
    T = optical_to_body(T_world_camera)
    pose = _TYPES["geometry_msgs/msg/Pose"](
        position=_POINT(*T[:3, 3].tolist()), orientation=_quaternion(T)
    )
    still = _TYPES["geometry_msgs/msg/Twist"](
        linear=_VECTOR(0.0, 0.0, 0.0), angular=_VECTOR(0.0, 0.0, 0.0)
    )
    unknown = np.zeros(36)
    return _TYPES["nav_msgs/msg/Odometry"](
        header=header(stamp_ns, GROUND_TRUTH_FRAME),
        child_frame_id=body_frame_name(camera_frame),
        pose=_TYPES["geometry_msgs/msg/PoseWithCovariance"](pose=pose, covariance=unknown),
        twist=_TYPES["geometry_msgs/msg/TwistWithCovariance"](twist=still, covariance=unknown),
    )


def transforms_message(transforms: Mapping[tuple[str, str], FloatArray], stamp_ns: int) -> Any:
    """tf2_msgs/TFMessage of (parent, child) -> T_parent_child."""
    entries = []
    for (parent, child), T in transforms.items():
        transform = _TYPES["geometry_msgs/msg/Transform"](
            translation=_VECTOR(*T[:3, 3].tolist()), rotation=_quaternion(T)
        )
        entries.append(
            _TYPES["geometry_msgs/msg/TransformStamped"](
                header=header(stamp_ns, parent), child_frame_id=child, transform=transform
            )
        )
    return _TYPES["tf2_msgs/msg/TFMessage"](transforms=entries)


def scan_message(data: bytes, stamp_ns: int, frame_id: str) -> Any:
    """A lidar scan, four little-endian float32 per point, as sensor_msgs/PointCloud2."""
    step = 4 * len(_SCAN_FIELDS)
    count = len(data) // step
    field = _TYPES["sensor_msgs/msg/PointField"]
    return _TYPES["sensor_msgs/msg/PointCloud2"](
        header=header(stamp_ns, frame_id),
        height=1,
        width=count,
        fields=[
            field(name=name, offset=4 * index, datatype=_FLOAT32, count=1)
            for index, name in enumerate(_SCAN_FIELDS)
        ],
        is_bigendian=False,
        point_step=step,
        row_step=step * count,
        data=np.frombuffer(data, dtype=np.uint8),
        is_dense=True,
    )


def _quaternion(T: FloatArray) -> Any:
    return _QUATERNION(*quat_xyzw_from_matrix(T[:3, :3]).tolist())
