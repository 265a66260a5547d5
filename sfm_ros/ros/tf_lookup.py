"""Transforms looked up in what is published on /tf and /tf_static.

With tf2_ros, where a ROS installation brings it; else with the tree that reads bags.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message
from rclpy.time import Time

from sfm_ros.bags.transform_tree import MAX_FRAMES, TransformTree
from sfm_ros.datatypes import MAX_FRAME_ID, FloatArray, is_frame_id
from sfm_ros.errors import UnsafeFileError, printable
from sfm_ros.geometry import MAX_POSITION_M, rigid_motion
from sfm_ros.ros import compat
from sfm_ros.ros.compat import STATIC_TF_LISTENER_QOS, TF, TF_QOS, TF_STATIC
from sfm_ros.ros.rate_limit import TimeBudget
from sfm_ros.safety.documents import parse_yaml

_HISTORY_NS = 10_000_000_000
"""How far back a transform can be looked up; tf2's own default."""
_LARGEST_MESSAGE = 1 << 18
"""Bytes of a TF message, some two thousand transforms: a larger one would take seconds to read."""
MOST_LOAD, UNLIMITED = 0.5, 1e9
"""Share of a core for each topic of TF, on a robot and where nothing may be lost."""
_BURST_S = 0.5
"""Work that may be done at once."""


class Lookup(Protocol):
    """Looks transforms up in what /tf and /tf_static have published.

    Attributes:
        node: the node that subscribes to the two.
    """

    node: Node

    def find(self, target: str, source: str, stamp_ns: int | None = None) -> FloatArray | None:
        """(4, 4) T_target_source at a time, or the newest; None if it is not known (then)."""

    def is_static(self, target: str, source: str) -> bool:
        """Whether static transforms alone connect the frames."""

    def has_parent(self, frame: str) -> bool:
        """Whether there is a transform to ``frame``."""

    def ignore_moving(self) -> None:
        """Unsubscribe from /tf, which is busy on a robot: what is needed is static."""

    def close(self) -> None:
        """Unsubscribe from both."""


Refuse = Callable[[str], object]
"""Reports why transforms are not used."""


def make_lookup(
    node: Node,
    callback_group: Any = None,
    refuse: Refuse = lambda _: None,
    most_load: float = MOST_LOAD,
) -> Lookup | None:
    """Subscribe to TF; None if tf2_msgs is not installed.

    Args:
        node: whose topic names, namespace and context are used.
        callback_group: of the subscriptions, if they are made on ``node``.
        refuse: called with the reason if transforms are refused; tf2_ros reports that itself.
        most_load: share of a core for each of the two topics, beyond which messages are dropped;
            not used with tf2_ros.
    """
    if compat.tf2_ros is not None:
        return BufferLookup(node)
    return None if compat.tf2_msgs is None else TreeLookup(node, callback_group, refuse, most_load)


class TreeLookup(Lookup):
    """A :class:`TransformTree` of what is published on /tf and /tf_static.

    Anyone may publish there: what it takes of memory and of time is limited.
    """

    def __init__(
        self,
        node: Node,
        callback_group: Any = None,
        refuse: Refuse = lambda _: None,
        most_load: float = MOST_LOAD,
    ) -> None:
        self.node = node
        self._refuse = refuse
        self._budgets = {topic: TimeBudget(most_load, _BURST_S) for topic in (TF, TF_STATIC)}
        self._lock = threading.Lock()  # executor threads add, the worker looks up
        self._tree = TransformTree(_HISTORY_NS)
        self._subscriptions = {
            topic: node.create_subscription(
                compat.tf2_msgs.TFMessage,
                topic,
                partial(self._on_message, topic),
                qos,
                raw=True,
                callback_group=callback_group,
                event_callbacks=compat.without_event_callbacks(),
            )
            for topic, qos in ((TF, TF_QOS), (TF_STATIC, STATIC_TF_LISTENER_QOS))
        }

    def _on_message(self, topic: str, data: bytes) -> None:
        budget = self._budgets[topic]
        if len(data) > _LARGEST_MESSAGE:
            self._refuse(
                f"a message on {topic} has {len(data)} bytes, expected at most {_LARGEST_MESSAGE}"
            )
        elif not budget.is_left():
            self._refuse(
                f"{topic} takes more than {budget.share:.0%} of a core: {budget.refused} messages "
                "are dropped so far; which node floods it? (ros2 topic hz, ros2 topic info -v)"
            )
        else:
            with budget:
                self._read(data, topic)

    def _read(self, data: bytes, topic: str) -> None:
        try:
            message = deserialize_message(data, compat.tf2_msgs.TFMessage)
        except Exception as error:  # rclpy's own have no common base class
            self._refuse(f"a message on {topic} cannot be read: {printable(error)}")
        else:
            self._add(message.transforms, topic == TF_STATIC)

    def _add(self, transforms: Sequence[TransformStamped], is_static: bool) -> None:
        with self._lock:
            refused = [t for t in transforms if not self._take(t, is_static)]
        if refused:
            self._refuse(_why_refused(refused[0]))

    def _take(self, transform: TransformStamped, is_static: bool) -> bool:
        names = transform.header.frame_id, transform.child_frame_id
        return all(map(is_frame_id, names)) and self._tree.add_message(transform, is_static)

    def find(self, target: str, source: str, stamp_ns: int | None = None) -> FloatArray | None:
        with self._lock:
            return self._tree.lookup(target, source, stamp_ns)

    def is_static(self, target: str, source: str) -> bool:
        with self._lock:
            return self._tree.static_transform(target, source) is not None

    def has_parent(self, frame: str) -> bool:
        with self._lock:
            return self._tree.has_parent(frame)

    def ignore_moving(self) -> None:
        self._unsubscribe(TF)

    def close(self) -> None:
        for topic in list(self._subscriptions):
            self._unsubscribe(topic)

    def _unsubscribe(self, topic: str) -> None:
        subscription = self._subscriptions.pop(topic, None)
        if subscription is not None:
            self.node.destroy_subscription(subscription)


def _why_refused(transform: TransformStamped) -> str:
    names = transform.header.frame_id, transform.child_frame_id
    q, t = transform.transform.rotation, transform.transform.translation
    if not all(map(is_frame_id, names)):
        expected = f"names of at most {MAX_FRAME_ID} printable characters"
    elif rigid_motion([q.x, q.y, q.z, q.w], [t.x, t.y, t.z]) is None:
        expected = f"a rotation, and a translation of at most {MAX_POSITION_M:g} m"
    else:
        expected = f"at most {MAX_FRAMES} static frames"
    parent, child = (printable(name, 60) for name in names)
    return (
        f"the transform from '{parent}' to '{child}' is refused: translation ({t.x:g}, {t.y:g}, "
        f"{t.z:g}), quaternion ({q.x:g}, {q.y:g}, {q.z:g}, {q.w:g}); expected {expected}"
    )


class BufferLookup(Lookup):
    """tf2_ros's Buffer and TransformListener.

    They have a node and a thread of their own, as in nav2, so that they can be closed: on a node
    that an executor spins already, their subscriptions could not be destroyed safely.
    """

    def __init__(self, node: Node) -> None:
        self.node = _sibling(node, f"{node.get_name()}_tf")
        self._buffer = compat.tf2_ros.Buffer(Duration(nanoseconds=_HISTORY_NS))
        self._listener = compat.tf2_ros.TransformListener(self._buffer, self.node)
        self._last_ns = 0
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name="sfm_tf", daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except Exception:
            if self.node.context.ok():  # else it was shut down, at whatever point of the spinning
                raise

    def find(self, target: str, source: str, stamp_ns: int | None = None) -> FloatArray | None:
        if stamp_ns is not None:
            if stamp_ns < self._last_ns - _HISTORY_NS:
                self._buffer.clear()  # a bag that loops: what is new would be refused as too old
            self._last_ns = stamp_ns
        found = self._lookup(target, source, stamp_ns or 0)
        if found is None:
            return None
        q, t = found.transform.rotation, found.transform.translation
        return rigid_motion([q.x, q.y, q.z, q.w], [t.x, t.y, t.z])

    def _lookup(self, target: str, source: str, stamp_ns: int) -> TransformStamped | None:
        """The transform at a time; 0 asks for the newest."""
        try:
            return self._buffer.lookup_transform(target, source, Time(nanoseconds=stamp_ns))
        except compat.tf2_ros.TransformException:
            return None

    def is_static(self, target: str, source: str) -> bool:
        found = self._lookup(target, source, 0)
        # The newest of a chain without a moving transform has no stamp.
        return found is not None and found.header.stamp.sec == found.header.stamp.nanosec == 0

    def has_parent(self, frame: str) -> bool:
        try:
            return frame in (parse_yaml(self._buffer.all_frames_as_yaml()) or ())
        except UnsafeFileError:  # a frame whose name is no YAML, from anybody who publishes TF
            return False

    def ignore_moving(self) -> None:
        # Done by the thread that would otherwise wait for the topic.
        self._executor.create_task(self.node.destroy_subscription, self._listener.tf_sub)

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()


def _sibling(node: Node, name: str) -> Node:
    """A node beside another: of its context and namespace, with the same names for TF's topics."""
    rules = {"__node": name, "__ns": node.get_namespace()}
    rules |= {topic: node.resolve_topic_name(topic) for topic in (TF, TF_STATIC)}
    remaps = [word for rule in rules.items() for word in ("-r", ":=".join(rule))]
    return Node(
        name,
        context=node.context,
        cli_args=["--ros-args", *remaps],
        parameter_overrides=[Parameter("use_sim_time", value=False)],
        enable_rosout=False,
        start_parameter_services=False,
    )
