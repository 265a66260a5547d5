"""The one place that depends on which ROS helper packages are installed.

A ROS installation brings tf2_ros, cv_bridge and sensor_msgs_py; the Python wheels do not. What is
installed is used, else the few lines here do the same, and nothing else in the project depends on
which it is.

Without even the message package tf2_msgs there is no TF: a broadcaster is None, and the caller
reports that once.
"""

from __future__ import annotations

import array
import importlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from geometry_msgs.msg import Quaternion, TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header
from transforms3d.quaternions import mat2quat

from sfm_ros.datatypes import FloatArray, RgbImage

TF, TF_STATIC = "/tf", "/tf_static"
TF_QOS = QoSProfile(depth=100)
STATIC_TF_QOS = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# A subscription gets the message of every static broadcaster, and there are several of them.
STATIC_TF_LISTENER_QOS = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def _optional(name: str) -> Any:
    """The module, or None if it or what it needs is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


tf2_ros = _optional("tf2_ros")
tf2_msgs = _optional("tf2_msgs.msg")
_cv_bridge = _optional("cv_bridge")
_point_cloud2 = _optional("sensor_msgs_py.point_cloud2")


class Broadcaster(Protocol):
    """Sends transforms on /tf or /tf_static.

    Attributes:
        pub_tf: its publisher, under the name that it has in tf2_ros.
    """

    pub_tf: Any

    def sendTransform(self, transform: TransformStamped) -> None:
        """Publish one transform."""


def transform_message_class() -> Any:
    """tf2_msgs/TFMessage, or None if it is not installed."""
    return None if tf2_msgs is None else tf2_msgs.TFMessage


def make_broadcaster(node: Node) -> Broadcaster | None:
    """A broadcaster on /tf, or None if tf2_msgs is not installed."""
    if tf2_ros is not None:
        return tf2_ros.TransformBroadcaster(node)
    return None if tf2_msgs is None else TransformPublisher(node, TF, TF_QOS)


def make_static_broadcaster(node: Node) -> Broadcaster | None:
    """A broadcaster on /tf_static, or None if tf2_msgs is not installed."""
    if tf2_ros is not None:
        return tf2_ros.StaticTransformBroadcaster(node)
    return None if tf2_msgs is None else TransformPublisher(node, TF_STATIC, STATIC_TF_QOS)


class TransformPublisher:
    """tf2_ros.TransformBroadcaster and StaticTransformBroadcaster in a few lines."""

    def __init__(self, node: Node, topic: str, qos: QoSProfile) -> None:
        self.pub_tf = node.create_publisher(tf2_msgs.TFMessage, topic, qos)
        self._keeps_all = qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
        self._static: dict[str, TransformStamped] = {}

    def sendTransform(self, transform: TransformStamped) -> None:
        """Publish one transform; a static one together with all static ones sent before it."""
        transforms = [transform]
        if self._keeps_all:
            self._static[transform.child_frame_id] = transform
            transforms = list(self._static.values())
        self.pub_tf.publish(tf2_msgs.TFMessage(transforms=transforms))


def byte_array(values: npt.NDArray) -> array.array:
    """The array's bytes in the one form that every ROS distribution takes fast."""
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(values).data.cast("B"))
    return data


def quaternion_message(R: FloatArray) -> Quaternion:
    """The unit quaternion of a (3, 3) rotation."""
    w, x, y, z = mat2quat(R).tolist()
    return Quaternion(x=x, y=y, z=z, w=w)


def create_cloud(header: Header, points: npt.NDArray[np.float32]) -> PointCloud2:
    """An organized cloud of (h, w, 4) points: x, y, z, rgb."""
    height, width = points.shape[:2]
    fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate(("x", "y", "z", "rgb"))
    ]
    # sensor_msgs_py takes the first axis of an organized cloud for its width: pass it a list.
    make = _list_cloud if _point_cloud2 is None else _point_cloud2.create_cloud
    cloud = make(header, fields, points.reshape(-1, len(fields)))
    cloud.height, cloud.width, cloud.row_step = height, width, cloud.point_step * width
    cloud.is_dense = False
    return cloud


def _list_cloud(
    header: Header, fields: list[PointField], points: npt.NDArray[np.float32]
) -> PointCloud2:
    """sensor_msgs_py.point_cloud2.create_cloud of (n, fields) numbers in a few lines."""
    return PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=fields,
        is_bigendian=False,
        point_step=points.itemsize * len(fields),
        row_step=points.nbytes,
        is_dense=False,
        data=byte_array(points.astype("<f4", copy=False)),
    )


def decode_with_cv_bridge(message: Image) -> RgbImage | None:
    """(H, W, 3) RGB if cv_bridge is installed and supports the encoding, else None."""
    if _cv_bridge is None:
        return None
    try:
        return np.asarray(_cv_bridge.CvBridge().imgmsg_to_cv2(message, "rgb8"), dtype=np.uint8)
    # cv_bridge lets OpenCV's and NumPy's own errors through; each means the same to the caller.
    except Exception:
        return None


def lost_message_events(callback: Callable[[int], None]) -> Any:
    """Subscription events that report how many messages the middleware has lost in total."""
    return event_module().SubscriptionEventCallbacks(
        message_lost=lambda status: callback(status.total_count)
    )


def without_event_callbacks() -> Any:
    """No subscription events: rclpy fails on those of a subscription destroyed meanwhile."""
    return event_module().SubscriptionEventCallbacks(use_default_callbacks=False)


def event_module() -> Any:
    """The module of event callbacks, by its newer or its older name."""
    return _optional("rclpy.event_handler") or _optional("rclpy.qos_event")
