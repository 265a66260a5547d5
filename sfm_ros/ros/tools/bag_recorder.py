"""Record topics of a running system as an mcap bag, without rosbag2.

    sfm_bag_recorder --out run1 --topics /sfm_node/odometry /tf /tf_static

A topic is recorded from the moment it has a publisher, with that publisher's quality of service.
Ctrl-C ends the recording. The bag is complete then and any tool reads it, also if the recording
ends because the disk is nearly full. With the parameter ``use_sim_time`` the messages have the
times of /clock, so that a recording of a bag that was played fits the stamps in its messages.
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
from pathlib import Path

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from sfm_ros.bags.metadata import METADATA
from sfm_ros.bags.writer import bag_qos
from sfm_ros.cli.program import program_parser
from sfm_ros.errors import SfmRosError, printable
from sfm_ros.outputs.lock import FolderLock, check_unlocked
from sfm_ros.ros.process.refusals import one_line_errors
from sfm_ros.ros.tools.bag_tracks import message_class_of
from sfm_ros.safety.own_process import own_process

_NAME = "sfm_bag_recorder"
_DISCOVERY_PERIOD_S = 0.2
_DRAIN_S = 2.0
"""Limit for writing what is queued at the end; launch sends SIGTERM after 5 s."""
_CLOSING_S = 60.0
"""Limit for closing the bag after a Ctrl-C that arrived twice, as launch sends it."""
_QUEUE_DEPTH = 1000
_MIB = 2**20
_SPARE_BYTES = 64 * _MIB
"""Left free on the disk: closing a bag writes pending messages and its index."""
_CHECK_BYTES = _MIB
"""Bytes written between two checks of the free space."""
_WAITING_BYTES = 64 * _MIB
"""Most that is kept until the first /clock."""


class BagRecorder(Node):
    """Subscribes to topics when they appear and writes their messages without decoding them.

    Args:
        writer: a bag, open when `record` is called.
        topics: names of topics to record.

    Attributes:
        counts: messages written, by topic.
        is_disk_full: the recording ended for lack of space.

    Raises:
        SfmRosError: a topic has a name that ROS 2 does not allow.
    """

    def __init__(self, writer: Writer, topics: list[str]) -> None:
        super().__init__(_NAME)
        self.counts: Counter[str] = Counter()
        self.is_disk_full = False
        self._unchecked_bytes = _CHECK_BYTES
        self._is_simulated = bool(self.get_parameter("use_sim_time").value)
        self._waiting: list[tuple[Connection, bytes]] = []
        self._writer = writer
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._missing = {self._resolved(topic) for topic in topics}
        # Not on simulated time: /clock may start later, or be one of the recorded topics.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timer = self.create_timer(_DISCOVERY_PERIOD_S, self._discover, clock=steady)

    def record(self, stopping: threading.Event) -> None:
        """Write until ``stopping`` is set or the disk is full, then what is queued.

        Publishers may continue meanwhile, hence the limit of `_DRAIN_S`.

        Raises:
            OSError: the bag cannot be written.
        """
        executor = SingleThreadedExecutor()
        executor.add_node(self)
        while not stopping.is_set() and not self.is_disk_full:
            executor.spin_once(timeout_sec=_DISCOVERY_PERIOD_S)
        self._timer.cancel()
        deadline = time.monotonic() + _DRAIN_S
        quiet_s = time.monotonic() + _DISCOVERY_PERIOD_S
        while time.monotonic() < min(quiet_s, deadline):
            written = self.counts.total()
            executor.spin_once(timeout_sec=_DISCOVERY_PERIOD_S)
            if written != self.counts.total():
                quiet_s = time.monotonic() + _DISCOVERY_PERIOD_S
        executor.shutdown()
        self._write_waiting()
        if self._waiting:
            self._use_own_time()

    def _resolved(self, topic: str) -> str:
        with one_line_errors(f"cannot record '{topic}': "):
            return self.resolve_topic_name(topic)

    def _discover(self) -> None:
        """Subscribe to the topics that have appeared."""
        types = dict(self.get_topic_names_and_types()) if self._missing else {}
        for topic in sorted(self._missing & set(types)):
            publishers = self.get_publishers_info_by_topic(topic)
            if publishers:
                self._missing.discard(topic)
                self._subscribe(topic, types[topic][0], [p.qos_profile for p in publishers])

    def _subscribe(self, topic: str, kind: str, offered: list[QoSProfile]) -> None:
        message_class = message_class_of(kind)
        if message_class is None or kind not in self._store.types:
            self.get_logger().warning(
                f"{printable(topic)} is not recorded: the type {printable(kind)} is unknown"
            )
            return
        latched = all(q.durability == DurabilityPolicy.TRANSIENT_LOCAL for q in offered)
        reliable = all(q.reliability == ReliabilityPolicy.RELIABLE for q in offered)
        qos = QoSProfile(depth=_QUEUE_DEPTH)  # reliable and volatile
        if not reliable:
            qos.reliability = ReliabilityPolicy.BEST_EFFORT
        if latched:
            qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
        profiles = [bag_qos(latched, reliable)]
        connection = self._writer.add_connection(
            topic, kind, typestore=self._store, offered_qos_profiles=profiles
        )

        def write(message: bytes) -> None:
            if self._has_room(len(message)):
                self._add(connection, message)
                self.counts[topic] += 1

        self.create_subscription(message_class, topic, write, qos, raw=True)

    def _add(self, connection: Connection, message: bytes) -> None:
        """Write a message, or keep it until simulated time has begun."""
        self._waiting.append((connection, message))
        self._write_waiting()
        if sum(len(data) for _, data in self._waiting) > _WAITING_BYTES:
            self._use_own_time()

    def _use_own_time(self) -> None:
        self.get_logger().warning(
            "no /clock was received: the recording has the times of this machine"
        )
        self._is_simulated = False
        self._write_waiting()

    def _write_waiting(self) -> None:
        now_ns = self.get_clock().now().nanoseconds if self._is_simulated else time.time_ns()
        if not now_ns:  # simulated time has not begun
            return
        for connection, message in self._waiting:
            self._writer.write(connection, now_ns, message)
        self._waiting.clear()

    def _has_room(self, size: int) -> bool:
        """Whether the disk has room for ``size`` more bytes, as of the last check."""
        self._unchecked_bytes += size
        if self._unchecked_bytes >= _CHECK_BYTES and not self.is_disk_full:
            self._unchecked_bytes = 0
            free = shutil.disk_usage(self._writer.path).free
            self.is_disk_full = free < _SPARE_BYTES + size
        return not self.is_disk_full


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = program_parser(__doc__, _NAME)
    parser.add_argument("--out", type=Path, required=True, help="new folder for the bag")
    parser.add_argument("--topics", nargs="+", required=True, metavar="TOPIC")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace, arguments: list[str], stopping: threading.Event) -> None:
    if os.path.lexists(options.out):
        check_unlocked(options.out)
        is_unfinished = any(options.out.glob("*.mcap")) and not (options.out / METADATA).exists()
        what = " and holds a recording that did not reach its end" if is_unfinished else ""
        raise SfmRosError(f"{options.out} exists{what}; name a new folder")
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
            f"stopped: the disk of {options.out} has less than {_SPARE_BYTES // _MIB} MiB left; "
            "make room or name a folder on another disk"
        )


def _make_node(writer: Writer, topics: list[str], arguments: list[str]) -> BagRecorder:
    with one_line_errors():
        # rclpy's own handlers would shut the middleware down with messages still queued.
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
        return BagRecorder(writer, topics)


def _fill(writer: Writer, node: BagRecorder, stopping: threading.Event) -> None:
    try:
        with writer, FolderLock(writer.path):
            try:
                node.record(stopping)
            finally:
                node.destroy_node()
    except OSError as error:
        fault = f"cannot write the bag {writer.path}: {error.strerror or error}"
        if node.counts:
            fault += "; it is incomplete, `mcap recover` may restore a part of it"
        raise SfmRosError(f"{fault}; make room or name another folder") from error


def main(args: list[str] | None = None) -> int:
    """Record until SIGINT or SIGTERM; 1 if the bag cannot be written to the end."""
    if args is None:
        own_process(_NAME, patience_s=_CLOSING_S)
    arguments = sys.argv if args is None else [_NAME, *args]
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    try:
        with one_line_errors():
            own = remove_ros_args(arguments)[1:]
        _run(_parse(own), arguments, stopping)
    except SfmRosError as error:
        print(f"{_NAME}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
