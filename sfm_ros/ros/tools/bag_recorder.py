"""Record topics of a running system as an mcap bag, without rosbag2.

    sfm_bag_recorder --out run1 --topics /sfm_node/odometry /tf /tf_static

A topic is recorded from the moment somebody publishes it, with the publisher's quality of
service. Ctrl-C ends the recording; the bag is whole then, and any tool reads it. So is one that
ends because the disk is nearly full.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import NameValidationException
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

from sfm_ros.errors import SfmRosError
from sfm_ros.ros.tools.bag_tracks import message_class_of

_NAME = "sfm_bag_recorder"
_LOOK_S = 0.2
_DRAIN_S = 2.0
"""Longest time for what waits in the queues at the end; a launch insists after 5 s."""
_DEPTH = 1000
_MIB = 2**20
_SPARE_BYTES = 64 * _MIB
"""Left free on the disk: closing a bag writes what is pending, and its index."""
_CHECK_BYTES = _MIB
"""How much is written until the disk is asked again."""


class BagRecorder(Node):
    """Subscribes to topics when they appear and writes what comes, as it comes.

    Args:
        writer: a bag, open by the time of `record`.
        topics: names to wait for.

    Attributes:
        counts: messages written, by topic.
        is_disk_full: whether the recording ended for lack of space.

    Raises:
        SfmRosError: a topic has a name that ROS 2 does not allow.
    """

    def __init__(self, writer: Writer, topics: list[str]) -> None:
        super().__init__(_NAME)
        self.counts: Counter[str] = Counter()
        self.is_disk_full = False
        self._unchecked_bytes = _CHECK_BYTES
        self._writer = writer
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._missing = {self._resolved(topic) for topic in topics}
        # Not on simulated time: what publishes /clock may begin later, or be what is recorded.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(_LOOK_S, self._look, clock=steady)

    def record(self, stopping: threading.Event) -> None:
        """Write until told to stop, and then what waits, though the senders may not cease.

        Raises:
            OSError: the bag cannot be written.
        """
        executor = SingleThreadedExecutor()
        executor.add_node(self)
        while not stopping.is_set() and not self.is_disk_full:
            executor.spin_once(timeout_sec=_LOOK_S)
        self._timer.cancel()
        written, deadline = -1, time.monotonic() + _DRAIN_S
        while written != self.counts.total() and time.monotonic() < deadline:
            written = self.counts.total()
            executor.spin_once(timeout_sec=_LOOK_S)
        executor.shutdown()

    def _resolved(self, topic: str) -> str:
        with _said_in_one_line(f"cannot record '{topic}': "):
            return self.resolve_topic_name(topic)

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
            if self._has_room(len(message)):
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

    def _has_room(self, size: int) -> bool:
        self._unchecked_bytes += size
        if self._unchecked_bytes >= _CHECK_BYTES and not self.is_disk_full:
            self._unchecked_bytes = 0
            free = shutil.disk_usage(self._writer.path).free
            self.is_disk_full = free < _SPARE_BYTES + size
        return not self.is_disk_full


@contextmanager
def _said_in_one_line(beginning: str = "") -> Iterator[None]:
    """Makes rclpy's word on an argument the program's own."""
    try:
        yield
    except (RuntimeError, NameValidationException) as error:
        # rcl adds the place in its source, rclpy a line that points at the character.
        reason = str(error).splitlines()[0].split(", at /")[0]
        raise SfmRosError(f"{beginning}{reason}") from error


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


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=_NAME,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the bag, a new one")
    parser.add_argument("--topics", nargs="+", required=True, metavar="TOPIC")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace, arguments: list[str], stopping: threading.Event) -> None:
    if os.path.lexists(options.out):
        raise SfmRosError(f"{options.out} exists; name a new folder")
    writer = Writer(options.out, version=9, storage_plugin=StoragePlugin.MCAP)
    try:
        node = _make_node(writer, options.topics, arguments)
        _fill(writer, node, stopping)
    finally:
        rclpy.try_shutdown()
    written = ", ".join(f"{topic} ({count})" for topic, count in sorted(node.counts.items()))
    print(f"recorded {written or 'nothing'} in {options.out.resolve()}", flush=True)
    if node.is_disk_full:
        raise SfmRosError(
            f"ended, for the disk of {options.out} has less than {_SPARE_BYTES // _MIB} MiB left; "
            "make room or name a folder on another disk"
        )


def _make_node(writer: Writer, topics: list[str], arguments: list[str]) -> BagRecorder:
    with _said_in_one_line():
        # rclpy's own handlers would end the middleware with messages still in its queues.
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
        return BagRecorder(writer, topics)


def _fill(writer: Writer, node: BagRecorder, stopping: threading.Event) -> None:
    try:
        with writer:
            try:
                node.record(stopping)
            finally:
                node.destroy_node()
    except OSError as error:
        fault = f"cannot write the bag {writer.path}: {error.strerror or error}"
        if node.counts:
            fault += "; it is incomplete, `mcap recover` may save what is in it"
        raise SfmRosError(f"{fault}; make room or name another folder") from error


def main(args: list[str] | None = None) -> int:
    """Record until SIGINT or SIGTERM; 1 where that cannot be done, or no longer."""
    arguments = sys.argv if args is None else [_NAME, *args]
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    try:
        with _said_in_one_line():
            own = remove_ros_args(arguments)[1:]
        options = _parse(own)
        _run(options, arguments, stopping)
    except SfmRosError as error:
        print(f"{_NAME}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
