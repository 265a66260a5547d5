"""Record topics of a running system as an mcap bag, without rosbag2.

    sfm_bag_recorder --out run1 --topics /sfm_node/odometry /tf /tf_static

A topic is recorded from the moment somebody publishes it, with the publisher's quality of
service. Ctrl-C ends the recording; the bag is whole then, and any tool reads it.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from sfm_ros.ros.bag_tracks import message_class_of

_LOOK_S = 0.2
_DRAIN_S = 2.0
"""Longest time for what waits in the queues at the end; a launch insists after 5 s."""
_DEPTH = 1000


class BagRecorder(Node):
    """Subscribes to topics when they appear and writes what comes, as it comes.

    Args:
        writer: an open bag.
        topics: names to wait for.

    Attributes:
        counts: messages written, by topic.
    """

    def __init__(self, writer: Writer, topics: list[str]) -> None:
        super().__init__("sfm_bag_recorder")
        self.counts: Counter[str] = Counter()
        self._writer = writer
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._missing = {self.resolve_topic_name(topic) for topic in topics}
        self._timer = self.create_timer(_LOOK_S, self._look)

    def record(self, stopping: threading.Event) -> None:
        """Write until told to stop, and then what waits, though the senders may not cease."""
        executor = SingleThreadedExecutor()
        executor.add_node(self)
        while not stopping.is_set():
            executor.spin_once(timeout_sec=_LOOK_S)
        self._timer.cancel()
        written, deadline = -1, time.monotonic() + _DRAIN_S
        while written != self.counts.total() and time.monotonic() < deadline:
            written = self.counts.total()
            executor.spin_once(timeout_sec=_LOOK_S)
        executor.shutdown()

    def _look(self) -> None:
        """Subscribe to what has appeared."""
        types = dict(self.get_topic_names_and_types()) if self._missing else {}
        for topic in sorted(self._missing & set(types)):
            publishers = self.get_publishers_info_by_topic(topic)
            if publishers:
                self._missing.discard(topic)
                self._record(topic, types[topic][0], [p.qos_profile for p in publishers])

    def _record(self, topic: str, kind: str, offered: list[QoSProfile]) -> None:
        message_class = message_class_of(kind)
        if message_class is None or kind not in self._store.types:
            self.get_logger().warning(f"{topic} is not recorded: the type {kind} is not known")
            return
        latched = all(q.durability == DurabilityPolicy.TRANSIENT_LOCAL for q in offered)
        reliable = all(q.reliability == ReliabilityPolicy.RELIABLE for q in offered)
        connection = self._writer.add_connection(
            topic, kind, typestore=self._store, offered_qos_profiles=[_qos(reliable, latched)]
        )

        def take(message: bytes) -> None:
            self._writer.write(connection, time.time_ns(), message)
            self.counts[topic] += 1

        qos = QoSProfile(
            depth=_DEPTH,
            reliability=(
                ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
            ),
            durability=(
                DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
            ),
        )
        self.create_subscription(message_class, topic, take, qos, raw=True)


def _qos(reliable: bool, latched: bool) -> Any:
    forever = QosTime(sec=0, nsec=0)
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=1 if latched else 10,
        reliability=QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=forever,
        lifespan=forever,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=forever,
        avoid_ros_namespace_conventions=False,
    )


def main(args: list[str] | None = None) -> int:
    """Record until SIGINT or SIGTERM; 1 where the folder is there already."""
    arguments = sys.argv if args is None else ["sfm_bag_recorder", *args]
    parser = argparse.ArgumentParser(
        prog="sfm_bag_recorder",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the bag, a new one")
    parser.add_argument("--topics", nargs="+", required=True, metavar="TOPIC")
    options = parser.parse_args(remove_ros_args(arguments)[1:])
    if options.out.exists():
        print(f"sfm_bag_recorder: {options.out} exists; name a new folder", file=sys.stderr)
        return 1
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    # rclpy's own handlers would end the middleware with messages still in its queues.
    rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
    with Writer(options.out, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        node = BagRecorder(writer, options.topics)
        try:
            node.record(stopping)
        finally:
            node.destroy_node()
            rclpy.try_shutdown()
    written = ", ".join(f"{topic} ({count})" for topic, count in sorted(node.counts.items()))
    print(f"recorded {written or 'nothing'} in {options.out.resolve()}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
