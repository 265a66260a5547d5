"""The one place that knows which ROS helper packages this machine has.

A ROS installation brings tf2_ros, cv_bridge, sensor_msgs_py and transforms3d; the Python wheels do
not. What is installed is used, else the few lines here do the same, and nothing else in the
project can tell.

Without even the message package tf2_msgs there is no TF: :func:`make_broadcaster` and
:func:`make_lookup` return None, and the caller says so once.
"""

from __future__ import annotations

import array
import importlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from geometry_msgs.msg import Quaternion, Transform, TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image, PointCloud2, PointField
from std_msgs.msg import Header

from sfm_ros.datatypes import FloatArray, RgbImage
from sfm_ros.geometry import (
    inverse,
    quat_xyzw_from_matrix,
    rigid_motion,
)

TF_QOS = QoSProfile(depth=100)
STATIC_TF_QOS = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
# A listener hears every static broadcaster: each keeps one message, and there are several of them.
STATIC_TF_LISTENER_QOS = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def _optional(name: str) -> Any:
    """The module, or None where it or what it needs is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


_tf2_ros = _optional("tf2_ros")
_tf2_msgs = _optional("tf2_msgs.msg")
_cv_bridge = _optional("cv_bridge")
_point_cloud2 = _optional("sensor_msgs_py.point_cloud2")
_transforms3d = _optional("transforms3d.quaternions")


class Broadcaster(Protocol):
    """Sends transforms to whoever listens on /tf or /tf_static."""

    def sendTransform(self, transform: TransformStamped) -> None:
        """Publish one transform."""


class Lookup(Protocol):
    """Answers where one frame stands in another."""

    def find(self, target: str, source: str) -> FloatArray | None:
        """(4, 4) T_target_source of the newest transforms heard, or None where unconnected."""

    def has_parent(self, frame: str) -> bool:
        """Whether somebody publishes a transform to ``frame``."""

    def close(self) -> None:
        """Listen no longer."""


def transform_message_class() -> Any:
    """tf2_msgs/TFMessage, or None where it is not installed."""
    return None if _tf2_msgs is None else _tf2_msgs.TFMessage


def has_tf() -> bool:
    """Whether transforms can be heard and sent."""
    return _tf2_msgs is not None


def make_broadcaster(node: Node) -> Broadcaster | None:
    """A broadcaster on /tf, or None where tf2_msgs is not installed."""
    if _tf2_ros is not None:
        return _tf2_ros.TransformBroadcaster(node)
    return None if _tf2_msgs is None else TransformPublisher(node, "/tf", TF_QOS)


def make_static_broadcaster(node: Node) -> Broadcaster | None:
    """A broadcaster on /tf_static, or None where tf2_msgs is not installed."""
    if _tf2_ros is not None:
        return _tf2_ros.StaticTransformBroadcaster(node)
    return None if _tf2_msgs is None else TransformPublisher(node, "/tf_static", STATIC_TF_QOS)


def make_lookup(node: Node, callback_group: Any = None) -> Lookup | None:
    """Starts to listen to TF; None where tf2_msgs is not installed.

    tf2_ros, where it is there, is not used: it could not be closed while an executor waits.
    """
    return None if _tf2_msgs is None else TransformTree(node, callback_group)


class TransformPublisher:
    """tf2_ros.TransformBroadcaster and StaticTransformBroadcaster in a few lines."""

    def __init__(self, node: Node, topic: str, qos: QoSProfile) -> None:
        self._publisher = node.create_publisher(_tf2_msgs.TFMessage, topic, qos)
        self._keeps_all = qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
        self._static: dict[str, TransformStamped] = {}

    def sendTransform(self, transform: TransformStamped) -> None:
        """Publish one transform; a static one together with all static ones sent before it."""
        transforms = [transform]
        if self._keeps_all:
            self._static[transform.child_frame_id] = transform
            transforms = list(self._static.values())
        self._publisher.publish(_tf2_msgs.TFMessage(transforms=transforms))


class TransformTree:
    """Lookup over /tf and /tf_static: the newest transform to each frame, chained."""

    def __init__(self, node: Node | None = None, callback_group: Any = None) -> None:
        """An empty tree; with a node it listens to the two topics."""
        self._parents: dict[str, tuple[str, FloatArray]] = {}
        self._node = node
        self._subscriptions: list[Any] = []
        if node is None:
            return
        topics = (("/tf", TF_QOS), ("/tf_static", STATIC_TF_LISTENER_QOS))
        self._subscriptions = [
            node.create_subscription(
                _tf2_msgs.TFMessage,
                topic,
                self._take,
                qos,
                callback_group=callback_group,
                # rclpy's executors trip over events of a subscription that is destroyed.
                event_callbacks=_events().SubscriptionEventCallbacks(use_default_callbacks=False),
            )
            for topic, qos in topics
        ]

    def _take(self, message: Any) -> None:
        for transform in message.transforms:
            self.add(transform)

    def add(self, transform: TransformStamped) -> None:
        """Remember one transform; it replaces the one to the same child.

        One that is no rigid motion (a quaternion of zeros, a NaN) is passed over, as tf2 does:
        it would make every pose of a robot NaN.
        """
        T_parent_child = matrix_from_message(transform.transform)
        if T_parent_child is not None:
            parent = transform.header.frame_id.lstrip("/")
            self._parents[transform.child_frame_id.lstrip("/")] = (parent, T_parent_child)

    def has_parent(self, frame: str) -> bool:
        """See :class:`Lookup`."""
        return frame in self._parents

    def close(self) -> None:
        """See :class:`Lookup`."""
        for subscription in self._subscriptions:
            if self._node is not None:
                self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def find(self, target: str, source: str) -> FloatArray | None:
        """See :class:`Lookup`."""
        to_target, to_source = self._ancestors(target), self._ancestors(source)
        for frame, T_frame_source in to_source.items():
            if frame in to_target:
                return inverse(to_target[frame]) @ T_frame_source
        return None

    def _ancestors(self, frame: str) -> dict[str, FloatArray]:
        """T_ancestor_frame of the frame itself and of all above it; a cycle ends the walk."""
        known = {frame: np.eye(4)}
        current = frame
        while current in self._parents:
            parent, T_parent_current = self._parents[current]
            if parent in known:
                break
            known[parent] = T_parent_current @ known[current]
            current = parent
        return known


def matrix_from_message(transform: Transform) -> FloatArray | None:
    """(4, 4) matrix of a geometry_msgs/Transform; None where it is no rigid motion."""
    q, t = transform.rotation, transform.translation
    return rigid_motion([q.x, q.y, q.z, q.w], [t.x, t.y, t.z])


def byte_array(values: npt.NDArray) -> array.array:
    """The array's bytes in the one form that every ROS distribution takes fast."""
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(values).data.cast("B"))
    return data


def quaternion_message(R: FloatArray) -> Quaternion:
    """The unit quaternion of a (3, 3) rotation."""
    if _transforms3d is not None:
        w, x, y, z = (float(v) for v in _transforms3d.mat2quat(R))
    else:
        x, y, z, w = (float(v) for v in quat_xyzw_from_matrix(R))
    return Quaternion(x=x, y=y, z=z, w=w)


def create_cloud(header: Header, points: npt.NDArray[np.float32]) -> PointCloud2:
    """An organized cloud of (h, w, 3) points."""
    height, width = points.shape[:2]
    # sensor_msgs_py takes the first axis of an organized cloud for its width: hand it a list.
    make = _xyz_cloud if _point_cloud2 is None else _point_cloud2.create_cloud_xyz32
    cloud = make(header, points.reshape(-1, 3))
    cloud.height, cloud.width, cloud.row_step = height, width, cloud.point_step * width
    cloud.is_dense = False
    return cloud


def _xyz_cloud(header: Header, points: npt.NDArray[np.float32]) -> PointCloud2:
    """sensor_msgs_py.point_cloud2.create_cloud_xyz32 in a few lines."""
    fields = [
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate("xyz")
    ]
    return PointCloud2(
        header=header,
        height=1,
        width=len(points),
        fields=fields,
        is_bigendian=False,
        point_step=12,
        row_step=12 * len(points),
        is_dense=False,
        data=byte_array(points.astype("<f4", copy=False)),
    )


def decode_with_cv_bridge(message: Image) -> RgbImage | None:
    """The image as (H, W, 3) RGB for an encoding only cv_bridge knows, else None."""
    if _cv_bridge is None:
        return None
    try:
        return np.asarray(_cv_bridge.CvBridge().imgmsg_to_cv2(message, "rgb8"), dtype=np.uint8)
    # cv_bridge lets OpenCV's and NumPy's own errors through; each means the same to the caller.
    except Exception:
        return None


def lost_message_events(callback: Callable[[int], None]) -> Any:
    """Subscription events that report how many messages the middleware lost in all."""
    return _events().SubscriptionEventCallbacks(
        message_lost=lambda status: callback(status.total_count)
    )


def _events() -> Any:
    """The module of event callbacks, by its newer or its older name."""
    return _optional("rclpy.event_handler") or _optional("rclpy.qos_event")
